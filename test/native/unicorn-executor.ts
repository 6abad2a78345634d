/** Unicorn's interface as the emulated side of the comparison with the processor: a program at CPL 3 in the address space of a case. */
import { gprNames } from '../../packages/emulator/src/cpu/registers.ts';
import * as uc from '../../packages/unicorn/src/index.ts';
import { Batch, Place, Selector, segmentBase, vectorDone, type Case, type Mode } from './case.ts';
import type { Executor } from './fuzz-rows.ts';

const descriptors = 0x7000_0000;
const localTable = descriptors + 0x800;
const pageBytes = 4096;
const generalRegisters = gprNames.map(
  (name) => (uc as unknown as Record<string, number>)[`UC_X86_REG_${name.toUpperCase()}`] as number,
);
const segmentRegisters = [
  uc.UC_X86_REG_ES,
  uc.UC_X86_REG_CS,
  uc.UC_X86_REG_SS,
  uc.UC_X86_REG_DS,
  uc.UC_X86_REG_FS,
  uc.UC_X86_REG_GS,
];

/** A segment descriptor (SDM Vol. 3A 3.4.5), with `attributes` in bits 8-23 of its second word. */
function descriptor(base: number, limit: number, attributes: number): bigint {
  const granular = limit > 0xf_ffff;
  const raw = granular ? limit >>> 12 : limit;
  const low = BigInt(raw & 0xffff) | (BigInt(base & 0xffff) << 16n);
  const high =
    ((base >>> 16) & 0xff) |
    ((attributes & 0x70ff) << 8) |
    (raw & 0xf_0000) |
    (base & 0xff00_0000) |
    (granular ? 1 << 23 : 0);
  return low | (BigInt(high >>> 0) << 32n);
}

function selectorsOf(mode: Mode): number[] {
  const data = mode === 16 ? Selector.data16 : Selector.data;
  const code = mode === 64 ? Selector.code64 : mode === 32 ? Selector.code32 : Selector.code16;
  const stack = mode === 16 ? Selector.stack16 : Selector.data;
  if (mode === 64) return [data, code, stack, data, 0, 0];
  return [data, code, stack, data, mode === 32 ? Selector.data16 : data, data];
}

function setUp(mode: Mode): uc.Unicorn {
  const mu = new uc.Unicorn(uc.UC_ARCH_X86, mode === 64 ? uc.UC_MODE_64 : uc.UC_MODE_32, {
    memoryBytes: 2 ** 24,
  });
  mu.mem_map(Place.code, Place.codeBytes, uc.UC_PROT_READ | uc.UC_PROT_EXEC);
  mu.mem_map(Place.data, Place.dataBytes, uc.UC_PROT_READ | uc.UC_PROT_WRITE);
  mu.mem_map(Place.readOnly, pageBytes, uc.UC_PROT_READ);
  mu.mem_map(Place.stack, Place.stackBytes, uc.UC_PROT_READ | uc.UC_PROT_WRITE);
  mu.mem_write(Place.code, new Uint8Array(Place.codeBytes).fill(0xcc));
  mu.mem_write(
    Place.readOnly,
    Uint8Array.from({ length: pageBytes }, (_, i) => i * 7 + 3),
  );
  mu.mem_map(descriptors, pageBytes, uc.UC_PROT_READ);
  const table = new DataView(new ArrayBuffer(pageBytes));
  const put = (selector: number, value: bigint): void => {
    table.setBigUint64((selector & 4 ? 0x800 : 0) + (selector & 0xfff8), value, true);
  };
  put(Selector.code64, descriptor(0, 0xffff_ffff, 0x20fb));
  put(Selector.code32, descriptor(0, 0xffff_ffff, 0x40fb));
  put(Selector.data, descriptor(0, 0xffff_ffff, 0x40f3));
  put(Selector.code16, descriptor(segmentBase(16, 1), 0xffff, 0x00fb));
  put(Selector.data16, descriptor(segmentBase(16, 3), 0xffff, 0x00f3));
  put(Selector.stack16, descriptor(segmentBase(16, 2), 0xffff, 0x00f3));
  mu.mem_write(descriptors, new Uint8Array(table.buffer));
  mu.reg_write(uc.UC_X86_REG_GDTR, { base: BigInt(descriptors), limit: 0x7ff });
  mu.reg_write(uc.UC_X86_REG_LDTR, { selector: 0x28, base: BigInt(localTable), limit: 0xff, flags: 0x8200 });
  // MP, NE, WP, AM as under Linux.
  mu.reg_write(uc.UC_X86_REG_CR0, 0x5_0033);
  selectorsOf(mode).forEach((selector, index) => {
    mu.reg_write(segmentRegisters[index] as number, selector);
  });
  if (mode === 64) {
    mu.reg_write(uc.UC_X86_REG_FS_BASE, Place.fsBase);
    mu.reg_write(uc.UC_X86_REG_GS_BASE, Place.gsBase);
  }
  return mu;
}

