/**
 * One instruction and everything it can see and change: the unit that the processor and the emulator are compared on.
 * The layout is that of `struct test_case` in harness.c; a batch is one buffer that goes there and comes back.
 */

/** Addresses mapped in the harness process and, with the same rights, in the emulated machine. */
export const Place = {
  /** Two pages, read and execute. */
  code: 0x10_0000,
  codeBytes: 0x2000,
  /** Two pages, read and write; unmapped pages lie on both sides. */
  data: 0x20_0000,
  dataBytes: 0x2000,
  /** One page, read only; byte i holds i * 7 + 3. */
  readOnly: 0x20_4000,
  stack: 0x30_0000,
  stackBytes: 0x1000,
  /** What a case sets and compares of the memory. A lies across the border of the data pages, B ends at the unmapped page. */
  windowA: 0x20_0e80,
  windowABytes: 768,
  windowB: 0x20_1f80,
  windowBBytes: 128,
  windowS: 0x30_0600,
  windowSBytes: 512,
  fsBase: 0x1000,
  gsBase: 0x2000,
} as const;

/** Selectors of the harness: 16-bit ones are in the local table with bases at code, data and stack. */
export const Selector = {
  code32: 0x23,
  data: 0x2b,
  code64: 0x33,
  code16: 0x07,
  data16: 0x0f,
  stack16: 0x17,
} as const;

/** Base of segment register 0-5 (ES CS SS DS FS GS) in code of that mode. */
export function segmentBase(mode: 16 | 32 | 64, segment: number): number {
  if (mode === 64) return segment === 4 ? Place.fsBase : segment === 5 ? Place.gsBase : 0;
  if (mode === 32) return segment === 4 ? Place.data : 0;
  return segment === 1 ? Place.code : segment === 2 ? Place.stack : Place.data;
}

export const headerBytes = 64;
export const caseBytes = 2432;

const Offset = {
  mode: 0,
  options: 4,
  codeLength: 8,
  codeOffset: 12,
  code: 212,
  gpr: 32,
  rflags: 160,
  rip: 168,
  cr2: 176,
  signal: 184,
  trap: 188,
  error: 192,
  strayed: 196,
  selectors: 200,
  fxsave: 256,
  windowA: 768,
  windowB: 1536,
  windowS: 1664,
  uppers: 2176,
} as const;

/** Run under TF and stop at the single-step trap; without it an INT3 follows the instruction and stops it. */
export const optionTrapFlag = 1;
/** The code is several instructions; they run until the INT3 behind them. */
export const optionSequence = 2;

export const maximumCodeBytes = 44;

export const modes = [16, 32, 64] as const;
export type Mode = (typeof modes)[number];

/** A view of one case within a batch; nothing is copied. */
export class Case {
  readonly bytes: Uint8Array;
  readonly view: DataView;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  static empty(): Case {
    return new Case(new Uint8Array(caseBytes));
  }

  copy(): Case {
    return new Case(this.bytes.slice());
  }

