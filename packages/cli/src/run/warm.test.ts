/** When a guest is kept as a warm image, what a later run finds of it, and that what is no good costs a boot only. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, truncateSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Machine } from '@revenant/emulator';
import { nodeEngine } from '@revenant/emulator/host-node';
import { readyGuest } from './guest.ts';
import { warmKey, WarmStart } from './warm.ts';

const serial = { kind: 'none' } as const;
const engine = 'translator' as const;
const text = 'it is up\n# ';
const quietMs = 1000;

describe('a warm image', () => {
  const folder = mkdtempSync(join(tmpdir(), 'revenant-warm-'));
  after(() => {
    rmSync(folder, { recursive: true });
  });
  let machine: Machine;
  /** The machine as it is when its guest reads its console, or does not yet. */
  const waiting = (listening: boolean): Pick<Machine, 'serialPort' | 'snapshot'> => ({
    serialPort: () => ({ listening, unread: 0 }),
    snapshot: (options) => machine.snapshot(options),
  });
  const started = (key: string): WarmStart => {
    const start = new WarmStart(key, folder);
    for (const byte of Buffer.from(text)) start.printed(byte);
    return start;
  };

  before(async () => {
    ({ machine } = await readyGuest({ image: 'builtin', serial, engine }, {}, () => undefined, nodeEngine));
    machine.run({ instructions: 3_000_000 });
  });

  test('is kept when the guest waits for its console, once, and found by the next run', async () => {
    const first = started('one');
    assert.equal(first.found, false);
    first.waits(waiting(false), quietMs);
    first.waits(waiting(true), 10);
    await first.settled();
    assert.deepEqual(readdirSync(folder), [], 'it does not listen yet, or has just printed something');
    first.waits(waiting(true), quietMs);
    const { instructions } = machine;
    machine.run({ instructions: 1000 });
    first.waits(waiting(true), quietMs);
    await first.settled();

    const second = new WarmStart('one', folder);
    assert.equal(second.found, true);
    assert.equal(Buffer.from(await second.console()).toString(), text);
    const restored = await readyGuest({ serial, engine, restore: second.checkpoint }, {}, () => undefined);
    assert.equal(restored.machine.instructions, instructions);
    await restored.restoring?.close();
    assert.equal(new WarmStart('another', folder).found, false);
  });

  test('is not kept of a guest that was given something, and input waits for it only so long', async () => {
    const typed = started('typed');
    assert.equal(typed.holdsInput(0), true);
    assert.equal(typed.holdsInput(61_000), false);
    typed.given();
    assert.equal(typed.holdsInput(0), false);
    typed.waits(waiting(true), quietMs);
    await typed.settled();
    assert.equal(new WarmStart('typed', folder).found, false);
  });

  test('is gone when it is rejected, and not used when it is a week old', async () => {
    const old = new Date(Date.now() - 8 * 24 * 3_600_000);
    const start = new WarmStart('one', folder);
    utimesSync(start.checkpoint, old, old);
    assert.equal(new WarmStart('one', folder).found, false);
    start.reject();
    assert.deepEqual(readdirSync(folder), []);
  });

  test('that was cut is refused, so that the run can boot', async () => {
    const start = started('cut');
    start.waits(waiting(true), quietMs);
    await start.settled();
    truncateSync(start.checkpoint, 1000);
    await assert.rejects(readyGuest({ serial, engine, restore: start.checkpoint }, {}, () => undefined));
  });

  test('is one of four at most', async () => {
    for (const key of ['a', 'b', 'c', 'd', 'e', 'f']) {
      const start = started(key);
      start.waits(waiting(true), quietMs);
      await start.settled();
    }
    assert.equal(readdirSync(folder).length, 2 * 4);
  });
});

test('only a run of an image by the wall clock, with nothing else in the machine, begins warm', async () => {
  assert.equal(await warmKey({ image: 'builtin', serial, engine }), undefined);
  assert.equal(await warmKey({ kernel: 'k', serial, engine }), undefined);
  assert.equal(await warmKey({ image: 'linux-cloud', cold: true, serial, engine }), undefined);
  assert.equal(await warmKey({ image: 'linux-cloud', clock: 'virtual', serial, engine }), undefined);
  assert.equal(await warmKey({ image: 'linux-cloud', maxInstructions: 1n, serial, engine }), undefined);
  assert.equal(
    await warmKey({ image: 'linux-cloud', disks: [{ emptyBytes: 512 }], serial, engine }),
    undefined,
  );
});