/** What the last run ended by, for the interrupt hook and the memory hook. */
interface Ending {
  vector: number;
  error: number;
  address: bigint;
}

class Program {
  readonly #mu: uc.Unicorn;
  #ending: Ending = { vector: vectorDone, error: 0, address: 0n };
  #lastCode: { offset: number; length: number } | undefined;

  constructor(mode: Mode) {
    this.#mu = setUp(mode);
    const ends = (ending: Ending): void => {
      this.#ending = ending;
      this.#mu.emu_stop();
    };
    const interrupted: uc.InterruptCallback = (_, vector) => {
      ends({ vector, error: 0, address: 0n });
    };
    this.#mu.hook_add(uc.UC_HOOK_INTR, interrupted);
    const invalid: uc.InstructionCallback = () => {
      ends({ vector: 6, error: 0, address: 0n });
      return true;
    };
    this.#mu.hook_add(uc.UC_HOOK_INSN_INVALID, invalid);
    const user = 4;
    const missed: uc.MemoryCallback = (_, type, address) => {
      const writes = type === uc.UC_MEM_WRITE_UNMAPPED || type === uc.UC_MEM_WRITE_PROT;
      const fetches = type === uc.UC_MEM_FETCH_UNMAPPED || type === uc.UC_MEM_FETCH_PROT;
      const present = type === uc.UC_MEM_WRITE_PROT || type === uc.UC_MEM_FETCH_PROT;
      ends({ vector: 14, error: user | (present ? 1 : 0) | (writes ? 2 : 0) | (fetches ? 16 : 0), address });
      return true;
    };
    this.#mu.hook_add(uc.UC_HOOK_MEM_INVALID, missed);
  }

