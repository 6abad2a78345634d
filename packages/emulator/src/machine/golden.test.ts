/**
 * A machine state written by an earlier version of this program must stay readable. REVENANT_GOLDEN=write makes the file of the current
 * format (the one with a disk); files of older formats are never made again.
 */
import { before, test } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { planBootSector } from '../boot/index.ts';
import { buildModules } from '../build.ts';
import { nodeEngine } from '../host-node/engine.ts';
import { createMachine, restoreMachine } from './create.ts';
import {
  networkCardModels,
  optionalDevices,
  type DiskRequest,
  type MachineRequest,
  type OptionalDevice,
} from './description.ts';
import type { LoggedInput } from './edge/table.ts';
import type { Machine } from './machine.ts';
import type { MachineSnapshot } from './snapshot.ts';

const golden = (name: string): string => join(import.meta.dirname, 'golden', name);
const file = golden('state-1.json');
/** With a disk, which machines have had since format 1 was kept. */
const diskFile = golden('state-2-disk.json');

/** With a log of what the serial port sent, which its state has had since its version 2. */
const logFile = golden('state-3-log.json');

/** With the numbers of its streams, which the machine's own state has had since its version 2. */
const streamsFile = golden('state-4-streams.json');

/** With each of the optional devices, told of a second life and of entropy. */
const devicesFile = golden('state-5-devices.json');

/** Of version 2 of the board, with a medium for each of its controllers, cards of all models, and a disc and a floppy disk that were changed. */
const fullPcFile = golden('state-6-full-pc.json');

/** Of two processors. */
const processorsFile = golden('state-7-processors.json');

/** Numbers of streams that were not counted before, but for the snapshot that was just taken. */
const newStreams = { inputs: [{ stream: 'flush', next: 1 }], outputs: [] };

/** What virtio cards have since their version 3. */
const newInVirtio3 = { registers: [], messages: null };

/** Serial ports, virtio cards and the machine's own state as their version 2 has them. */
function upgraded(devices: MachineSnapshot['devices']): MachineSnapshot['devices'] {
  return Object.fromEntries(
    Object.entries(devices).map(([name, device]) => {
      if (name === 'machine' && device.version === 1)
        return [name, { version: 2, state: { ...(device.state as object), ...newStreams } }];
      if (name.startsWith('virtio-') && device.version === 1) {
        const { queue, notified, ...rest } = device.state as Record<string, unknown>;
        const state = {
          ...rest,
          queues: [queue],
          notified: notified === true ? 1 : 0,
          configurationStatus: 0,
          ...newInVirtio3,
        };
        return [name, { version: 3, state }];
      }
      if (name.startsWith('virtio-') && device.version === 2)
        return [name, { version: 3, state: { ...(device.state as object), ...newInVirtio3 } }];
      if (!name.startsWith('uart-') || device.version !== 1) return [name, device];
      return [name, { version: 2, state: { ...(device.state as object), log: new Uint8Array(0) } }];
    }),
  );
}

/** JSON with bigints and byte arrays. */
function encode(value: unknown): string {
  return JSON.stringify(
    value,
    (_key, item: unknown) => {
      if (typeof item === 'bigint') return { $integer: item.toString() };
      if (item instanceof Uint8Array) return { $bytes: Buffer.from(item).toString('base64') };
      if (item instanceof Uint32Array) return { $words: [...item] };
      return item;
    },
    1,
  );
}

function decode(text: string): unknown {
  return JSON.parse(text, (_key, item: unknown) => {
    if (typeof item !== 'object' || item === null) return item;
    const { $integer, $bytes, $words } = item as { $integer?: string; $bytes?: string; $words?: number[] };
    if ($integer !== undefined) return BigInt($integer);
    if ($bytes !== undefined) return Uint8Array.from(Buffer.from($bytes, 'base64'));
    return $words === undefined ? item : Uint32Array.from($words);
  });
}

