/** Disk images of `run`: raw and qcow2 files, written to or not, and the images that a checkpoint names. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { createHash } from 'node:crypto';
import { describeMachine, DiskSpace } from '@revenant/emulator';
import { CliError } from '../errors.ts';
import { openDisks, parseDisk, reopenDisks } from './disks.ts';
import { runRequestOf } from '../../test-support/run-request.ts';

const folder = await mkdtemp(join(tmpdir(), 'revenant-disks-'));
after(() => rm(folder, { recursive: true, force: true }));

const image = join(folder, 'a.img');
const content = Buffer.alloc(9 * 512, 'disk');
await writeFile(image, content);
const sha256 = createHash('sha256').update(content).digest('hex');

const oneLine = (error: unknown): boolean =>
  error instanceof CliError && !error.message.includes('\n') && (error.hint ?? '') !== '';

function open(text: string): DiskSpace & { close(): void } {
  const { requests, backings, close } = openDisks([parseDisk(text, '--disk')]);
  const [description] = describeMachine({ disks: requests }).disks;
  assert.ok(description);
  return Object.assign(new DiskSpace(description, backings['disk0']), { close });
}

describe('--disk', () => {
  test('options', () => {
    const parse = (...words: string[]): unknown => runRequestOf(['linux', ...words]).disks;
    assert.deepEqual(parse('--disk-size', '64M', '--disk', 'a', '--disk', 'b,ro', '--disk', 'c,1.img,rw'), [
      { path: 'a', mode: 'cow' },
      { path: 'b', mode: 'ro' },
      { path: 'c,1.img', mode: 'rw' },
      { emptyBytes: 64 * 2 ** 20 },
    ]);
    assert.throws(() => parse('--disk', ''), oneLine);
    assert.throws(() => parse('--disk-size', '1'), oneLine);
    assert.throws(() => parse('--disk', 'a,rw', '--save', 'x'), oneLine);
  });

  test('a file is what the guest reads, and is not changed', () => {
    const disk = open(image);
    assert.deepEqual([disk.bytes, disk.readOnly], [content.length, false]);
    const bytes = new Uint8Array(content.length);
    disk.read(0, bytes);
    assert.deepEqual(Buffer.from(bytes), content);
    disk.write(512, new Uint8Array(512));
    disk.read(0, bytes);
    assert.equal(bytes[512], 0);
    disk.close();
    const again = open(`${image},ro`);
    again.read(0, bytes);
    assert.deepEqual([Buffer.from(bytes), again.readOnly], [content, true]);
    again.close();
  });

  test('with rw the file is written', async () => {
    const path = join(folder, 'rw.img');
    await writeFile(path, content);
    const disk = open(`${path},rw`);
    disk.write(8 * 512, Buffer.alloc(512, 'x'));
    disk.flush();
    disk.close();
    const again = open(path);
    const bytes = new Uint8Array(512);
    again.read(8 * 512, bytes);
    assert.deepEqual(Buffer.from(bytes), Buffer.alloc(512, 'x'));
    again.close();
  });

  test('what is no disk image gets one line', async () => {
    const odd = join(folder, 'odd.img');
    await writeFile(odd, 'x'.repeat(100));
    const empty = join(folder, 'empty.img');
    await writeFile(empty, '');
    for (const bad of [join(folder, 'none'), folder, odd, empty])
      assert.throws(() => openDisks([parseDisk(bad, '--disk')]), oneLine, bad);
  });

  test('a large sparse image costs only its hash', async () => {
    const path = join(folder, 'sparse.img');
    await writeFile(path, '');
    await truncate(path, 64 * 2 ** 20);
    const disk = open(path);
    assert.equal(disk.bytes, 64 * 2 ** 20);
    disk.close();
  });

  test('a checkpoint takes the image it was made with, and no other', async () => {
    const described = describeMachine({
      disks: [
        { name: 'disk0', bytes: 512 },
        { name: 'disk1', bytes: content.length, base: { sha256 } },
      ],
    }).disks;
    const { backings, close } = reopenDisks([parseDisk(image, '--disk')], described);
    assert.deepEqual(Object.keys(backings), ['disk1']);
    close();
    const other = join(folder, 'other.img');
    await writeFile(other, Buffer.alloc(content.length));
    for (const given of [
      [],
      [parseDisk(other, '--disk')],
      [parseDisk(`${image},rw`, '--disk')],
      [parseDisk(image, '--disk'), parseDisk(image, '--disk')],
      [{ emptyBytes: 512 }],
    ])
      assert.throws(() => reopenDisks(given, described), oneLine);
  });
});
