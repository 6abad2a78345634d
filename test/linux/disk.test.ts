/**
 * A disk is cut at the same instruction as the machine: Linux writes files on a journalling file system, is checkpointed through a store in
 * the middle of a write, and another process goes on with it.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test, type TestContext } from 'node:test';
import assert from 'node:assert/strict';
import {
  diskPageBytes,
  type DiskBacking,
  type DescribedSnapshot,
  type SpaceSnapshot,
} from '@revenant/emulator';
import { buildModules } from '@revenant/emulator/host-node';
import {
  baseImageName,
  CheckpointWriter,
  FileStore,
  importBaseImage,
  PagePool,
  raiseEpoch,
} from '@revenant/storage';
import { boot, bootInstructions, imageOrSkip, type Shell } from './shell.ts';

const diskBytes = 24 * 2 ** 20;
const folder = await mkdtemp(join(tmpdir(), 'revenant-disk-'));
const pool = new PagePool({ threads: 0 });
after(async () => {
  await pool.close();
  await rm(folder, { recursive: true, force: true });
});
before(() => {
  buildModules(() => undefined);
});

/** An ext4 file system with a journal; undefined (and the test skipped) without e2fsprogs, which Debian always has. */
async function makeImage(context: TestContext): Promise<Uint8Array | undefined> {
  const path = join(folder, 'base.img');
  await writeFile(path, new Uint8Array(diskBytes));
  const made = spawnSync('mke2fs', ['-q', '-t', 'ext4', '-b', '4096', path], {
    encoding: 'utf8',
    env: { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` },
  });
  if (made.error !== undefined) {
    context.skip(`there is no mke2fs here: ${made.error.message}`);
    return undefined;
  }
  assert.equal(made.status, 0, made.stderr);
  return new Uint8Array(await readFile(path));
}

/** Exit code of e2fsck: 0 clean, 1 errors corrected (or a journal replayed). */
function check(path: string, ...options: string[]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync('e2fsck', ['-f', ...options, path], {
    encoding: 'utf8',
    env: { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` },
  });
  return { status, output: `${stdout}${stderr}` };
}

const diskOf = (snapshot: DescribedSnapshot): SpaceSnapshot => {
  const disk = snapshot.spaces.find(({ name }) => name === 'disk0');
  assert.ok(disk);
  return disk;
};

/** True while a request of the guest is on its way. */
function requestUnderWay({ machine }: Shell): boolean {
  const state = machine.deviceState('virtio-blk-0') as { dueAtNs: bigint | null };
  return state.dueAtNs !== null;
}

function runIntoRequest(shell: Shell): void {
  for (let n = 0; n < 100_000; n++) {
    shell.machine.run({ instructions: 4_001 });
    if (requestUnderWay(shell)) return;
  }
  assert.fail('the guest wrote nothing');
}

const loop =
  'i=0; while [ ! -e /tmp/stop ]; do i=$((i+1)); dd if=/dev/urandom of=/mnt/f$i bs=3000 count=7 2>/dev/null; ' +
  '(cd /mnt; sha256sum f$i >> sums); [ $((i % 4)) -eq 0 ] && sync; [ $i -ge 400 ] && break; done';

describe('a disk', { timeout: 1_800_000 }, () => {
  test('is checkpointed in the middle of a write, and goes on in another process', async (context) => {
    const image = await imageOrSkip(context, 'linux-cloud');
    const content = await makeImage(context);
    if (image === undefined || content === undefined) return;
    const sha256 = createHash('sha256').update(content).digest('hex');
    const backing: DiskBacking = {
      readPage: (page) => content.subarray(page * diskPageBytes, (page + 1) * diskPageBytes),
    };
    const shell = await boot(image, {
      requests: [{ name: 'disk0', bytes: diskBytes, base: { sha256 } }],
      backings: { disk0: backing },
    });
    shell.waitFor(/# /, bootInstructions);
    shell.type('stty -echo; PS1="# "');
    shell.type('mount -t ext4 /dev/vda /mnt');
    // In a subshell, as the shell would report the end of a job of its own.
    shell.type(`( (${loop}; touch /tmp/stopped) & )`);

    const storePath = join(folder, 'store');
    const store = await FileStore.open(storePath);
    const base = baseImageName(sha256);
    await importBaseImage(store, base, [content], { pool });
    const ownership = await raiseEpoch(store, 'vm', { owner: 'test' });
    const writer = await CheckpointWriter.open(store, ownership, { pool, bases: { disk0: base } });
    const listed: Set<number>[] = [];
    for (let n = 0; n < 4; n++) {
      shell.machine.run({ instructions: 40_000_000 });
      runIntoRequest(shell);
      const snapshot = shell.machine.snapshot();
      listed.push(new Set(diskOf(snapshot).indexes));
      await writer.write(snapshot);
    }
    const { machine } = shell;
    const whole = diskOf(machine.snapshot({ full: true }));
    // What a checkpoint lists is what was written since the one before: together they are the disk.
    const all = new Set(listed.flatMap((pages) => [...pages]));
    for (const page of whole.indexes) assert.ok(all.has(page), `page ${String(page)} is in no checkpoint`);
    for (const pages of listed.slice(1))
      assert.ok(pages.size > 0 && pages.size < whole.indexes.length / 2, 'a checkpoint lists too much');

    const atCut = new Uint8Array(diskBytes);
    machine.disks[0]?.read(0, atCut);
    await writeFile(join(folder, 'cut.img'), atCut);
    const hash = machine.stateHash();
    const out = join(folder, 'after.img');
    const child = spawnSync(
      process.execPath,
      [join(import.meta.dirname, 'disk-child.ts'), storePath, 'vm', base, out],
      { encoding: 'utf8', maxBuffer: 1 << 24 },
    );
    assert.equal(child.status, 0, child.stderr);
    const told = JSON.parse(child.stdout) as { hash: string; sums: string };
    assert.equal(told.hash, hash, 'the other process has the very same machine');
    const files = told.sums.match(/^f\d+: OK$/gm)?.length ?? 0;
    assert.ok(files > 10 && !told.sums.includes('FAILED'), told.sums);
    assert.match(told.sums, new RegExp(`^${String(files)}$`, 'm'));

    const clean = check(out, '-n');
    assert.equal(clean.status, 0, clean.output);
    // The disk alone, as after a loss of power at the cut: the journal brings it in order, and nothing else is wrong.
    const replayed = check(join(folder, 'cut.img'), '-p');
    assert.ok((replayed.status ?? 8) <= 1, replayed.output);
    assert.equal(check(join(folder, 'cut.img'), '-n').status, 0);
    await store.close();
  });
});