/** All devices in states that differ from power-on: timers run, bytes wait, a key is down. */
async function makeState(
  disks: readonly DiskRequest[],
  devices: readonly OptionalDevice[] = [],
  more: MachineRequest = {},
): Promise<MachineSnapshot> {
  const machine = await createMachine({
    description: { memoryBytes: 2 ** 20, disks, devices: [...devices], ...more },
    engine: nodeEngine,
  });
  const sector = new Uint8Array(512);
  // "Hi" to the serial port, 8259A and 8254 set up, mode 2 of counter 0, UART FIFO on, then count for ever
  sector.set([
    0xba, 0xf8, 0x03, 0xb0, 0x48, 0xee, 0xb0, 0x69, 0xee, 0xfa, 0xb0, 0x11, 0xe6, 0x20, 0xb0, 0x08, 0xe6,
    0x21, 0xb0, 0x04, 0xe6, 0x21, 0xb0, 0x01, 0xe6, 0x21, 0xb0, 0x34, 0xe6, 0x43, 0xb0, 0xa9, 0xe6, 0x40,
    0xb0, 0x04, 0xe6, 0x40, 0xba, 0xfa, 0x03, 0xb0, 0x81, 0xee, 0x40, 0xeb, 0xfd,
  ]);
  sector.set([0x55, 0xaa], 510);
  machine.boot(planBootSector(sector));
  machine.run({ instructions: 5000 });
  machine.input({ kind: 'serial', port: 0, bytes: new TextEncoder().encode('golden') });
  machine.input({ kind: 'key', code: 'KeyG', pressed: true });
  machine.run({ instructions: 300_000 });
  if (devices.length > 0) {
    machine.input({ kind: 'entropy', bytes: Uint8Array.of(1, 2, 3) });
    machine.input({ kind: 'generation', generation: 0x1234_5678_9abc_def0n });
  }
  machine.input({ kind: 'medium', drive: 'cdrom', image: 'disk4' });
  machine.input({ kind: 'medium', drive: 'floppy', image: null });
  machine.disks[0]?.write(5000, new TextEncoder().encode('golden disk'));
  return machine.snapshot({ full: true });
}

before(() => {
  buildModules(() => undefined);
});

test('a state of format 1 is read, and read again it is the same', async () => {
  const snapshot = decode(readFileSync(file, 'utf8')) as MachineSnapshot;
  const machine = await restoreMachine({ snapshot, engine: nodeEngine });
  const again = machine.snapshot({ full: true });
  assert.deepEqual(again.devices, upgraded(snapshot.devices));
  assert.deepEqual(again.cpus, snapshot.cpus);
  assert.deepEqual(
    [again.instructions, again.virtualTimeNs],
    [snapshot.instructions, snapshot.virtualTimeNs],
  );
  machine.run({ instructions: 1000 });
  assert.equal(machine.instructions, snapshot.instructions + 1000n);
});

test('a state with a disk is read, and read again it is the same', async () => {
  const disks = [{ name: 'disk0', bytes: 3 * 4096 + 512 }];
  const snapshot = decode(readFileSync(diskFile, 'utf8')) as MachineSnapshot;
  const machine = await restoreMachine({ snapshot, engine: nodeEngine });
  assert.deepEqual(machine.description.disks, [{ ...disks[0], readOnly: false, base: null }]);
  const text = new Uint8Array(11);
  machine.disks[0]?.read(5000, text);
  assert.equal(new TextDecoder().decode(text), 'golden disk');
  const again = machine.snapshot({ full: true });
  assert.deepEqual(again.devices, upgraded(snapshot.devices));
  assert.deepEqual(again.spaces.at(-1), snapshot.spaces.at(-1));
});

test('a state with a serial log is read, and read again it is the same', async () => {
  const snapshot = decode(readFileSync(logFile, 'utf8')) as MachineSnapshot;
  const machine = await restoreMachine({ snapshot, engine: nodeEngine });
  const again = machine.snapshot({ full: true });
  assert.deepEqual(again.devices, upgraded(snapshot.devices));
  const uart = again.devices['uart-16550a-0']?.state as { log: Uint8Array };
  assert.equal(new TextDecoder().decode(uart.log), 'Hi');
});

