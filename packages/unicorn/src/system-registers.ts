/** Segments, system tables, MSRs, the x87 stack: registers that are more than bytes of the processor's block. */
import { Cpu, type CpuBlock, type WasmEngine } from '@revenant/emulator/processor';
import { UnicornError, badArgument } from './errors.ts';
import { UC_ERR_ARG, UC_ERR_EXCEPTION } from './generated/unicorn.ts';
import { UC_X86_REG_GDTR, UC_X86_REG_IDTR, UC_X86_REG_LDTR, UC_X86_REG_TR } from './generated/x86.ts';
import type { ProgramMemory } from './program-memory.ts';

/** GDTR, IDTR (without selector and flags), LDTR, TR. */
export interface SystemTable {
  selector: number;
  base: bigint;
  limit: number;
  flags: number;
}

type SegmentName = 'es' | 'cs' | 'ss' | 'ds' | 'fs' | 'gs';

const fourGiB = 2n ** 32n;
const wideStart = -(2n ** 63n);
const wideEnd = 2n ** 63n - 1n;
/** Bits of a descriptor's attributes (bits 8-23 of its second word). */
const attribute = {
  writable: 2,
  expandDown: 4,
  code: 8,
  system: 0x10,
  present: 0x80,
  big: 0x4000,
  granular: 0x8000,
};

export class SystemRegisters {
  readonly #block: CpuBlock;
  readonly #engine: WasmEngine;
  readonly #memory: ProgramMemory;

  constructor(block: CpuBlock, engine: WasmEngine, memory: ProgramMemory) {
    this.#block = block;
    this.#engine = engine;
    this.#memory = memory;
  }

  /** Everything that is worked out from control and segment registers. */
  changed(): void {
    this.#engine.core.updateMode(this.#block.address);
    this.#engine.core.flushTlbAll(this.#block.address);
  }

  // --- segments ---

  /** A segment without limits that count: what a mode starts with. */
  setFlat(name: SegmentName, selector: number, base: bigint, attributes: number): void {
    const wide = (Number(this.#block.wide(Cpu.efer)) & 0x400) !== 0;
    this.#block.setSegment(name, {
      selector,
      base,
      limit: 0xffff_ffff,
      attributes,
      limitMin: wide ? wideStart : 0n,
      readEnd: wide ? wideEnd : fourGiB,
      writeEnd: wide ? wideEnd : fourGiB,
      unusable: 0,
    });
  }

