/** The power button of a VM of the cluster: Linux powers itself off. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMachine, planBootSector } from '@revenant/emulator';
import { buildModules, nodeEngine } from '@revenant/emulator/host-node';
import { CheckpointWriter, MemoryStore, raiseEpoch, type MachineSnapshot } from '@revenant/storage';
import type { ProtectedVm } from '../decisions/records.ts';
import { makeSettings } from '../decisions/settings.ts';
import type { Event } from '../decisions/types.ts';
import { until } from '../testing/until.ts';
import { VmHost } from './vm-host.ts';

/** Waits for PWRBTN_STS in PM1_STS, then asks for S5 in PM1_CNT: what an operating system does about its power button, in short. */
const code = [
  ...[0xba, 0x00, 0x06, 0xed, 0xf6, 0xc4, 0x01, 0x74, 0xfa], // mov dx, 0x600; in ax, dx; test ah, 1; jz back
  ...[0xba, 0x04, 0x06, 0xb8, 0x00, 0x34, 0xef, 0xf4], // mov dx, 0x604; mov ax, 0x3400; out dx, ax; hlt
];

test('a VM whose power button is pressed powers itself off', async () => {
  buildModules(() => undefined);
  const machine = await createMachine({ description: { memoryBytes: 2 ** 20 }, engine: nodeEngine });
  const sector = new Uint8Array(512);
  sector.set(code);
  sector.set([0x55, 0xaa], 510);
  machine.boot(planBootSector(sector));
  const store = new MemoryStore();
  const earlier = await raiseEpoch(store, 'v1', { owner: 'before', expectedEpoch: 0 });
  const writer = await CheckpointWriter.open(store, earlier, {});
  await writer.write(machine.snapshot({ full: true }) as unknown as MachineSnapshot);

  const events: Event[] = [];
  const host = new VmHost({
    node: 'a',
    store,
    settings: makeSettings('default'),
    tell: (event) => events.push(event),
    log: () => undefined,
    output: () => undefined,
  });
  const vm = { id: 'v1', spec: { runtime: 'machine', description: {} }, boot: 0 } as unknown as ProtectedVm;
  try {
    host.do({ type: 'grant', until: Infinity });
    host.do({ type: 'raise', vmId: 'v1', attempt: 1, expectedEpoch: 1, incarnation: 1 });
    await until('the epoch', () => events.some(({ type }) => type === 'raised'));
    host.do({ type: 'run', vm, epoch: 2, paused: false, until: Infinity });
    await until('the start', () => events.some(({ type }) => type === 'started'));
    assert.deepEqual(await host.input('v1', [{ kind: 'powerButton' }]), ['taken']);
    await until('the end', () => events.some(({ type }) => type === 'stopped'));
    const stopped = events.find((event) => event.type === 'stopped');
    assert.equal(stopped?.kind, 'powered-off');
    assert.equal(await host.input('v1', [{ kind: 'powerButton' }]), undefined);
  } finally {
    await host.close();
  }
});
