/** A machine as a guest of the cluster, on a thread of its own: what it says of its sleep, and that nobody changes it by looking. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMachine, planBootSector } from '@revenant/emulator';
import { buildModules, nodeEngine, nodeHash } from '@revenant/emulator/host-node';
import type { MachineSnapshot } from '@revenant/storage';
import { busyMachine } from '../../test-support/busy-machine.ts';
import { createGuest } from './machine-guest.ts';
import { sumsOf } from './standby/state-sums.ts';

/** Mask all interrupts; counter 0 of the timer in mode 2 with the shortest count; then halt for ever. */
const code = [
  ...[0xb0, 0xff, 0xe6, 0x21], // mov al, 0xff; out 0x21, al
  ...[0xb0, 0x34, 0xe6, 0x43], // mov al, 0x34; out 0x43, al
  ...[0xb0, 0x02, 0xe6, 0x40], // mov al, 2; out 0x40, al
  ...[0xb0, 0x00, 0xe6, 0x40], // mov al, 0; out 0x40, al
  ...[0xfb, 0xf4, 0xeb, 0xfd], // sti; hlt; jmp to the hlt
];

test('a guest that sleeps beside a timer that never rests does not keep its thread', async () => {
  buildModules(() => undefined);
  const machine = await createMachine({
    description: { memoryBytes: 2 ** 20 },
    backends: { hash: nodeHash },
    engine: nodeEngine,
  });
  const sector = new Uint8Array(512);
  sector.set(code);
  sector.set([0x55, 0xaa], 510);
  machine.boot(planBootSector(sector));
  const snapshot = machine.snapshot({ full: true }) as unknown as MachineSnapshot;
  const generation = new Uint8Array(16);
  const guest = await createGuest({ description: {}, snapshot, blobs: new Map(), generation });
  const before = process.threadCpuUsage();
  for (let turns = 0; turns < 20; turns++) {
    guest.run(200_000);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  const { user, system } = process.threadCpuUsage(before);
  const usedMs = (user + system) / 1000;
  assert.ok(usedMs < 2000, `20 turns took ${String(usedMs)} ms of processor time`);
});

test('what a machine is follows from what it was given: who looks at it, and when its outputs are taken, changes nothing', async () => {
  buildModules(() => undefined);
  const snapshot = await busyMachine();
  const start = { description: {}, blobs: new Map(), generation: new Uint8Array(16) };
  const seen = await createGuest({ ...start, snapshot: structuredClone(snapshot), keepLog: true });
  const cuts = [];
  const log = [];
  for (let turn = 0; turn < 60; turn++) {
    seen.input({ kind: 'serial', port: 0, bytes: Buffer.from(`line ${String(turn)}\n`) });
    seen.input({ kind: 'key', code: 'KeyA', pressed: turn % 2 === 0 });
    seen.run(1000 * (turn % 7) + 1);
    if (turn % 3 === 0) seen.outputs();
    if (turn % 4 === 0) seen.look?.(turn % 8 === 0);
    seen.screen();
    if (turn % 5 === 0) seen.rest?.();
    if (turn % 10 === 9) {
      const { rest, pages } = sumsOf(seen.snapshot());
      log.push({ log: seen.takeLog?.() ?? [], next: turn, to: seen.instructions });
      cuts.push({ cut: turn, rest, pages });
    }
  }
  assert.ok(seen.instructions > snapshot.instructions && cuts.length === 6);
  // Another does it again, in other turns and unseen, as a standby does.
  const replay = { log: [], to: snapshot.instructions };
  const unseen = await createGuest({ ...start, snapshot: structuredClone(snapshot), follows: true, replay });
  for (const entry of log) unseen.further?.(entry);
  while (unseen.follow?.(777) !== 'end');
  assert.deepEqual(
    unseen.cuts?.().map(({ cut, rest, pages }) => ({ cut, rest, pages })),
    cuts,
  );
});