  /** As a program would load it: a paragraph in real mode, else by its descriptor. */
  loadSegment(name: SegmentName, selector: number): void {
    const { eflags } = this.#block;
    const isProtected = (Number(this.#block.wide(Cpu.cr0)) & 1) !== 0 && (eflags & 0x2_0000) === 0;
    if (!isProtected) {
      this.setFlat(name, selector, BigInt(selector) << 4n, this.#block.segment(name).attributes);
    } else if ((selector & 0xfffc) === 0) {
      const { base } = this.#block.segment(name);
      const wide = (Number(this.#block.wide(Cpu.efer)) & 0x400) !== 0;
      this.setFlat(name, selector, wide ? base : 0n, this.#block.segment(name).attributes);
    } else this.#loadDescriptor(name, selector);
    if (name === 'cs' && isProtected) this.#block.setWord(Cpu.cpl, selector & 3);
    this.changed();
  }

  #loadDescriptor(name: SegmentName, selector: number): void {
    const local = (selector & 4) !== 0;
    const ldtr = this.#block.segment('ldtr');
    const base = local ? ldtr.base : this.#block.wide(Cpu.gdtrBase);
    const limit = local ? ldtr.limit : this.#block.word(Cpu.gdtrLimit) >>> 0;
    const offset = selector & 0xfff8;
    const refuse = (why: string): UnicornError =>
      new UnicornError(UC_ERR_EXCEPTION, `${name} = 0x${selector.toString(16)}, ${why}`);
    if (offset + 7 > limit) throw refuse('which lies beyond its table');
    const bytes = this.#memory.read(BigInt.asUintN(64, base) + BigInt(offset), 8);
    const view = new DataView(bytes.buffer);
    const [low, high] = [view.getUint32(0, true), view.getUint32(4, true)];
    const attributes = (high >>> 8) & 0xf0ff;
    if ((attributes & attribute.present) === 0) throw refuse('whose descriptor is not present');
    if ((attributes & attribute.system) === 0) throw refuse('whose descriptor is one of the system');
    const wide = (Number(this.#block.wide(Cpu.efer)) & 0x400) !== 0;
    const raw = (low & 0xffff) | (high & 0xf_0000);
    const bound = (attributes & attribute.granular) !== 0 ? raw * 4096 + 4095 : raw;
    const isData = (attributes & attribute.code) === 0;
    const isDown = isData && (attributes & attribute.expandDown) !== 0;
    const top = (attributes & attribute.big) !== 0 ? fourGiB : 0x1_0000n;
    const end = wide ? wideEnd : isDown ? top : BigInt(bound) + 1n;
    this.#block.setSegment(name, {
      selector,
      base: BigInt(((low >>> 16) | ((high & 0xff) << 16) | (high & 0xff00_0000)) >>> 0),
      limit: bound,
      attributes,
      limitMin: wide ? wideStart : isDown ? BigInt(bound) + 1n : 0n,
      readEnd: isData || (attributes & attribute.writable) !== 0 ? end : -1n,
      writeEnd: isData && (attributes & attribute.writable) !== 0 ? end : -1n,
      unusable: 0,
    });
  }

  // --- tables ---

  readTable(register: number): SystemTable | undefined {
    const block = this.#block;
    const plain = (base: number, limit: number): SystemTable => ({
      selector: 0,
      base: BigInt.asUintN(64, block.wide(base)),
      limit: block.word(limit) >>> 0,
      flags: 0,
    });
    if (register === UC_X86_REG_GDTR) return plain(Cpu.gdtrBase, Cpu.gdtrLimit);
    if (register === UC_X86_REG_IDTR) return plain(Cpu.idtrBase, Cpu.idtrLimit);
    if (register !== UC_X86_REG_LDTR && register !== UC_X86_REG_TR) return undefined;
    const { selector, base, limit, attributes } = block.segment(register === UC_X86_REG_LDTR ? 'ldtr' : 'tr');
    return { selector, base: BigInt.asUintN(64, base), limit, flags: attributes << 8 };
  }

  /** True when it is such a register. */
  writeTable(register: number, table: Partial<SystemTable>): boolean {
    const block = this.#block;
    const old = this.readTable(register);
    if (old === undefined) return false;
    const { selector, base, limit, flags } = { ...old, ...table };
    const plain = (baseAt: number, limitAt: number): true => {
      block.setWide(baseAt, BigInt.asIntN(64, base));
      block.setWord(limitAt, limit);
      return true;
    };
    if (register === UC_X86_REG_GDTR) return plain(Cpu.gdtrBase, Cpu.gdtrLimit);
    if (register === UC_X86_REG_IDTR) return plain(Cpu.idtrBase, Cpu.idtrLimit);
    const name = register === UC_X86_REG_LDTR ? 'ldtr' : 'tr';
    const end = BigInt(limit) + 1n;
    block.setSegment(name, {
      ...block.segment(name),
      selector,
      base: BigInt.asIntN(64, base),
      limit,
      attributes: (flags >>> 8) & 0xf0ff,
      readEnd: end,
      writeEnd: end,
    });
    return true;
  }

  // --- MSRs ---

  readMsr(id: number): bigint {
    return this.#atMsr(id, 0n, () => {
      this.#engine.core.readMsr(this.#block.address);
    });
  }

  writeMsr(id: number, value: bigint): void {
    this.#atMsr(id, value, () => {
      this.#engine.core.writeMsr(this.#block.address);
    });
    this.changed();
  }

  /** RDMSR and WRMSR at privilege 0, with the program's registers put back. */
  #atMsr(id: number, value: bigint, run: () => void): bigint {
    if (!Number.isInteger(id) || id < 0 || id > 0xffff_ffff) throw badArgument(`MSR ${String(id)}`);
    const block = this.#block;
    const [rax, rcx, rdx] = [Cpu.gpr, Cpu.gpr + 8, Cpu.gpr + 16];
    const kept = [rax, rcx, rdx].map((at) => block.wide(at));
    const cpl = block.word(Cpu.cpl);
    block.setWord(Cpu.cpl, 0);
    block.setWide(rcx, BigInt(id));
    block.setWide(rax, value & 0xffff_ffffn);
    block.setWide(rdx, BigInt.asUintN(64, value) >> 32n);
    try {
      run();
      return BigInt.asUintN(32, block.wide(rax)) | (BigInt.asUintN(32, block.wide(rdx)) << 32n);
    } catch {
      // #GP: there is no such MSR, or it refuses the value.
      throw new UnicornError(UC_ERR_ARG, `MSR 0x${id.toString(16)}`);
    } finally {
      [rax, rcx, rdx].forEach((at, n) => {
        block.setWide(at, kept[n] ?? 0n);
      });
      block.setWord(Cpu.cpl, cpl);
    }
  }

  // --- x87 ---

  /** Offset in the processor's block of ST(n). */
  stackRegister(n: number): number {
    const top = (this.#block.word(Cpu.fsw) >> 11) & 7;
    return Cpu.fpr + ((top + n) & 7) * 16;
  }

  /** The tag word as FNSTENV would store it: two bits for each register, 0 valid, 1 zero, 2 special, 3 empty. */
  get tagWord(): number {
    let word = 0;
    for (let n = 7; n >= 0; n--) word = (word << 2) | this.#tag(n);
    return word;
  }

  set tagWord(word: number) {
    const tags = [0, 1, 2, 3, 4, 5, 6, 7].map((n): number => (((word >> (n * 2)) & 3) === 3 ? 1 : 0));
    for (const [half, at] of [0, 4].entries()) {
      const four = tags.slice(half * 4, half * 4 + 4);
      this.#block.setWord(
        Cpu.ftags + at,
        four.reduce((all, tag, n) => all | (tag << (n * 8)), 0),
      );
    }
  }

  #tag(n: number): number {
    const tags = this.#block.word(Cpu.ftags + (n & 4));
    if (((tags >> ((n & 3) * 8)) & 1) !== 0) return 3;
    const significand = BigInt.asUintN(64, this.#block.wide(Cpu.fpr + n * 16));
    const exponent = this.#block.word(Cpu.fpr + n * 16 + 8) & 0x7fff;
    if (exponent === 0 && significand === 0n) return 1;
    return exponent === 0 || exponent === 0x7fff || significand >> 63n === 0n ? 2 : 0;
  }
}
