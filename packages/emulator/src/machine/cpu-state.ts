/**
 * The state of a processor by field name, as it goes into checkpoints and hashes: everything a program could ever notice, and nothing
 * an engine keeps for itself (TLBs, decoded code, lazy flags, cached mode).
 */
import { gprNames, type GprName } from '../cpu/registers.ts';
import { Cpu, Segment, SegmentField, segmentBytes } from '../cpu/layout.ts';
import { flagsToLazy, lazyToFlags } from '../cpu/flags.ts';
import { bytes, i64, integer, record, u16, u32, type Schema } from '../devices/schema.ts';

export type SegmentName = keyof typeof Segment;
export const segmentNames = Object.keys(Segment) as SegmentName[];

// prettier-ignore
const wideFields = {
  rip: Cpu.rip, cr0: Cpu.cr0, cr2: Cpu.cr2, cr3: Cpu.cr3, cr4: Cpu.cr4, cr8: Cpu.cr8, efer: Cpu.efer, xcr0: Cpu.xcr0, gdtrBase: Cpu.gdtrBase,
  idtrBase: Cpu.idtrBase, dr0: Cpu.dr, dr1: Cpu.dr + 8, dr2: Cpu.dr + 16, dr3: Cpu.dr + 24, dr6: Cpu.dr + 48, dr7: Cpu.dr + 56,
  sysenterCs: Cpu.sysenterCs, sysenterEsp: Cpu.sysenterEsp, sysenterEip: Cpu.sysenterEip, star: Cpu.star, lstar: Cpu.lstar,
  cstar: Cpu.cstar, sfmask: Cpu.sfmask, kernelGsBase: Cpu.kernelGsBase, pat: Cpu.pat, apicBase: Cpu.apicBase, tscAux: Cpu.tscAux,
  tscOffset: Cpu.tscOffset, miscEnable: Cpu.miscEnable, fip: Cpu.fip, fdp: Cpu.fdp, pdpte0: Cpu.pdpte, pdpte1: Cpu.pdpte + 8,
  pdpte2: Cpu.pdpte + 16, pdpte3: Cpu.pdpte + 24, mcgStatus: Cpu.mcgStatus, microcodeRevision: Cpu.microcodeRevision, debugCtl: Cpu.debugCtl,
} as const;
// prettier-ignore
const wordFields = {
  gdtrLimit: Cpu.gdtrLimit, idtrLimit: Cpu.idtrLimit, cpl: Cpu.cpl, halted: Cpu.halted, interruptShadow: Cpu.interruptShadow,
  nmiPending: Cpu.nmiPending, nmiBlocked: Cpu.nmiBlocked, deliveringVector: Cpu.deliveringVector, deliveringKind: Cpu.deliveringKind,
  pendingVector: Cpu.pendingVector, pendingErrorCode: Cpu.pendingErrorCode, pendingKind: Cpu.pendingKind, debugPending: Cpu.debugPending,
  startFlags: Cpu.startFlags, fcw: Cpu.fcw, fsw: Cpu.fsw, fop: Cpu.fop, fcs: Cpu.fcs, fds: Cpu.fds, mxcsr: Cpu.mxcsr,
} as const;
// prettier-ignore
const byteFields = {
  ftags: [Cpu.ftags, 8], fpr: [Cpu.fpr, 128], xmm: [Cpu.xmm, 256], ymmHigh: [Cpu.ymmHigh, 256], mtrr: [Cpu.mtrr, 208],
} as const;

type Fields<K extends string, T> = { [P in K]: T };
/** A segment register with its hidden part. */
export interface SegmentState {
  selector: number;
  base: bigint;
  /** Byte-granular. */
  limit: number;
  attributes: number;
  limitMin: bigint;
  readEnd: bigint;
  writeEnd: bigint;
  unusable: number;
}
/** A processor's registers, as a snapshot has them. */
export interface CpuState
  extends
    Fields<GprName, bigint>,
    Fields<keyof typeof wideFields, bigint>,
    Fields<keyof typeof wordFields, number>,
    Fields<keyof typeof byteFields, Uint8Array> {
  /** EFLAGS with the arithmetic flags worked out. */
  eflags: number;
  segments: Record<SegmentName, SegmentState>;
}

const signedWord = integer(-0x8000_0000, 0xffff_ffff);
const segmentSchema = record({
  selector: u16,
  base: i64,
  limit: u32,
  attributes: u32,
  limitMin: i64,
  readEnd: i64,
  writeEnd: i64,
  unusable: integer(0, 1),
});

function fieldsOf<T>(names: readonly string[], schema: Schema<T>): Record<string, Schema<T>> {
  return Object.fromEntries(names.map((name) => [name, schema]));
}