test('a state with numbers of streams is read, and goes on counting', async () => {
  if (process.env['REVENANT_GOLDEN'] === 'write')
    writeFileSync(streamsFile, `${encode(await makeState([{ name: 'disk0', bytes: 3 * 4096 + 512 }]))}\n`);
  const snapshot = decode(readFileSync(streamsFile, 'utf8')) as MachineSnapshot;
  const log: LoggedInput[] = [];
  const backends = { input: (entry: LoggedInput) => log.push(entry) };
  const machine = await restoreMachine({ snapshot, engine: nodeEngine, backends });
  machine.input({ kind: 'serial', port: 0, bytes: Uint8Array.of(1) });
  assert.equal(log[0]?.number, 'golden'.length);
  const again = machine.snapshot({ full: true });
  const saved = again.devices['machine']?.state as { outputs: unknown };
  assert.deepEqual(saved.outputs, [{ stream: 'serial/0', next: 2 }]);
});

/** A state, the machine that is made of it, and its state, in which the devices are as they were. */
async function readAgain(
  file: string,
): Promise<{ snapshot: MachineSnapshot; machine: Machine; again: MachineSnapshot }> {
  const snapshot = decode(readFileSync(file, 'utf8')) as MachineSnapshot;
  const machine = await restoreMachine({ snapshot, engine: nodeEngine });
  const again = machine.snapshot({ full: true });
  // The snapshot itself is one more input of the machine.
  const { machine: _before, ...before } = snapshot.devices;
  const { machine: _after, ...after } = again.devices;
  assert.deepEqual(after, before);
  return { snapshot, machine, again };
}

test('a state with the optional devices is read, and read again it is the same', async () => {
  if (process.env['REVENANT_GOLDEN'] === 'write')
    writeFileSync(devicesFile, `${encode(await makeState([], optionalDevices))}\n`);
  const { again } = await readAgain(devicesFile);
  const { id } = again.devices['vmgenid']?.state as { id: Uint8Array };
  assert.equal(new DataView(id.buffer).getBigUint64(0, true), 0x1234_5678_9abc_def0n);
});

test('a state of the full PC is read, and read again it is the same', async () => {
  const attached = ['ide', 'ahci', 'virtio', 'cdrom', 'cdrom', 'floppy'] as const;
  const disks = attached.map((attach, n) => ({ name: `disk${String(n)}`, bytes: 1440 * 1024, attach }));
  const networkCards = networkCardModels.map((model, n) => ({
    mac: `52:54:00:00:00:0${String(n)}`,
    mtu: 1500,
    model,
  }));
  if (process.env['REVENANT_GOLDEN'] === 'write') {
    const made = await makeState(disks, optionalDevices, { boardVersion: 2, networkCards });
    writeFileSync(fullPcFile, `${encode(made)}\n`);
  }
  const { snapshot, machine, again } = await readAgain(fullPcFile);
  assert.deepEqual(again.cpus, snapshot.cpus);
  assert.deepEqual(again.description, snapshot.description);
  assert.deepEqual(
    machine.description.disks.map(({ attach = 'virtio' }) => attach),
    attached,
  );
  machine.run({ instructions: 1000 });
  assert.equal(machine.instructions, snapshot.instructions + 1000n);
});

test('a state of two processors is read, and read again it is the same', async () => {
  if (process.env['REVENANT_GOLDEN'] === 'write')
    writeFileSync(processorsFile, `${encode(await makeState([], [], { cpu: { count: 2 } }))}\n`);
  const { snapshot, machine, again } = await readAgain(processorsFile);
  assert.deepEqual(again.cpus, snapshot.cpus);
  assert.equal(again.cpus.length, 2);
  machine.run({ instructions: 1000 });
  assert.equal(machine.instructions, snapshot.instructions + 1000n);
});
