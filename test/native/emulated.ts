/**
 * The emulator's side of the comparison: a processor at CPL 3 in the same address space as the harness process, brought
 * into a case's state, stepped once, and read back.
 */
import { Cpu, Segment, SegmentField, segmentBytes } from '../../packages/emulator/src/cpu/layout.ts';
import { TestCpu } from '../../packages/emulator/src/cpu/testing/test-cpu.ts';
import {
  Batch,
  optionSequence,
  type Case,
  type Mode,
  Place,
  segmentBase,
  Selector,
  vectorDone,
} from './case.ts';
import type { Executor } from './fuzz-rows.ts';

const ramBytes = 8 * 2 ** 20;
const pageTables = 0x40_0000;
const pageBytes = 4096;

/** Page-table bits. */
const present = 1n;
const writable = 2n;
const user = 4n;
const noExecute = 1n << 63n;

interface SegmentSetup {
  selector: number;
  base: number;
  limit: number;
  attributes: number;
}

function segmentSetup(mode: Mode, index: number): SegmentSetup {
  const base = segmentBase(mode, index);
  if (index === Segment.cs) {
    if (mode === 64) return { selector: Selector.code64, base, limit: 0xffff_ffff, attributes: 0xa0fb };
    if (mode === 32) return { selector: Selector.code32, base, limit: 0xffff_ffff, attributes: 0xc0fb };
    return { selector: Selector.code16, base, limit: 0xffff, attributes: 0x00fb };
  }
  const small = { selector: Selector.data16, base, limit: 0xffff, attributes: 0x00f3 };
  if (mode === 16) return index === Segment.ss ? { ...small, selector: Selector.stack16 } : small;
  if (mode === 32 && index === Segment.fs) return small;
  const selector = mode === 64 && index >= Segment.fs ? 0 : Selector.data;
  return { selector, base, limit: 0xffff_ffff, attributes: 0xc0f3 };
}

/** One 4-level tree that maps the places of a case to the same physical addresses. */
function makePageTables(test: TestCpu): void {
  const table = new Uint8Array(4 * pageBytes);
  const view = new DataView(table.buffer);
  const upper = present | writable | user;
  for (let level = 0; level < 3; level++)
    view.setBigUint64(level * pageBytes, BigInt(pageTables + (level + 1) * pageBytes) | upper, true);
  // Everything lies below 2 MiB × 2: the second table serves 2-4 MiB.
  const second = new Uint8Array(pageBytes);
  const secondView = new DataView(second.buffer);
  view.setBigUint64(2 * pageBytes + 8, BigInt(pageTables + 4 * pageBytes) | upper, true);
  const map = (start: number, bytes: number, flags: bigint): void => {
    for (let at = start; at < start + bytes; at += pageBytes) {
      const page = at / pageBytes;
      const target = page < 512 ? view : secondView;
      target.setBigUint64(
        (page < 512 ? 3 * pageBytes : 0) + (page & 511) * 8,
        BigInt(at) | present | user | flags,
        true,
      );
    }
  };
  map(Place.code, Place.codeBytes, 0n);
  map(Place.data, Place.dataBytes, writable | noExecute);
  map(Place.readOnly, pageBytes, noExecute);
  map(Place.stack, Place.stackBytes, writable | noExecute);
  test.write(pageTables, table);
  test.write(pageTables + 4 * pageBytes, second);
}

/** Of a sequence, iterations of string instructions included. */
const maximumSteps = 2000;
const zeroPage = new Uint8Array(2 * pageBytes);

class EmulatedProcessor {
  readonly #test: TestCpu;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #cpu: number;
  readonly #ram: number;
  #mode: Mode | undefined;
  #lastCode: { offset: number; length: number } | undefined;

  constructor(test: TestCpu) {
    this.#test = test;
    this.#bytes = test.map.bytes;
    this.#view = test.view;
    this.#cpu = test.cpu;
    this.#ram = test.map.backingBase;
    makePageTables(test);
    test.write(Place.code, new Uint8Array(Place.codeBytes).fill(0xcc));
    test.write(
      Place.readOnly,
      Uint8Array.from({ length: pageBytes }, (_, i) => i * 7 + 3),
    );
  }

