/** The machine as a whole: how runs end, idle time, calls of a BIOS that is not there. */
import { before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { planBootSector } from '../boot/index.ts';
import { buildModules } from '../build.ts';
import { nodeEngine, nodeHash } from '../host-node/engine.ts';
import { createMachine, restoreMachine } from './create.ts';
import type { MachineDescription } from './description.ts';
import type { LoggedInput } from './edge/table.ts';
import type { Machine, MachineParts } from './machine.ts';
import { PageBuffers } from './page-buffers.ts';
import { bootSector, ticking } from './testing/guests.ts';
import type { MachineSnapshot } from './snapshot.ts';

async function started(
  code: Uint8Array = ticking,
  options: { description?: Partial<MachineDescription>; backends?: MachineParts['backends'] } = {},
): Promise<Machine> {
  const machine = await createMachine({
    description: { memoryBytes: 2 ** 20, ...options.description },
    engine: nodeEngine,
    backends: { hash: nodeHash, ...options.backends },
  });
  machine.boot(planBootSector(bootSector(code)));
  return machine;
}

function word(machine: Machine, address: number): number {
  return new DataView(machine.memory.readPhysical(address, 4).buffer).getUint32(0, true);
}

const copyOf = (snapshot: MachineSnapshot): MachineSnapshot => structuredClone(snapshot);

before(() => {
  buildModules(() => undefined);
});

describe('pages in use', () => {
  test('are those that the processor came by, again behind each snapshot, and no part of the state', async () => {
    const machine = await started();
    const twin = await started();
    for (const one of [machine, twin]) one.run({ instructions: 1000 });
    // Vectors, its data and stack, its code.
    const used = [...machine.takeAccessed()];
    assert.ok(used.includes(0) && used.includes(7) && used.length < 8, used.join(' '));
    assert.deepEqual([...machine.takeAccessed()], []);
    assert.equal(machine.stateHash(), twin.stateHash());
    machine.snapshot();
    machine.run({ instructions: 1000 });
    assert.ok(machine.takeAccessed().includes(7));
  });
});

describe('running', () => {
  test('timer interrupts come at their virtual times, HLT lets time pass', async () => {
    const shown: number[] = [];
    const machine = await started(ticking, { backends: { debugConsole: (port, byte) => shown.push(byte) } });
    const result = machine.run({ untilNs: 20_500_000n });
    assert.equal(result.reason, 'limit');
    // The first when mode 2 raises OUT, then one each 1193 clocks.
    assert.deepEqual(
      shown,
      Array.from({ length: 21 }, (_, n) => n + 1),
    );
    assert.ok(result.instructions < 20_500_000n / 4n, 'time was skipped in HLT');
    assert.ok(word(machine, 0x500) >= 20 * 4096);
  });

  test('a run ends after so many accesses to devices, and the guest sees the same', async () => {
    const [often, once] = [await started(), await started()];
    const end = 30_000;
    for (let runs = 0; often.instructions < end; runs++) {
      assert.ok(runs < 1000);
      const left = end - Number(often.instructions);
      const { reason } = often.run({ instructions: left, accesses: 3 });
      assert.equal(reason, 'limit');
      // Before it enables interrupts it writes eleven times to the 8259A and the 8254.
      if (runs < 3) assert.ok(often.instructions < 100n, String(often.instructions));
    }
    once.run({ instructions: end });
    assert.equal(often.stateHash(), once.stateHash());
  });

  test('a run that looks at its host ends when that was enough, and the guest sees the same', async () => {
    const [looking, once] = [await started(), await started()];
    const seen: bigint[] = [];
    const enough = (): boolean => {
      seen.push(looking.instructions);
      return seen.length % 5 === 0;
    };
    const end = 200_000n;
    for (let runs = 0; looking.instructions < end; runs++) {
      assert.ok(runs < 1000);
      const left = Number(end - looking.instructions);
      assert.equal(looking.run({ instructions: left, look: { every: 700, enough } }).reason, 'limit');
    }
    // Its timer comes every few thousand instructions, and no look is left out or late because of that.
    assert.ok(seen.length >= 250, String(seen.length));
    assert.ok(seen.every((count, n) => n === 0 || count - (seen[n - 1] ?? 0n) <= 1500n));
    once.run({ instructions: end });
    assert.equal(looking.stateHash(), once.stateHash());
  });

  test('with idle: wait the host lets time pass, and the guest sees the same', async () => {
    const paced = await started();
    for (let steps = 0; paced.timeNs < 20_500_000n; steps++) {
      assert.ok(steps < 10_000);
      const result = paced.run({ untilNs: 20_500_000n, idle: 'wait' });
      if (result.reason === 'idle') paced.input({ kind: 'skip', toNs: paced.timeNs + 300_000n });
    }
    const skipping = await started();
    skipping.run({ instructions: paced.instructions });
    skipping.input({ kind: 'skip', toNs: paced.timeNs });
    assert.equal(skipping.instructions, paced.instructions);
    assert.equal(word(skipping, 0x504), word(paced, 0x504));
  });

  test('without a BIOS a call of it comes back with the carry flag set, an interrupt changes nothing', async () => {
    // clc; int 15h; sbb ax, ax; mov [500h], ax; clc; int 8; sbb ax, ax; mov [502h], ax; hlt
    const machine = await started(
      Uint8Array.from([
        0xf8, 0xcd, 0x15, 0x19, 0xc0, 0xa3, 0x00, 0x05, 0xf8, 0xcd, 0x08, 0x19, 0xc0, 0xa3, 0x02, 0x05, 0xfa,
        0xf4,
      ]),
    );
    assert.equal(machine.run({ instructions: 1000 }).reason, 'halted');
    assert.equal(word(machine, 0x500), 0xffff);
  });

  test('an instruction limit is met exactly, wherever it lies', async () => {
    const machine = await started();
    let total = 0n;
    for (const step of [1, 2, 3, 5, 100, 997, 65_537, 1, 1_000_003]) {
      total += BigInt(step);
      assert.equal(machine.run({ instructions: step }).instructions, total);
    }
  });

  test('breakpoints stop before the instruction', async () => {
    const machine = await started();
    machine.stops.addBreakpoint(0x7c44n);
    for (let n = 1; n <= 3; n++) {
      const result = machine.run({ instructions: 1_000_000 });
      assert.equal(result.reason, 'breakpoint');
      assert.equal(machine.registers().rip, 0x7c44n);
      assert.equal(word(machine, 0x504), n - 1);
    }
    machine.stops.removeBreakpoint(0x7c44n);
    assert.equal(machine.run({ instructions: 1000 }).reason, 'limit');
  });

  test('debug exit, power-off, reset, shutdown and a dead HLT end the run with their reasons', async () => {
    const out = (port: number, value: number): number[] => [
      0xba,
      port & 0xff,
      port >> 8,
      0xb8,
      value & 0xff,
      value >> 8,
      0xef,
    ];
    // prettier-ignore
    const cases: [number[], string][] = [
      [[0xb0, 0x2a, 0xe6, 0xf4], 'debugExit 85'],
      [out(0x604, (5 << 10) | 0x2000), 'powerOff'],
      // MOV DX, 560h; MOV EAX, 12Bh; OUT DX, EAX: with status 2Bh
      [[0xba, 0x60, 0x05, 0x66, 0xb8, 0x2b, 0x01, 0, 0, 0x66, 0xef], 'powerOff 43'],
      // OUT DX, AX: no status, and no end
      [[...out(0x560, 7), 0xfa], 'halted'],
      [[0xb0, 0xfe, 0xe6, 0x64], 'reset'],
      [[0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee], 'reset'],
      [[0xb0, 0x01, 0xe6, 0x92], 'reset'],
      // LIDT with limit 0, INT3: every delivery fails
      [[0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0xc7, 0x06, 0x00, 0x05, 0x00, 0x00, 0x0f, 0x01, 0x1e, 0x00, 0x05, 0xcc], 'shutdown'],
      [[0xfa, 0xf4], 'halted'],
    ];
    for (const [code, reason] of cases) {
      const machine = await started(Uint8Array.from([...code, 0xf4]), {
        description: { debugExitPort: 0xf4 },
      });
      const result = machine.run({ instructions: 1000 });
      const status = result.status === undefined ? '' : ` ${String(result.status)}`;
      assert.equal(`${result.reason}${status}`, reason);
    }
  });

  test('a triple fault resets when the description says so', async () => {
    const code = [0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0xc7, 0x06, 0, 5, 0, 0, 0x0f, 0x01, 0x1e, 0, 5, 0xcc];
    const machine = await started(Uint8Array.from(code), { description: { tripleFault: 'reset' } });
    assert.equal(machine.run({ instructions: 1000 }).reason, 'reset');
    assert.equal(machine.registers().rip, 0xfff0n);
  });
});

describe('determinism', () => {
  const counts = [1n, 100n, 5_000n, 40_001n, 99_999n, 123_456n, 200_000n, 250_000n, 300_001n, 400_000n];

  async function hashes(machine: Machine, chunk: bigint): Promise<string[]> {
    const seen: string[] = [];
    for (const count of counts) {
      while (machine.instructions < count) {
        const left = count - machine.instructions;
        machine.run({ instructions: left < chunk ? left : chunk });
      }
      seen.push(machine.stateHash());
    }
    await Promise.resolve();
    return seen;
  }

  test('the state hash at ten counts does not depend on how the run is cut into pieces', async () => {
    const whole = await hashes(await started(), 1_000_000n);
    const pieces = await hashes(await started(), 777n);
    assert.deepEqual(pieces, whole);
    assert.equal(new Set(whole).size, counts.length);
  });

  test('a machine restored at any of the counts continues with the same hashes', async () => {
    const first = await started();
    const expected = await hashes(await started(), 1_000_000n);
    for (const [n, count] of counts.entries()) {
      first.run({ instructions: count - first.instructions });
      const second = await restoreMachine({
        snapshot: copyOf(first.snapshot({ full: true })),
        engine: nodeEngine,
        backends: { hash: nodeHash },
      });
      assert.equal(second.instructions, count);
      for (const later of counts.slice(n + 1)) second.run({ instructions: later - second.instructions });
      if (n + 1 < counts.length) assert.equal(second.stateHash(), expected.at(-1), `from ${String(count)}`);
      assert.equal(second.stateHash().length, 64);
    }
  });

  test('inputs replayed from their log give the same machine', async () => {
    const log: LoggedInput[] = [];
    const live = await started(ticking, { backends: { input: (entry) => log.push(entry) } });
    const bytes = new TextEncoder().encode('hello');
    for (let n = 0; n < 40; n++) {
      live.run({ instructions: 1000 + n * 37, idle: n % 2 ? 'wait' : 'skip' });
      if (n % 2) live.input({ kind: 'skip', toNs: live.timeNs + 100_000n });
      if (n % 3 === 0) live.input({ kind: 'serial', port: 0, bytes });
      if (n % 4 === 1) live.input({ kind: 'key', code: 'KeyA', pressed: n % 8 === 1 });
      if (n === 17) live.input({ kind: 'rate', rate: 6 << 16 });
      if (n === 23) live.input({ kind: 'nmi' });
      if (n === 29) live.snapshot();
    }
    live.run({ instructions: 100_000 });
    const replayed = await started();
    replayed.replay(log);
    replayed.run({ instructions: live.instructions });
    assert.equal(replayed.stateHash(), live.stateHash());
  });
});

describe('snapshots', () => {
  test('the first lists all that is not zero, as a full one later does', async () => {
    const machine = await started(ticking, { description: { memoryBytes: 2 ** 24 } });
    machine.run({ untilNs: 5_500_000n });
    machine.memory.writePhysical(0xab_cdef, Uint8Array.of(1));
    machine.memory.writePhysical(0xcd_0000, Uint8Array.of(1));
    machine.memory.writePhysical(0xcd_0000, Uint8Array.of(0));
    const first = machine.snapshot();
    const ram = first.spaces.find(({ name }) => name === 'ram');
    assert.ok(ram?.indexes.includes(0xabc) && !ram.indexes.includes(0xcd0));
    assert.deepEqual(first.spaces, machine.snapshot({ full: true }).spaces);

    // A cut that is only replayed changes nothing of that.
    const twin = await started(ticking, { description: { memoryBytes: 2 ** 24 } });
    twin.memory.writePhysical(0xab_cdef, Uint8Array.of(1));
    twin.replay([{ instructions: 100n, timeNs: 0n, number: 0, input: { kind: 'flush' } }]);
    twin.run({ untilNs: 5_500_000n });
    const whole = twin.snapshot();
    assert.deepEqual(whole.spaces, twin.snapshot({ full: true }).spaces);
    assert.ok(whole.spaces.find(({ name }) => name === 'ram')?.indexes.includes(0xabc));
  });

  test('changed pages come in a caller’s buffers as they do without, whatever was in these before', async () => {
    const [machine, twin] = [await started(), await started()];
    const buffers = new PageBuffers();
    buffers.giveBack(new SharedArrayBuffer(1 << 20));
    for (const each of [machine, twin]) each.snapshot();
    for (let n = 1; n <= 3; n++) {
      for (const each of [machine, twin]) {
        each.run({ untilNs: BigInt(n) * 5_500_000n });
        // Neighbours, and one far from them.
        for (const page of [9, 10, 11, 40 + n]) each.memory.writePhysical(page << 12, Uint8Array.of(n, page));
      }
      const snapshot = machine.snapshot({ buffers });
      assert.deepEqual(copyOf(snapshot), copyOf(twin.snapshot()));
      const ram = snapshot.spaces.find(({ name }) => name === 'ram');
      assert.ok(ram && [9, 10, 11, 40 + n].every((page) => ram.indexes.includes(page)));
      new Uint8Array(ram.bytes.buffer).fill(0xa5);
      for (const { bytes } of snapshot.spaces) buffers.giveBack(bytes.buffer);
    }
  });

  test('after the first, only changed pages are listed', async () => {
    const machine = await started();
    machine.run({ instructions: 10_000 });
    const first = machine.snapshot();
    assert.ok(first.spaces.every((space) => space.full));
    machine.run({ instructions: 10_000 });
    const second = machine.snapshot();
    const ram = second.spaces.find(({ name }) => name === 'ram');
    assert.ok(ram && !ram.full);
    // The counters' page and the stack's; nothing else was written.
    assert.deepEqual([...ram.indexes], [0, 7]);
    assert.equal(ram.bytes.length, 2 * 4096);
  });

  test('a restored machine that has not run takes over what changed since, and is the later one then', async () => {
    const disk = { name: 'disk0', bytes: 2 ** 16, readOnly: false, base: null };
    const description = { memoryBytes: 2 ** 20, disks: [disk] };
    const machine = await started(ticking, { description });
    machine.memory.writePhysical(0x9_0000, Uint8Array.of(1));
    machine.disks[0]?.write(0, Uint8Array.of(1));
    machine.run({ untilNs: 3_300_000n });
    const parts = { engine: nodeEngine, backends: { hash: nodeHash } };
    const twin = await restoreMachine({ ...parts, snapshot: copyOf(machine.snapshot()) });
    machine.run({ untilNs: 9_100_000n });
    machine.memory.writePhysical(0x9_0000, Uint8Array.of(0));
    machine.disks[0]?.write(5000, Uint8Array.of(2));
    assert.throws(() => twin.advance(copyOf(machine.snapshot({ full: true }))), /ram is whole/);
    machine.memory.writePhysical(0x9_1000, Uint8Array.of(3));
    machine.run({ untilNs: 12_700_000n });
    const whole = machine.snapshot({ full: true });
    const pages = Uint32Array.from({ length: 2 ** 8 }, (_, page) => page);
    const changes = copyOf({
      ...whole,
      spaces: whole.spaces.map((space) => {
        const indexes = pages.slice(0, space.pageCount);
        const bytes = new Uint8Array(indexes.length * 4096);
        space.indexes.forEach((page, n) => {
          bytes.set(space.bytes.subarray(n * 4096, (n + 1) * 4096), page * 4096);
        });
        return { ...space, full: false, indexes, bytes };
      }),
    });
    twin.advance(changes);
    assert.equal(twin.stateHash(), machine.stateHash());
    for (const each of [machine, twin]) each.run({ untilNs: 20_000_000n });
    assert.equal(twin.stateHash(), machine.stateHash());
    // Its next snapshot goes on from there.
    assert.deepEqual(copyOf(twin.snapshot()).spaces, copyOf(machine.snapshot()).spaces);
  });

  test('a snapshot that does not fit is refused with a typed error', async () => {
    const machine = await started();
    machine.run({ instructions: 1000 });
    const good = machine.snapshot({ full: true });
    // prettier-ignore
    const bad: [string, (snapshot: MachineSnapshot) => void][] = [
      ['no RAM', (s) => (s.spaces = s.spaces.filter(({ name }) => name !== 'ram'))],
      ['pages missing', (s) => (s.spaces[0] = { ...(s.spaces[0] as MachineSnapshot['spaces'][0]), bytes: new Uint8Array(4096) })],
      ['only changes', (s) => (s.spaces[0] = { ...(s.spaces[0] as MachineSnapshot['spaces'][0]), full: false })],
      ['page out of range', (s) => (s.spaces[0]?.indexes.fill(0xffff_ffff))],
      ['no processor', (s) => (s.cpus = [])],
      ['no count', (s) => delete (s as Partial<MachineSnapshot>).instructions],
      ['no devices', (s) => delete (s as Partial<MachineSnapshot>).devices],
      ['no spaces', (s) => delete (s as Partial<MachineSnapshot>).spaces],
      ['an empty device', (s) => (s.devices['rtc-mc146818'] = null as never)],
      ['half a processor', (s) => delete (s.cpus[0] as Record<string, unknown>)['rip']],
      ['a device missing', (s) => delete s.devices['pit-8254']],
      ['a newer device', (s) => ((s.devices['pit-8254'] as { version: number }).version = 99)],
      ['another machine', (s) => ((s.description as { memoryBytes: number }).memoryBytes = 4 << 20)],
      ['an unknown description', (s) => ((s.description as Record<string, unknown>)['surplus'] = 1)],
    ];
    for (const [what, damage] of bad) {
      const snapshot = copyOf(good);
      damage(snapshot);
      await assert.rejects(
        restoreMachine({ snapshot, engine: nodeEngine }),
        (error) => {
          const { code } = error as { code?: string };
          return code?.startsWith('MACHINE_') === true || code?.startsWith('DEVICE_STATE_') === true;
        },
        what,
      );
    }
    await restoreMachine({ snapshot: good, engine: nodeEngine });
  });

  test('so is one of several processors that is not whole', async () => {
    const machine = await createMachine({
      description: { memoryBytes: 2 ** 20, cpu: { count: 3 } },
      engine: nodeEngine,
    });
    const good = machine.snapshot({ full: true });
    const bad: [string, (snapshot: MachineSnapshot) => void][] = [
      ['two of three', (s) => (s.cpus = s.cpus.slice(1))],
      ['four of three', (s) => s.cpus.push(s.cpus[0])],
      ['a local APIC missing', (s) => delete s.devices['lapic-2']],
      ['nobody has a turn', (s) => delete s.devices['turns']],
      [
        'one that is not there has it',
        (s) => ((s.devices['turns']?.state as { current: number }).current = 3),
      ],
      ['more processors', (s) => ((s.description as { cpu: { count: number } }).cpu.count = 4)],
    ];
    for (const [what, damage] of bad) {
      const snapshot = copyOf(good);
      damage(snapshot);
      await assert.rejects(
        restoreMachine({ snapshot, engine: nodeEngine }),
        ({ code }: { code: string }) => /^(MACHINE|DEVICE_STATE)_/.test(code),
        what,
      );
    }
    await restoreMachine({ snapshot: good, engine: nodeEngine });
  });
});

describe('looking at a machine', () => {
  test('screen and memory', async () => {
    // mov ax,0xb800; mov es,ax; mov word [es:2],0x4e41; hlt
    const machine = await started(
      Uint8Array.from([0xb8, 0x00, 0xb8, 0x8e, 0xc0, 0x26, 0xc7, 0x06, 0x02, 0x00, 0x41, 0x4e, 0xfa, 0xf4]),
    );
    machine.run({ instructions: 100 });
    const screen = machine.screen();
    assert.ok(screen);
    assert.deepEqual([screen.columns, screen.rows, screen.cells[1]], [80, 25, 0x4e41]);
    machine.memory.writePhysical(0x600, Uint8Array.of(1, 2, 3));
    assert.deepEqual([...machine.memory.readVirtual(0x600n, 3)], [1, 2, 3]);
    assert.deepEqual([...machine.memory.readPhysical(0xd000_0000, 2)], [0xff, 0xff]);
  });

  test('bad descriptions and inputs are refused', async () => {
    for (const description of [
      { memoryBytes: 5 },
      { cpu: { model: 'z80' } },
      { cpu: { count: 0 } },
      { cpu: { count: 17 } },
      { cpu: { count: 1.5 } },
      { cpu: { model: '486', count: 2 } },
      { serialPorts: 9 },
      { nonsense: 1 },
    ])
      await assert.rejects(
        createMachine({ description: description as never, engine: nodeEngine }),
        (error) => (error as { code?: string }).code?.startsWith('MACHINE_') === true,
      );
    const machine = await started();
    for (const input of [{ kind: 'serial', port: 7 }, { kind: 'x' }, { kind: 'rate', rate: 0 }])
      assert.throws(
        () => {
          machine.input(input as never);
        },
        { code: 'MACHINE_INPUT_INVALID' },
      );
  });
});
