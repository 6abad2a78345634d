/**
 * Golden logs of every format version stay readable: golden-log/vN holds a `file:` store with a plain and an encrypted VM, each taken over
 * once. REVENANT_GOLDEN=write makes those of the current version anew (only before a release that changes the format).
 */
import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Guest } from '../../test-support/guest.ts';
import { PagePool } from '../checkpoint/page-pool.ts';
import { openCheckpoint } from '../checkpoint/reader.ts';
import { CheckpointWriter } from '../checkpoint/writer.ts';
import { CheckpointKey } from '../encryption.ts';
import { raiseEpoch } from '../ownership.ts';
import { FileStore } from '../store/file-store.ts';
import { LogReader } from './reader.ts';
import { LogWriter } from './writer.ts';

const currentVersion = 'v1';
const golden = new URL('../../golden-log', import.meta.url).pathname;
const key = new CheckpointKey(new Uint8Array(32).fill(7));
const vms = { plain: {}, sealed: { key } };
const pool = new PagePool({ threads: 0 });
const scratch = await mkdtemp(join(tmpdir(), 'revenant-golden-log-'));
after(() => rm(scratch, { recursive: true, force: true }));

type Expected = Record<
  string,
  { from: string; to: string; inputs: [number: string, count: string, hex: string][] }
>;

async function readAll(store: FileStore, vm: keyof typeof vms): Promise<Expected[string]> {
  const options = vms[vm];
  const { head } = await openCheckpoint(store, vm, { pool, ...options });
  const reader = await LogReader.open(store, vm, { after: head.instructions, ...options });
  assert.ok(reader);
  const inputs: Expected[string]['inputs'] = [];
  for await (const { input, count, payload } of reader.entries())
    inputs.push([String(input), String(count), Buffer.from(payload).toString('hex')]);
  return { from: String(reader.from), to: String(reader.to), inputs };
}

async function write(): Promise<void> {
  const folder = join(golden, currentVersion);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const made = join(scratch, 'made');
  const store = await FileStore.open(made);
  for (const [vm, options] of Object.entries(vms)) {
    const first = await raiseEpoch(store, vm, { owner: 'golden', replayLog: true, ...options });
    const guest = new Guest({ seed: 42, ramPages: 4, diskPages: 0 }).run(5);
    const checkpoints = await CheckpointWriter.open(store, first, { pool, ...options });
    await checkpoints.write(guest.snapshot());
    const at = guest.instructions;
    const log = new LogWriter(store, first, { from: at, ...options });
    log.append({ count: at, payload: Buffer.from('at the very count') });
    log.append({ count: at + 300n, payload: new Uint8Array(0) });
    await log.flush();
    log.append({ count: at + 2n ** 40n, payload: new Uint8Array(400).fill(0x61) });
    await log.flush();
    log.mark(at + 2n ** 40n + 5n);
    await log.close();
    const second = await raiseEpoch(store, vm, { owner: 'other', replayLog: true, ...options });
    const onward = new LogWriter(store, second, {
      from: second.log!.last!.to,
      previous: second.log?.last,
      ...options,
    });
    onward.append({ count: at + 2n ** 41n, payload: Buffer.from('of the second owner') });
    await onward.close();
  }
  const expected: Expected = { plain: await readAll(store, 'plain'), sealed: await readAll(store, 'sealed') };
  await store.close();
  for (const own of ['.tmp', '.reserve']) await rm(join(made, own), { recursive: true, force: true });
  await cp(made, join(folder, 'store'), { recursive: true });
  await writeFile(join(folder, 'expected.json'), `${JSON.stringify(expected, undefined, 2)}\n`);
}

if (process.env['REVENANT_GOLDEN'] === 'write') await write();

for (const version of await readdir(golden)) {
  test(`logs of format ${version} read back, and can be taken over`, async () => {
    const folder = join(golden, version);
    const expected = JSON.parse(await readFile(join(folder, 'expected.json'), 'utf8')) as Expected;
    // Opening a store makes folders in it.
    await cp(join(folder, 'store'), join(scratch, version), { recursive: true });
    const store = await FileStore.open(join(scratch, version));
    for (const vm of ['plain', 'sealed'] as const) {
      assert.deepEqual(await readAll(store, vm), expected[vm]);
      const { log } = await raiseEpoch(store, vm, { owner: 'test', replayLog: true, ...vms[vm] });
      assert.deepEqual(
        [String(log?.last?.to), log?.torn, log?.refused],
        [expected[vm]?.to, undefined, undefined],
      );
    }
    await store.close();
  });
}