  #setMode(mode: Mode): void {
    if (this.#mode === mode) return;
    this.#mode = mode;
    const view = this.#view;
    const cpu = this.#cpu;
    for (let index = 0; index < 6; index++) {
      const setup = segmentSetup(mode, index);
      const at = cpu + Cpu.segments + index * segmentBytes;
      view.setUint16(at + SegmentField.selector, setup.selector, true);
      view.setBigInt64(at + SegmentField.base, BigInt(setup.base), true);
      view.setUint32(at + SegmentField.limit, setup.limit, true);
      view.setUint32(at + SegmentField.attributes, setup.attributes, true);
      view.setUint32(at + SegmentField.unusable, 0, true);
      view.setBigInt64(at + SegmentField.limitMin, 0n, true);
      view.setBigInt64(at + SegmentField.readEnd, BigInt(setup.limit) + 1n, true);
      view.setBigInt64(
        at + SegmentField.writeEnd,
        index === Segment.cs ? -1n : BigInt(setup.limit) + 1n,
        true,
      );
    }
    view.setBigInt64(cpu + Cpu.cr0, 0x8005_0033n, true);
    view.setBigInt64(cpu + Cpu.cr3, BigInt(pageTables), true);
    view.setBigInt64(cpu + Cpu.cr4, 0x4_0620n, true);
    view.setBigInt64(cpu + Cpu.xcr0, 7n, true);
    view.setBigInt64(cpu + Cpu.efer, 0xd01n, true);
    view.setInt32(cpu + Cpu.cpl, 3, true);
    this.#test.engine.core.updateMode(cpu);
    this.#test.engine.core.flushTlbAll(cpu);
  }