  get mode(): Mode {
    return this.view.getUint32(Offset.mode, true) as Mode;
  }
  set mode(value: Mode) {
    this.view.setUint32(Offset.mode, value, true);
  }
  get options(): number {
    return this.view.getUint32(Offset.options, true);
  }
  set options(value: number) {
    this.view.setUint32(Offset.options, value, true);
  }
  /** The instruction's bytes. */
  get code(): Uint8Array {
    return this.bytes.subarray(Offset.code, Offset.code + this.view.getUint32(Offset.codeLength, true));
  }
  set code(value: Uint8Array) {
    this.bytes.fill(0, Offset.code, Offset.code + maximumCodeBytes);
    this.bytes.set(value, Offset.code);
    this.view.setUint32(Offset.codeLength, value.length, true);
  }
  /** Offset of the instruction in the code pages. */
  get codeOffset(): number {
    return this.view.getUint32(Offset.codeOffset, true);
  }
  set codeOffset(value: number) {
    this.view.setUint32(Offset.codeOffset, value, true);
  }
  /** RIP at the start: an offset in CS (16-bit code has its base at the code page). */
  get startRip(): bigint {
    return BigInt(this.mode === 16 ? this.codeOffset : Place.code + this.codeOffset);
  }
  /** RAX RCX RDX RBX RSP RBP RSI RDI R8-R15, the order of ModRM. */
  gpr(index: number): bigint {
    return this.view.getBigUint64(Offset.gpr + index * 8, true);
  }
  setGpr(index: number, value: bigint): void {
    this.view.setBigUint64(Offset.gpr + index * 8, BigInt.asUintN(64, value), true);
  }
  get rflags(): number {
    return this.view.getUint32(Offset.rflags, true);
  }
  set rflags(value: number) {
    this.view.setBigUint64(Offset.rflags, BigInt(value >>> 0), true);
  }
  get rip(): bigint {
    return this.view.getBigUint64(Offset.rip, true);
  }
  set rip(value: bigint) {
    this.view.setBigUint64(Offset.rip, BigInt.asUintN(64, value), true);
  }
  get cr2(): bigint {
    return this.view.getBigUint64(Offset.cr2, true);
  }
  set cr2(value: bigint) {
    this.view.setBigUint64(Offset.cr2, BigInt.asUintN(64, value), true);
  }
  get signal(): number {
    return this.view.getUint32(Offset.signal, true);
  }
  set signal(value: number) {
    this.view.setUint32(Offset.signal, value, true);
  }
  /** Vector of the exception that ended the instruction; `vectorDone` when it completed. */
  get trap(): number {
    return this.view.getUint32(Offset.trap, true);
  }
  set trap(value: number) {
    this.view.setUint32(Offset.trap, value, true);
  }
  get error(): number {
    return this.view.getUint32(Offset.error, true);
  }
  set error(value: number) {
    this.view.setUint32(Offset.error, value, true);
  }
  /** Whether bytes of the mapped pages outside of the windows were changed. */
  get strayed(): boolean {
    return this.view.getUint32(Offset.strayed, true) !== 0;
  }
  set strayed(value: boolean) {
    this.view.setUint32(Offset.strayed, value ? 1 : 0, true);
  }
  /** ES CS SS DS FS GS. */
  selector(index: number): number {
    return this.view.getUint16(Offset.selectors + index * 2, true);
  }
  setSelector(index: number, value: number): void {
    this.view.setUint16(Offset.selectors + index * 2, value, true);
  }
  /** FXSAVE image (64-bit form), 512 bytes. */
  get fxsave(): Uint8Array {
    return this.bytes.subarray(Offset.fxsave, Offset.fxsave + 512);
  }
  /** Bits 128-255 of YMM0-15, 256 bytes. */
  get uppers(): Uint8Array {
    return this.bytes.subarray(Offset.uppers, Offset.uppers + 256);
  }
  get windowA(): Uint8Array {
    return this.bytes.subarray(Offset.windowA, Offset.windowA + Place.windowABytes);
  }
  get windowB(): Uint8Array {
    return this.bytes.subarray(Offset.windowB, Offset.windowB + Place.windowBBytes);
  }
  get windowS(): Uint8Array {
    return this.bytes.subarray(Offset.windowS, Offset.windowS + Place.windowSBytes);
  }
}

/** `trap` after an instruction that completed. */
export const vectorDone = 0xff;

/** Many cases in the form that the harness maps. */
export class Batch {
  readonly buffer: Uint8Array;
  readonly capacity: number;
  length = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.buffer = new Uint8Array(headerBytes + capacity * caseBytes);
  }

  add(): Case {
    if (this.length >= this.capacity) throw new RangeError('batch is full');
    const c = this.at(this.length++);
    c.bytes.fill(0);
    return c;
  }

  at(index: number): Case {
    const start = headerBytes + index * caseBytes;
    return new Case(this.buffer.subarray(start, start + caseBytes));
  }

  /** Bytes in use, the header filled in. */
  encoded(): Uint8Array {
    new DataView(this.buffer.buffer).setUint32(4, this.length, true);
    return this.buffer.subarray(0, headerBytes + this.length * caseBytes);
  }
}