/** Checks a saved state; throws DeviceStateError. */
export const cpuStateSchema: Schema<CpuState> = record({
  ...fieldsOf(gprNames, i64),
  ...fieldsOf(Object.keys(wideFields), i64),
  ...fieldsOf(Object.keys(wordFields), signedWord),
  ...Object.fromEntries(Object.entries(byteFields).map(([name, [, size]]) => [name, bytes(size)])),
  eflags: u32,
  segments: record(fieldsOf(segmentNames, segmentSchema)),
}) as unknown as Schema<CpuState>;

/** Reads and writes the block of one processor. */
export class CpuBlock {
  readonly address: number;
  readonly #view: DataView;
  readonly #bytes: Uint8Array;

  constructor(memory: WebAssembly.Memory, address: number) {
    this.address = address;
    this.#view = new DataView(memory.buffer);
    this.#bytes = new Uint8Array(memory.buffer);
  }

  wide(offset: number): bigint {
    return this.#view.getBigInt64(this.address + offset, true);
  }
  setWide(offset: number, value: bigint): void {
    this.#view.setBigInt64(this.address + offset, value, true);
  }
  word(offset: number): number {
    return this.#view.getInt32(this.address + offset, true);
  }
  setWord(offset: number, value: number): void {
    this.#view.setInt32(this.address + offset, value, true);
  }

  get retired(): bigint {
    return this.wide(Cpu.deadline) - this.wide(Cpu.remaining);
  }

  /** The run loop stops when `count` instructions have retired. */
  setDeadline(count: bigint): void {
    const retired = this.retired;
    this.setWide(Cpu.deadline, count);
    this.setWide(Cpu.remaining, count - retired);
  }

  /** Sets the number of retired instructions itself (restore). */
  setRetired(count: bigint): void {
    this.setWide(Cpu.deadline, count);
    this.setWide(Cpu.remaining, 0n);
  }

  get eflags(): number {
    const lazy = { result: this.wide(Cpu.flagResult), aux: this.word(Cpu.flagAux) };
    return (this.word(Cpu.systemFlags) | lazyToFlags(lazy)) >>> 0;
  }
  set eflags(value: number) {
    const { result, aux } = flagsToLazy(value);
    this.setWide(Cpu.flagResult, result);
    this.setWord(Cpu.flagAux, aux);
    this.setWord(Cpu.systemFlags, (value & ~0x8d5) | 2);
  }

  segment(name: SegmentName): SegmentState {
    const at = Cpu.segments + Segment[name] * segmentBytes;
    return {
      selector: this.word(at + SegmentField.selector) & 0xffff,
      base: this.wide(at + SegmentField.base),
      limit: this.word(at + SegmentField.limit) >>> 0,
      attributes: this.word(at + SegmentField.attributes) >>> 0,
      limitMin: this.wide(at + SegmentField.limitMin),
      readEnd: this.wide(at + SegmentField.readEnd),
      writeEnd: this.wide(at + SegmentField.writeEnd),
      unusable: this.word(at + SegmentField.unusable),
    };
  }

  setSegment(name: SegmentName, state: SegmentState): void {
    const at = Cpu.segments + Segment[name] * segmentBytes;
    this.setWord(at + SegmentField.selector, state.selector);
    this.setWide(at + SegmentField.base, state.base);
    this.setWord(at + SegmentField.limit, state.limit);
    this.setWord(at + SegmentField.attributes, state.attributes);
    this.setWide(at + SegmentField.limitMin, state.limitMin);
    this.setWide(at + SegmentField.readEnd, state.readEnd);
    this.setWide(at + SegmentField.writeEnd, state.writeEnd);
    this.setWord(at + SegmentField.unusable, state.unusable);
  }

  save(): CpuState {
    const out: Record<string, unknown> = { eflags: this.eflags };
    gprNames.forEach((name, n) => (out[name] = this.wide(Cpu.gpr + n * 8)));
    for (const [name, offset] of Object.entries(wideFields)) out[name] = this.wide(offset);
    for (const [name, offset] of Object.entries(wordFields)) out[name] = this.word(offset);
    for (const [name, [offset, size]] of Object.entries(byteFields))
      out[name] = this.#bytes.slice(this.address + offset, this.address + offset + size);
    out['segments'] = Object.fromEntries(segmentNames.map((name) => [name, this.segment(name)]));
    return out as unknown as CpuState;
  }

  /** Writes the saved fields; the core must then work out its cached state (updateMode). */
  restore(state: CpuState): void {
    this.eflags = state.eflags;
    gprNames.forEach((name, n) => {
      this.setWide(Cpu.gpr + n * 8, state[name]);
    });
    for (const [name, offset] of Object.entries(wideFields))
      this.setWide(offset, state[name as keyof typeof wideFields]);
    for (const [name, offset] of Object.entries(wordFields))
      this.setWord(offset, state[name as keyof typeof wordFields]);
    for (const [name, [offset]] of Object.entries(byteFields))
      this.#bytes.set(state[name as keyof typeof byteFields], this.address + offset);
    for (const name of segmentNames) this.setSegment(name, state.segments[name]);
  }
}
