// A VM of the cluster under load, repeated on a machine of its own from its checkpoint and its log.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import {
  createMachine,
  decodeLog,
  encodeLog,
  planBootSector,
  restoreMachine,
  type LoggedInput,
  type Machine,
} from '@revenant/emulator';
import { buildModules, nodeEngine, nodeHash } from '@revenant/emulator/host-node';
import {
  CheckpointWriter,
  MemoryStore,
  openCheckpoint,
  raiseEpoch,
  type MachineSnapshot,
} from '@revenant/storage';
import type { ProtectedVm } from '../decisions/records.ts';
import { makeSettings } from '../decisions/settings.ts';
import type { Event } from '../decisions/types.ts';
import { until } from '../testing/until.ts';
import { VmHost } from './vm-host.ts';

/**
 * In use: IRQ 0 each ms, IRQ 4 with each byte, which is echoed, IRQ 1 with each key, which ends the waiting and is computed with; waits in
 * HLT, and after each event runs a loop of some 60,000 instructions.
 */
const code = Uint8Array.from([
  0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0, 0xbc, 0x00, 0x7c, // cli; ds = ss = 0; sp = 0x7c00
  0xc7, 0x06, 0x20, 0x00, 0x70, 0x7c, 0xa3, 0x22, 0x00, // vector 8: 0x7c70
  0xc7, 0x06, 0x24, 0x00, 0x78, 0x7c, 0xa3, 0x26, 0x00, // vector 9: 0x7c78
  0xc7, 0x06, 0x30, 0x00, 0x82, 0x7c, 0xa3, 0x32, 0x00, // vector 12: 0x7c82
  0xb0, 0x11, 0xe6, 0x20, 0xb0, 0x08, 0xe6, 0x21, 0xb0, 0x04, 0xe6, 0x21, 0xb0, 0x01, 0xe6, 0x21, 0xb0, 0xec, 0xe6, 0x21, // 8259A
  0xb0, 0x34, 0xe6, 0x43, 0xb0, 0xa9, 0xe6, 0x40, 0xb0, 0x04, 0xe6, 0x40, // 8254: each ms
  0xba, 0xf9, 0x03, 0xb0, 0x01, 0xee, 0xba, 0xfc, 0x03, 0xb0, 0x08, 0xee, 0xfb, // IER = received; MCR = OUT2; sti
  0xf4, 0xb9, 0x00, 0x75, 0x66, 0xff, 0x06, 0x00, 0x05, 0xe2, 0xf9, 0xeb, 0xf3, // hlt; 29,952 times inc [0x500]; again
]); // prettier-ignore
const handlers = Uint8Array.from([
  0x50, 0xb0, 0x20, 0xe6, 0x20, 0x58, 0xcf, 0x90, // 0x7c70: EOI
  0x50, 0xe4, 0x60, 0xe6, 0xe9, 0xeb, 0xf2, 0x90, 0x90, 0x90, // 0x7c78: in al, 0x60; out 0xe9, al; EOI
  0x50, 0x52, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0x07, 0xba, 0xf8, 0x03, 0xec, 0xee, 0xeb, 0xf1, 0x5a, 0xeb, 0xdb, // 0x7c82: while LSR says so: in, out; EOI
]); // prettier-ignore

async function firstSnapshot(): Promise<MachineSnapshot> {
  const sector = new Uint8Array(512);
  sector.set(code);
  sector.set(handlers, 0x70);
  sector.set([0x55, 0xaa], 510);
  const machine = await createMachine({ description: { memoryBytes: 2 ** 20 }, engine: nodeEngine });
  machine.boot(planBootSector(sector));
  return machine.snapshot({ full: true }) as unknown as MachineSnapshot;
}

async function restored(snapshot: MachineSnapshot): Promise<Machine> {
  return restoreMachine({
    snapshot: structuredClone(snapshot),
    engine: nodeEngine,
    backends: { hash: nodeHash },
  });
}

