/**
 * Random guests: garbage in all ports, device memory, instruction bytes, descriptors, page tables and control registers. None may crash or
 * hang the host, make it grow, or bring a device into a state that can't be saved.
 *
 * REVENANT_FUZZ_GUESTS=10000 runs that many; REVENANT_FUZZ_SEED=N starts at seed N (a failure names its seed).
 */
import { before, test } from 'node:test';
import assert from 'node:assert/strict';
import { buildModules, nodeEngine, nodeHash } from '@revenant/emulator/host-node';
import { createMachine, restoreMachine } from '@revenant/emulator';
import type { BootPlan, BootSegment, Machine, MachineSnapshot, PhysicalWrite } from '@revenant/emulator';

const guests = Number(process.env['REVENANT_FUZZ_GUESTS'] ?? 300);
const firstSeed = Number(process.env['REVENANT_FUZZ_SEED'] ?? 1);
const memoryBytes = 2 ** 20;
const instructionsPerGuest = 20_000;
/** Each guest starts from power-on; now and then in a new machine, so that the host's memory is seen to be given back. */
const guestsPerMachine = 1000;

class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = (seed * 0x9e37_79b1 + 1) >>> 0;
  }
  /** Uniform in 0 … 2^32 - 1 (mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b_79f5) >>> 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }
  below(limit: number): number {
    return this.next() % limit;
  }
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }
  bytes(length: number): number[] {
    return Array.from({ length }, () => this.next() & 0xff);
  }
  /** Values that are more likely to mean something. */
  word(): number {
    return this.pick([
      this.next(),
      this.next() & 0xff,
      this.next() & 0xffff,
      1 << this.below(31),
      0,
      0xffff_ffff,
    ]);
  }
}

const dword = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);
const word = (value: number): number[] => [value & 0xff, (value >> 8) & 0xff];

// prettier-ignore
const devicePorts = [
  0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1, 0x40, 0x41, 0x42, 0x43, 0x61, 0x60, 0x64, 0x70, 0x71, 0x92, 0xf0, 0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc,
  0x3fd, 0x3fe, 0x2f8, 0x2f9, 0x2fa, 0x510, 0x511, 0x514, 0x518, 0x600, 0x602, 0x604, 0x608, 0xcf8, 0xcf9, 0xcfc, 0xcfe, 0x00, 0x08, 0x0b, 0x81,
  0xc0, 0xd6, 0x3c0, 0x3c1, 0x3c4, 0x3c8, 0x3c9, 0x3d4, 0x3d5, 0x3da, 0x560, 0x56c, 0x402, 0xe9, 0xb2,
];
const deviceMemory = [
  0xfee0_0000, 0xfec0_0000, 0xa_0000, 0xb_8000, 0xc_0000, 0xf_0000, 0xffff_f000, 0xe000_0000, 0x10_0000,
];

/** Port accesses of all kinds in 32-bit code. */
function portStorm(r: Random): number[] {
  const code: number[] = [];
  for (let n = 0; n < 200; n++) {
    const port = r.below(4) ? r.pick(devicePorts) + r.below(2) : r.below(0x1_0000);
    code.push(0x66, 0xba, ...word(port), 0xb8, ...dword(r.word()));
    code.push(...r.pick([[0xee], [0xef], [0x66, 0xef], [0xec], [0xed], [0x66, 0xed], [0xee, 0xec]]));
    if (r.below(20) === 0) code.push(0xb9, ...dword(r.below(64)), 0xf3, r.pick([0x6c, 0x6d, 0x6e, 0x6f]));
    if (r.below(30) === 0) code.push(r.pick([0xfb, 0xfa, 0xf4]));
  }
  return code;
}

/** Loads and stores in device memory and holes. */
function memoryStorm(r: Random): number[] {
  const code: number[] = [];
  for (let n = 0; n < 200; n++) {
    const address = r.below(4) ? r.pick(deviceMemory) + r.below(0x400) * r.pick([1, 4, 16]) : r.next();
    code.push(0xbb, ...dword(address), 0xb8, ...dword(r.word()));
    code.push(
      ...r.pick([
        [0x88, 0x03],
        [0x89, 0x03],
        [0x66, 0x89, 0x03],
        [0x8a, 0x03],
        [0x8b, 0x03],
        [0xf0, 0x01, 0x03],
        [0x0f, 0x6f, 0x03],
        [0x0f, 0x11, 0x03],
        [0xff, 0x33],
        [0x8f, 0x03],
      ]),
    );
    if (r.below(30) === 0) code.push(r.pick([0xfb, 0xfa, 0xf4]));
  }
  return code;
}