  #setCode(c: Case): void {
    if (this.#lastCode !== undefined) {
      this.#test.map.write(
        Place.code + this.#lastCode.offset,
        new Uint8Array(this.#lastCode.length).fill(0xcc),
      );
    }
    const room = Math.min(c.code.length, Place.codeBytes - c.codeOffset);
    this.#test.map.write(Place.code + c.codeOffset, c.code.slice(0, room));
    this.#lastCode = { offset: c.codeOffset, length: room };
  }

  #setFloatingPoint(image: Uint8Array): void {
    const source = new DataView(image.buffer, image.byteOffset, 512);
    const view = this.#view;
    const cpu = this.#cpu;
    view.setUint32(cpu + Cpu.fcw, source.getUint16(0, true), true);
    const status = source.getUint16(2, true);
    view.setUint32(cpu + Cpu.fsw, status, true);
    const top = (status >> 11) & 7;
    const tags = source.getUint8(4);
    view.setUint32(cpu + Cpu.fop, source.getUint16(6, true), true);
    view.setBigUint64(cpu + Cpu.fip, source.getBigUint64(8, true), true);
    view.setBigUint64(cpu + Cpu.fdp, source.getBigUint64(16, true), true);
    view.setUint32(cpu + Cpu.mxcsr, source.getUint32(24, true), true);
    for (let i = 0; i < 8; i++) {
      const physical = (top + i) & 7;
      const at = cpu + Cpu.fpr + physical * 16;
      view.setBigUint64(at, source.getBigUint64(32 + 16 * i, true), true);
      view.setUint16(at + 8, source.getUint16(40 + 16 * i, true), true);
      view.setUint8(cpu + Cpu.ftags + i, (tags >> i) & 1 ? 0 : 1);
    }
    this.#bytes.set(image.subarray(160, 416), cpu + Cpu.xmm);
  }

  #getFloatingPoint(image: Uint8Array): void {
    const target = new DataView(image.buffer, image.byteOffset, 512);
    const view = this.#view;
    const cpu = this.#cpu;
    target.setUint16(0, view.getUint16(cpu + Cpu.fcw, true), true);
    const status = view.getUint16(cpu + Cpu.fsw, true);
    target.setUint16(2, status, true);
    const top = (status >> 11) & 7;
    let tags = 0;
    for (let i = 0; i < 8; i++) {
      const at = cpu + Cpu.fpr + ((top + i) & 7) * 16;
      target.setBigUint64(32 + 16 * i, view.getBigUint64(at, true), true);
      target.setUint16(40 + 16 * i, view.getUint16(at + 8, true), true);
      if (view.getUint8(cpu + Cpu.ftags + i) === 0) tags |= 1 << i;
    }
    target.setUint8(4, tags);
    target.setUint16(6, view.getUint16(cpu + Cpu.fop, true), true);
    target.setBigUint64(8, view.getBigUint64(cpu + Cpu.fip, true), true);
    target.setBigUint64(16, view.getBigUint64(cpu + Cpu.fdp, true), true);
    target.setUint32(24, view.getUint32(cpu + Cpu.mxcsr, true), true);
    image.set(this.#bytes.subarray(cpu + Cpu.xmm, cpu + Cpu.xmm + 256), 160);
  }

  /** Whether something outside of the windows changed; it is cleared. */
  #clearOutside(): boolean {
    let strayed = false;
    const check = (start: number, end: number): void => {
      const bytes = this.#bytes.subarray(this.#ram + start, this.#ram + end);
      if (Buffer.compare(bytes, zeroPage.subarray(0, end - start)) === 0) return;
      strayed = true;
      bytes.fill(0);
    };
    check(Place.data, Place.windowA);
    check(Place.windowA + Place.windowABytes, Place.windowB);
    check(Place.stack, Place.windowS);
    check(Place.windowS + Place.windowSBytes, Place.stack + Place.stackBytes);
    return strayed;
  }

  /** Runs `before`; the state afterwards goes to `after`. */
  run(before: Case, after: Case): void {
    const view = this.#view;
    const cpu = this.#cpu;
    after.bytes.set(before.bytes);
    this.#setMode(before.mode);
    this.#setCode(before);
    this.#bytes.set(before.bytes.subarray(32, 160), cpu + Cpu.gpr);
    this.#setFloatingPoint(before.fxsave);
    this.#bytes.set(before.uppers, cpu + Cpu.ymmHigh);
    for (const [window, at] of [
      [before.windowA, Place.windowA],
      [before.windowB, Place.windowB],
      [before.windowS, Place.windowS],
    ] as const) {
      this.#bytes.set(window, this.#ram + at);
    }
    view.setBigInt64(cpu + Cpu.rip, before.startRip, true);
    view.setBigInt64(cpu + Cpu.cr2, 0n, true);
    view.setInt32(cpu + Cpu.pendingVector, -1, true);
    view.setInt32(cpu + Cpu.deliveringVector, -1, true);
    view.setInt32(cpu + Cpu.interruptShadow, 0, true);
    view.setInt32(cpu + Cpu.exitRequest, 0, true);
    view.setBigInt64(cpu + Cpu.deadline, 1_000_000n, true);
    view.setBigInt64(cpu + Cpu.remaining, 1_000_000n, true);
    this.#test.engine.core.writeFlags(cpu, before.rflags, -1);
    let faulted = this.#test.engine.stepRaw(cpu) !== 0;
    if (before.options & optionSequence) {
      const end = before.startRip + BigInt(before.code.length);
      for (let turns = 0; !faulted && turns < maximumSteps; turns++) {
        if (view.getBigUint64(cpu + Cpu.rip, true) === end) break;
        faulted = this.#test.engine.stepRaw(cpu) !== 0;
      }
    }
    // A repeated string instruction is one instruction for the native side.
    for (let turns = 0; !faulted && before.options === 0 && turns < 40; turns++) {
      if (view.getBigUint64(cpu + Cpu.rip, true) !== before.startRip) break;
      faulted = this.#test.engine.stepRaw(cpu) !== 0;
    }
    this.#collect(after, faulted);
  }

  #collect(after: Case, faulted: boolean): void {
    const view = this.#view;
    const cpu = this.#cpu;
    after.bytes.set(this.#bytes.subarray(cpu + Cpu.gpr, cpu + Cpu.gpr + 128), 32);
    after.rip = view.getBigUint64(cpu + Cpu.rip, true);
    after.rflags = this.#test.engine.core.readFlags(cpu) & ~0x1_0100;
    after.trap = faulted ? view.getInt32(cpu + Cpu.pendingVector, true) : vectorDone;
    after.error = faulted ? view.getInt32(cpu + Cpu.pendingErrorCode, true) : 0;
    after.cr2 = after.trap === 14 ? view.getBigUint64(cpu + Cpu.cr2, true) : 0n;
    this.#getFloatingPoint(after.fxsave);
    after.uppers.set(this.#bytes.subarray(cpu + Cpu.ymmHigh, cpu + Cpu.ymmHigh + 256));
    const copy = (window: Uint8Array, at: number): void => {
      window.set(this.#bytes.subarray(this.#ram + at, this.#ram + at + window.length));
    };
    copy(after.windowA, Place.windowA);
    copy(after.windowB, Place.windowB);
    copy(after.windowS, Place.windowS);
    after.strayed = this.#clearOutside();
  }
}

/** Runs batches on our processor. */
export async function emulatedExecutor(): Promise<Executor> {
  const processor = new EmulatedProcessor(await TestCpu.create({ ramBytes }));
  return (batch) => {
    const after = new Batch(batch.length);
    for (let i = 0; i < batch.length; i++) processor.run(batch.at(i), after.add());
    return after;
  };
}