/** What is behind a snapshot in a log: entries whose numbers it has not counted. */
function logBehind(snapshot: MachineSnapshot, log: readonly LoggedInput[]): LoggedInput[] {
  const flush = log.findIndex(
    ({ input, instructions }) => input.kind === 'flush' && instructions === snapshot.instructions,
  );
  assert.ok(flush >= 0, 'the log has the making of the checkpoint');
  return log.slice(flush + 1);
}

before(() => {
  buildModules(() => undefined);
});

test('a VM under load is repeated from its checkpoint and its log to the state of a later checkpoint', async () => {
  const store = new MemoryStore();
  // A checkpoint to go on from, as a node before would have left it.
  const earlier = await raiseEpoch(store, 'v1', { owner: 'before', expectedEpoch: 0 });
  const writer = await CheckpointWriter.open(store, earlier, {});
  await writer.write(await firstSnapshot());

  const events: Event[] = [];
  const log: LoggedInput[] = [];
  let echoed = 0;
  const host = new VmHost({
    node: 'a',
    store,
    settings: makeSettings('default', { checkpointMs: 300 }),
    tell: (event) => events.push(event),
    log: () => undefined,
    output: (_vm, _epoch, bytes) => (echoed += bytes.length),
    logged: (_vm, _epoch, entries) => log.push(...entries),
  });
  const vm: ProtectedVm = {
    id: 'v1',
    spec: {
      runtime: 'machine',
      description: { memoryBytes: 2 ** 20 },
      memoryMiB: 1,
      priority: 1,
      outputs: 'async',
    },
    desired: 'running',
    boot: 0,
    status: 'stopped',
    reason: '',
    assignment: null,
    attempt: 1,
    tries: 0,
    avoid: [],
    moving: false,
  } as ProtectedVm;
  const newest = async (): Promise<MachineSnapshot> => {
    const reader = await openCheckpoint(store, 'v1');
    try {
      return await reader.readSnapshot({ onBase: true });
    } finally {
      await reader.close();
    }
  };
  try {
    host.do({ type: 'grant', until: Infinity });
    host.do({ type: 'raise', vmId: 'v1', attempt: 1, expectedEpoch: 1, incarnation: 1 });
    await until('the epoch', () => events.some(({ type }) => type === 'raised'));
    host.do({ type: 'run', vm, epoch: 2, paused: false, until: Infinity });
    await until('the start', () => events.some(({ type }) => type === 'started'));
    assert.equal(host.states.get('v1'), 'running');
    await until('a checkpoint', () => (host.figures[0]?.checkpoints ?? 0) >= 1);
    const from = await newest();
    for (let n = 0; n < 40; n++) {
      const typed = new TextEncoder().encode(`line ${String(n)}\n`);
      await host.input('v1', [{ kind: 'serial', port: 0, bytes: typed }]);
      await host.press('v1', ['KeyA']);
      await until('its echo', () => echoed >= (n + 1) * 7);
    }
    const { checkpoints = 0 } = host.figures[0] ?? {};
    await until('two more checkpoints', () => (host.figures[0]?.checkpoints ?? 0) >= checkpoints + 2);
    const to = await newest();

    const kinds = new Set(log.map(({ input }) => input.kind));
    for (const kind of ['serial', 'key', 'skip', 'rate', 'flush'] as const) assert.ok(kinds.has(kind), kind);
    const twin = await restored(from);
    const behind = logBehind(from, decodeLog(encodeLog(log)));
    // Up to the flush of the later checkpoint, which that has counted.
    const end = behind.findIndex(
      ({ input, instructions }) => input.kind === 'flush' && instructions === to.instructions,
    );
    twin.replay(behind.slice(0, end + 1));
    for (let turns = 0; twin.instructions < to.instructions; turns++) {
      assert.ok(turns < 100_000);
      const { reason } = twin.run({ instructions: to.instructions - twin.instructions, idle: 'wait' });
      assert.equal(reason, 'limit');
    }
    assert.equal(twin.catchUp(), true);
    assert.equal(twin.timeNs, to.virtualTimeNs);
    assert.equal(twin.stateHash(), (await restored(to)).stateHash());
  } finally {
    await host.close();
  }
});