/** Control registers, MSRs, descriptor tables, far transfers with random contents. */
function systemStorm(r: Random): number[] {
  const code: number[] = [];
  for (let n = 0; n < 60; n++) {
    const set = [0xb8, ...dword(r.word())];
    // prettier-ignore
    const choices: number[][] = [
      [...set, 0x0f, 0x22, r.pick([0xc0, 0xd0, 0xd8, 0xe0])],
      [...set, 0x0f, 0x23, 0xc0 + 8 * r.below(8)],
      [...set, 0x8e, r.pick([0xc0, 0xd0, 0xd8, 0xe0, 0xe8])],
      [0xb9, ...dword(r.pick([0x1b, 0x10, 0x174, 0x176, 0x200, 0x277, 0x6e0, 0xc000_0080, 0xc000_0081, 0xc000_0082, r.next()])), ...set, 0xba, ...dword(r.word()), 0x0f, r.pick([0x30, 0x32])],
      [0x0f, 0x01, r.pick([0x15, 0x1d, 0x05, 0x0d, 0x3d]), ...dword(r.below(memoryBytes))],
      [0x0f, 0x00, r.pick([0xd0, 0xd8, 0xe0, 0xe8])],
      [0xcd, r.next() & 0xff],
      [0xea, ...dword(r.below(memoryBytes)), ...word(r.below(64) * 8)],
      [0x9a, ...dword(r.below(memoryBytes)), ...word(r.below(64) * 8)],
      [0x68, ...dword(r.word()), r.pick([0x9d, 0x9c, 0xcf, 0xcb])],
      r.bytes(4),
    ];
    code.push(...r.pick(choices));
  }
  return code;
}

const flat: BootSegment = { selector: 16, base: 0, limit: 0xffff_ffff, attributes: 0xc093 };

/** Page tables at 0x10000-0x13fff, random or half right. */
function pageTables(r: Random): { address: number; bytes: Uint8Array }[] {
  const bytes = new Uint8Array(0x4000);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < bytes.length; at += 4) {
    const target = r.below(3) ? 0x1_0000 + r.below(4) * 0x1000 : r.below(memoryBytes) & ~0xfff;
    view.setUint32(at, r.below(4) ? (target | (r.next() & 0xfff) | r.below(2)) >>> 0 : r.next(), true);
  }
  return [{ address: 0x1_0000, bytes }];
}

const gdtBase = 0x3_0000;
const idtBase = 0x3_1000;
const handlerBase = 0x3_2000;
/** A GDT and an IDT that work: faults skip a byte of the instruction and go on, interrupts return. */
function soundTables(): { address: number; bytes: Uint8Array }[] {
  const gdt = new Uint8Array(24);
  new DataView(gdt.buffer).setBigUint64(8, 0x00cf_9b00_0000_ffffn, true);
  new DataView(gdt.buffer).setBigUint64(16, 0x00cf_9300_0000_ffffn, true);
  const skip = [0xff, 0x04, 0x24, 0xcf]; // inc dword [esp]; iret
  const skipWithCode = [0x83, 0xc4, 0x04, ...skip]; // add esp, 4
  const handlers = Uint8Array.from([...skip, ...skipWithCode, 0xcf]);
  const idt = new Uint8Array(0x800);
  for (let vector = 0; vector < 256; vector++) {
    const hasCode = vector === 8 || (vector >= 10 && vector <= 14) || vector === 17;
    const target = handlerBase + (vector >= 32 ? 11 : hasCode ? 4 : 0);
    idt.set([...word(target), 8, 0, 0, 0x8e, ...word(target >>> 16)], vector * 8);
  }
  return [
    { address: gdtBase, bytes: gdt },
    { address: idtBase, bytes: idt },
    { address: handlerBase, bytes: handlers },
  ];
}