  run(before: Case, after: Case): void {
    const mu = this.#mu;
    after.bytes.set(before.bytes);
    if (this.#lastCode !== undefined)
      mu.mem_write(Place.code + this.#lastCode.offset, new Uint8Array(this.#lastCode.length).fill(0xcc));
    const room = Math.min(before.code.length, Place.codeBytes - before.codeOffset);
    mu.mem_write(Place.code + before.codeOffset, before.code.slice(0, room));
    this.#lastCode = { offset: before.codeOffset, length: room };
    generalRegisters.forEach((register, n) => {
      mu.reg_write(register, before.gpr(n));
    });
    mu.reg_write(uc.UC_X86_REG_EFLAGS, before.rflags);
    this.#setFloatingPoint(before.fxsave);
    mu.mem_write(Place.data, new Uint8Array(Place.dataBytes));
    mu.mem_write(Place.stack, new Uint8Array(Place.stackBytes));
    mu.mem_write(Place.windowA, before.windowA);
    mu.mem_write(Place.windowB, before.windowB);
    mu.mem_write(Place.windowS, before.windowS);
    this.#ending = { vector: vectorDone, error: 0, address: 0n };
    const start = Place.code + before.codeOffset;
    mu.emu_start(start, start + before.code.length);
    this.#collect(after);
  }

  #setFloatingPoint(image: Uint8Array): void {
    const mu = this.#mu;
    const view = new DataView(image.buffer, image.byteOffset, 512);
    mu.reg_write(uc.UC_X86_REG_FPCW, view.getUint16(0, true));
    mu.reg_write(uc.UC_X86_REG_FPSW, view.getUint16(2, true));
    mu.reg_write(uc.UC_X86_REG_FOP, view.getUint16(6, true));
    mu.reg_write(uc.UC_X86_REG_FIP, view.getBigUint64(8, true));
    mu.reg_write(uc.UC_X86_REG_FDP, view.getBigUint64(16, true));
    mu.reg_write(uc.UC_X86_REG_MXCSR, view.getUint32(24, true));
    for (let n = 0; n < 8; n++) mu.reg_write(uc.UC_X86_REG_ST0 + n, image.subarray(32 + n * 16, 42 + n * 16));
    let tags = 0;
    for (let n = 0; n < 8; n++) if (((view.getUint8(4) >> n) & 1) === 0) tags |= 3 << (n * 2);
    mu.reg_write(uc.UC_X86_REG_FPTAG, tags);
    for (let n = 0; n < 16; n++)
      mu.reg_write(uc.UC_X86_REG_XMM0 + n, image.subarray(160 + n * 16, 176 + n * 16));
  }

  #collect(after: Case): void {
    const mu = this.#mu;
    generalRegisters.forEach((register, n) => {
      after.setGpr(n, mu.reg_read(register) as bigint);
    });
    after.rip = mu.reg_read(uc.UC_X86_REG_RIP) as bigint;
    after.rflags = (mu.reg_read(uc.UC_X86_REG_EFLAGS) as number) & ~0x1_0100;
    const { vector, error, address } = this.#ending;
    after.trap = vector;
    after.error = error;
    after.cr2 = address;
    const image = after.fxsave;
    const view = new DataView(image.buffer, image.byteOffset, 512);
    view.setUint16(0, mu.reg_read(uc.UC_X86_REG_FPCW) as number, true);
    view.setUint16(2, mu.reg_read(uc.UC_X86_REG_FPSW) as number, true);
    view.setUint16(6, mu.reg_read(uc.UC_X86_REG_FOP) as number, true);
    view.setBigUint64(8, mu.reg_read(uc.UC_X86_REG_FIP) as bigint, true);
    view.setBigUint64(16, mu.reg_read(uc.UC_X86_REG_FDP) as bigint, true);
    view.setUint32(24, mu.reg_read(uc.UC_X86_REG_MXCSR) as number, true);
    let tags = 0;
    const word = mu.reg_read(uc.UC_X86_REG_FPTAG) as number;
    for (let n = 0; n < 8; n++) {
      if (((word >> (n * 2)) & 3) !== 3) tags |= 1 << n;
      image.set(mu.reg_read(uc.UC_X86_REG_ST0 + n, 10) as Uint8Array, 32 + n * 16);
    }
    view.setUint8(4, tags);
    for (let n = 0; n < 16; n++)
      image.set(mu.reg_read(uc.UC_X86_REG_XMM0 + n, 16) as Uint8Array, 160 + n * 16);
    after.windowA.set(mu.mem_read(Place.windowA, Place.windowABytes));
    after.windowB.set(mu.mem_read(Place.windowB, Place.windowBBytes));
    after.windowS.set(mu.mem_read(Place.windowS, Place.windowSBytes));
    const isChanged = (from: number, to: number): boolean =>
      mu.mem_read(from, to - from).some((byte) => byte !== 0);
    after.strayed =
      isChanged(Place.data, Place.windowA) ||
      isChanged(Place.windowA + Place.windowABytes, Place.windowB) ||
      isChanged(Place.stack, Place.windowS) ||
      isChanged(Place.windowS + Place.windowSBytes, Place.stack + Place.stackBytes);
  }
}

/** Runs sequences by Unicorn's interface. */
export function unicornExecutor(): Executor {
  const programs = new Map<Mode, Program>();
  return (batch) => {
    const after = new Batch(batch.length);
    for (let n = 0; n < batch.length; n++) {
      const before = batch.at(n);
      let program = programs.get(before.mode);
      if (program === undefined) programs.set(before.mode, (program = new Program(before.mode)));
      program.run(before, after.add());
    }
    return after;
  };
}
