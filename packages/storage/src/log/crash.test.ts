/** kill -9 of a node that logs, checkpoints and collects, at random moments. REVENANT_KILLS sets how many (default 8). */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { seededRandom } from '../../test-support/guest.ts';
import { PagePool } from '../checkpoint/page-pool.ts';
import { openCheckpoint } from '../checkpoint/reader.ts';
import { isStorageError } from '../errors.ts';
import { FileStore } from '../store/file-store.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { LogReader } from './reader.ts';

const kills = Number(process.env['REVENANT_KILLS'] ?? 8);
const seed = Number(process.env['REVENANT_SEED'] ?? 1);
const child = new URL('../../test-support/log-crash-child.ts', import.meta.url).pathname;
const folder = await mkdtemp(join(tmpdir(), 'revenant-log-crash-'));
after(() => rm(folder, { recursive: true, force: true }));

const pool = new PagePool({ threads: 0 });
/** Texts that were ever sent under a number; of owners in turn there may be several. */
const sent = new Map<bigint, Set<string>>();
let durable = 0n;

function hear(line: string): void {
  const [word, number, text] = line.split(' ');
  if (word === 'durable') durable = BigInt(number!);
  if (word !== 'sent') return;
  const texts = sent.get(BigInt(number!)) ?? new Set();
  sent.set(BigInt(number!), texts.add(text!));
}

/** Starts a node and kills it some time after it said that something is durable. */
async function killOne(number: number, afterMs: number): Promise<void> {
  const before = durable;
  const node = spawn(process.execPath, [child, folder, String(number)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let rest = '';
  const closed = new Promise((resolve) => node.once('close', resolve));
  let begun: () => void = () => undefined;
  const first = new Promise<void>((resolve) => (begun = resolve));
  node.stdout.on('data', (bytes: Buffer) => {
    const lines = (rest + bytes.toString()).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) hear(line);
    if (durable !== before) begun();
  });
  await Promise.race([first, closed]);
  await sleep(afterMs);
  assert.equal(node.exitCode, null, 'it died before it was killed');
  node.kill('SIGKILL');
  await closed;
}

async function check(store: ObjectStore): Promise<Map<bigint, string>> {
  const found = new Map<bigint, string>();
  let from = 0n;
  try {
    from = (await openCheckpoint(store, 'vm', { pool })).head.instructions;
  } catch (error) {
    if (!isStorageError(error, 'CHECKPOINT_NOT_FOUND')) throw error;
  }
  const reader = await LogReader.open(store, 'vm', { after: from });
  assert.equal(reader?.torn, undefined);
  if (reader !== undefined)
    for await (const { input, payload } of reader.entries())
      found.set(input, Buffer.from(payload).toString());
  for (let number = from / 10n + 1n; number <= durable; number++)
    assert.ok(found.has(number), `input ${String(number)} of ${String(durable)} was durable, and is lost`);
  for (const [number, text] of found) assert.ok(sent.get(number)?.has(text), `${String(number)} is ${text}`);
  return found;
}

test(`kill -9 of ${String(kills)} nodes in turn loses no input that was durable, and changes none`, async () => {
  const store = await FileStore.open(folder);
  const random = seededRandom(seed);
  let before = new Map<bigint, string>();
  for (let kill = 0; kill < kills; kill++) {
    await killOne(kill, random() * 200);
    const now = await check(store);
    // What one look found in the history is there in the next, as far as that still reaches back.
    const least = [...now.keys()].reduce((a, b) => (a < b ? a : b), durable);
    for (const [number, text] of before)
      if (number >= least && now.has(number)) assert.equal(now.get(number), text, String(number));
    before = now;
  }
  assert.ok(durable > BigInt(kills), String(durable));
  await store.close();
});