function randomGuest(r: Random): BootPlan {
  const kind = r.below(6);
  const code =
    kind === 0 ? portStorm(r) : kind === 1 ? memoryStorm(r) : kind === 2 ? systemStorm(r) : r.bytes(4096);
  const writes: PhysicalWrite[] = [{ address: 0x1000, bytes: Uint8Array.from([...code, 0xeb, 0xfe]) }];
  if (kind > 1) writes.push({ address: 0x2_0000, bytes: Uint8Array.from(r.bytes(0x2000)) });
  if (kind === 5 && r.below(2)) return { format: 'flat', writes, cpu: realMode() };
  const paging = kind >= 3 && r.below(2) === 0;
  const long = paging && r.below(2) === 0;
  if (paging) writes.push(...pageTables(r));
  const sound = !long && r.below(3) > 0;
  if (sound) writes.push(...soundTables());
  const cs = { ...flat, selector: 8, attributes: long ? 0xa09b : 0xc09b };
  return {
    format: 'flat',
    writes,
    cpu: {
      rip: 0x1000,
      gpr: Object.fromEntries(
        ['rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rbp'].map((name) => [name, r.word()]),
      ),
      segments: { cs, ds: flat, es: flat, ss: flat, fs: flat, gs: flat },
      cr0: (0x11 | (paging ? 0x8000_0000 : 0)) >>> 0,
      cr3: 0x1_0000,
      cr4: (long ? 0x20 : r.pick([0, 0x10, 0x20])) | r.pick([0, 0x600]),
      efer: long ? 0x500 : 0,
      gdtr: sound ? { base: gdtBase, limit: 23 } : { base: 0x2_0000, limit: 0xfff },
      idtr: sound ? { base: idtBase, limit: 0x7ff } : { base: 0x2_1000, limit: r.pick([0, 0x7ff, 0xfff]) },
    },
  };
}

function realMode(): NonNullable<BootPlan['cpu']> {
  const segment = (selector: number, attributes: number): BootSegment => ({
    selector,
    base: selector * 16,
    limit: 0xffff,
    attributes,
  });
  return {
    rip: 0x1000,
    gpr: { rsp: 0xfff0 },
    segments: {
      cs: segment(0, 0x9b),
      ds: segment(0x2000, 0x93),
      es: segment(0, 0x93),
      ss: segment(0x3000, 0x93),
    },
  };
}

async function powerOn(): Promise<{ machine: Machine; base: MachineSnapshot }> {
  const machine = await createMachine({
    description: { memoryBytes, debugExitPort: 0xf4 },
    engine: nodeEngine,
    backends: { hash: nodeHash },
  });
  return { machine, base: machine.snapshot({ full: true }) };
}

/** Runs one guest; a guest may reset its machine or be reset by it a few times. */
function runGuest(machine: Machine, plan: BootPlan): string {
  machine.boot(plan);
  const end = machine.instructions + BigInt(instructionsPerGuest);
  for (let starts = 0; starts < 8 && machine.instructions < end; starts++) {
    const { reason } = machine.run({ instructions: end - machine.instructions });
    if (reason !== 'limit' && reason !== 'reset') return reason;
  }
  return 'limit';
}

before(() => {
  buildModules(() => undefined);
});

test(`${String(guests)} random guests`, { timeout: 3_600_000 }, async (context) => {
  let { machine, base } = await powerOn();
  let settled = 0;
  const ends = new Map<string, number>();
  let instructions = 0n;
  for (let n = 0; n < guests; n++) {
    const seed = firstSeed + n;
    if (n > 0 && n % guestsPerMachine === 0) ({ machine, base } = await powerOn());
    try {
      machine.restore(base);
      const end = runGuest(machine, randomGuest(new Random(seed)));
      ends.set(end, (ends.get(end) ?? 0) + 1);
      instructions += machine.instructions;
      const snapshot = machine.snapshot({ full: n % 100 === 0 });
      if (n % 100 === 0) {
        const again = await restoreMachine({ snapshot, engine: nodeEngine, backends: { hash: nodeHash } });
        assert.equal(again.stateHash(), machine.stateHash());
      }
    } catch (cause) {
      throw new Error(`seed ${String(seed)}: ${String(cause)}`, { cause });
    }
    if (n === Math.floor(guests / 2)) settled = process.memoryUsage.rss();
  }
  context.diagnostic(
    `${String(instructions)} instructions; ends: ${JSON.stringify(Object.fromEntries(ends))}`,
  );
  assert.ok(instructions > BigInt(guests) * 1000n, 'most guests got somewhere');
  const growth = process.memoryUsage.rss() - settled;
  assert.ok(growth < 512 * 2 ** 20, `the host grew by ${String(growth)} bytes`);
});
