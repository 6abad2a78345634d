/** Two states after the same instruction: what differs, in words, apart from what the manual leaves undefined. */
import { gprNames } from '../../packages/emulator/src/cpu/registers.ts';
import { type Case, Place, vectorDone } from './case.ts';
import type { Host } from './processors.ts';
import type { Undefined } from './undefined.ts';

const arithmeticAndSystem = 0x24_4fd5 & ~0x1_0000;

const hex = (value: bigint | number): string => value.toString(16);

export interface Difference {
  what: string;
  expected: string;
  got: string;
}

function registerMask(c: Case, index: number): bigint {
  if (c.mode === 64) return ~0n;
  if (index >= 8) return 0n;
  // A 16-bit stack segment leaks kernel bits of ESP natively (espfix).
  return c.mode === 16 && index === 4 ? 0xffffn : 0xffff_ffffn;
}

function compareRegisters(
  before: Case,
  expected: Case,
  got: Case,
  undefinedParts: Undefined,
  out: Difference[],
): void {
  for (let i = 0; i < 16; i++) {
    const mask = registerMask(before, i);
    const e = expected.gpr(i) & mask;
    const g = got.gpr(i) & mask;
    if (e !== g && !undefinedParts.destination)
      out.push({ what: gprNames[i] as string, expected: hex(e), got: hex(g) });
  }
  const ripMask = before.mode === 64 ? ~0n : 0xffff_ffffn;
  if ((expected.rip & ripMask) !== (got.rip & ripMask))
    out.push({ what: 'rip', expected: hex(expected.rip), got: hex(got.rip) });
  const flagMask = arithmeticAndSystem & ~undefinedParts.flags;
  if ((expected.rflags & flagMask) !== (got.rflags & flagMask)) {
    out.push({ what: 'rflags', expected: hex(expected.rflags & flagMask), got: hex(got.rflags & flagMask) });
  }
}

/** The kernel shows PF errors at its own addresses as protection violations, whatever was mapped there. */
const kernelAddresses = 0x7fff_ffff_f000n;

function compareTraps(expected: Case, got: Case, out: Difference[]): void {
  if (expected.trap !== got.trap) {
    out.push({
      what: 'trap',
      expected: expected.trap === vectorDone ? 'none' : `${expected.trap}`,
      got: got.trap === vectorDone ? 'none' : `${got.trap}`,
    });
    return;
  }
  const ignored = expected.trap === 14 && expected.cr2 >= kernelAddresses ? 1 : 0;
  if ((expected.error | ignored) !== (got.error | ignored))
    out.push({ what: 'error', expected: hex(expected.error), got: hex(got.error) });
  if (expected.cr2 !== got.cr2) out.push({ what: 'cr2', expected: hex(expected.cr2), got: hex(got.cr2) });
}

function extended(view: DataView, index: number): { significand: bigint; head: number } {
  return {
    significand: view.getBigUint64(32 + 16 * index, true),
    head: view.getUint16(40 + 16 * index, true),
  };
}

function withinUlps(
  a: { significand: bigint; head: number },
  b: { significand: bigint; head: number },
  ulps: number,
): boolean {
  if ((a.head & 0x8000) !== (b.head & 0x8000)) return false;
  const ordinal = (x: { significand: bigint; head: number }): bigint =>
    (BigInt(x.head & 0x7fff) << 63n) + (x.significand & 0x7fff_ffff_ffff_ffffn);
  const distance = ordinal(a) - ordinal(b);
  return distance <= BigInt(ulps) && distance >= BigInt(-ulps);
}

/**
 * FIP and FDP. Intel's processors always keep them (SDM Vol. 1 8.1.8), AMD's only while an unmasked exception is pending
 * (APM Vol. 2 11.4.4), so on those there is something to compare only then, and only when they have noticed the instruction.
 */
function comparePointers(e: DataView, g: DataView, host: Host, out: Difference[]): void {
  const exceptionSummary = 0x80;
  const pending = (e.getUint16(2, true) & exceptionSummary) !== 0;
  const kept = host.agrees('idleX87Pointers');
  if (!kept && (host.facts.idleX87Pointers === undefined || !pending || e.getBigUint64(8, true) === 0n))
    return;
  const bits = host.agrees('x87PointerBits') ? 64 : 48;
  for (const [what, at] of [
    ['fip', 8],
    ['fdp', 16],
  ] as const) {
    const [expected, got] = [e, g].map((view) => BigInt.asUintN(bits, view.getBigUint64(at, true)));
    if (expected !== got) out.push({ what, expected: hex(expected ?? 0n), got: hex(got ?? 0n) });
  }
}

const approximateError = 3 / 4096;
/** A tiny result may be flushed to zero or not: the smallest normal number. */
const smallestNormal = 2 ** -126;

/** Whether all lanes of two vectors agree within what the manual allows for approximations. */
function approximatelyEqual(a: DataView, b: DataView, at: number): boolean {
  for (let lane = 0; lane < 16; lane += 4) {
    if (a.getUint32(at + lane, true) === b.getUint32(at + lane, true)) continue;
    const [x, y] = [a.getFloat32(at + lane, true), b.getFloat32(at + lane, true)];
    if (!(Math.abs(x - y) <= Math.max(approximateError * Math.abs(x), smallestNormal))) return false;
  }
  return true;
}

function compareFloatingPoint(
  expected: Case,
  got: Case,
  undefinedParts: Undefined,
  host: Host,
  out: Difference[],
): void {
  const e = new DataView(expected.fxsave.buffer, expected.fxsave.byteOffset, 512);
  const g = new DataView(got.fxsave.buffer, got.fxsave.byteOffset, 512);
  const word = (what: string, at: number, ignored = 0): void => {
    const a = e.getUint16(at, true) & ~ignored;
    const b = g.getUint16(at, true) & ~ignored;
    if (a !== b) out.push({ what, expected: hex(a), got: hex(b) });
  };
  word('fcw', 0);
  word('fsw', 2, undefinedParts.status);
  word('ftw', 4, 0xff00);
  comparePointers(e, g, host, out);
  if (e.getUint32(24, true) !== g.getUint32(24, true))
    out.push({ what: 'mxcsr', expected: hex(e.getUint32(24, true)), got: hex(g.getUint32(24, true)) });
  for (let i = 0; i < 8; i++) {
    const a = extended(e, i);
    const b = extended(g, i);
    if (a.significand === b.significand && a.head === b.head) continue;
    if (undefinedParts.ulps > 0 && withinUlps(a, b, undefinedParts.ulps)) continue;
    out.push({
      what: `st${i}`,
      expected: `${hex(a.head)}:${hex(a.significand)}`,
      got: `${hex(b.head)}:${hex(b.significand)}`,
    });
  }
  for (let i = 0; i < 16; i++) {
    const at = 160 + 16 * i;
    if (
      e.getBigUint64(at, true) !== g.getBigUint64(at, true) ||
      e.getBigUint64(at + 8, true) !== g.getBigUint64(at + 8, true)
    ) {
      if (undefinedParts.approximate && approximatelyEqual(e, g, at)) continue;
      const text = (view: DataView): string =>
        `${hex(view.getBigUint64(at + 8, true))}:${hex(view.getBigUint64(at, true))}`;
      out.push({ what: `xmm${i}`, expected: text(e), got: text(g) });
    }
  }
}

function compareUppers(expected: Case, got: Case, undefinedParts: Undefined, out: Difference[]): void {
  const viewOf = ({ uppers }: Case): DataView => new DataView(uppers.buffer, uppers.byteOffset, 256);
  const [e, g] = [viewOf(expected), viewOf(got)];
  const text = (view: DataView, at: number): string =>
    `${hex(view.getBigUint64(at + 8, true))}:${hex(view.getBigUint64(at, true))}`;
  for (let at = 0; at < 256; at += 16) {
    if (text(e, at) === text(g, at) || (undefinedParts.approximate && approximatelyEqual(e, g, at))) continue;
    out.push({ what: `ymm${at / 16} upper`, expected: text(e, at), got: text(g, at) });
  }
}

function compareBytes(
  what: string,
  expected: Uint8Array,
  got: Uint8Array,
  ignored: (offset: number) => boolean,
  out: Difference[],
): void {
  if (Buffer.compare(expected, got) === 0) return;
  const offsets: number[] = [];
  for (let i = 0; i < expected.length; i++) if (expected[i] !== got[i] && !ignored(i)) offsets.push(i);
  const first = offsets[0];
  if (first === undefined) return;
  const end = Math.min(first + 16, (offsets.at(-1) as number) + 1);
  const show = (bytes: Uint8Array): string => Buffer.from(bytes.subarray(first, end)).toString('hex');
  out.push({ what: `${what}+${hex(first)}`, expected: show(expected), got: show(got) });
}

/** Linear addresses of bytes that a state-saving instruction leaves undefined. */
export type IgnoredMemory = (address: number) => boolean;

function mxcsrOf(c: Case): number {
  return new DataView(c.fxsave.buffer, c.fxsave.byteOffset).getUint32(24, true);
}

export function differences(
  before: Case,
  expected: Case,
  got: Case,
  undefinedParts: Undefined,
  host: Host,
  ignoredMemory?: IgnoredMemory,
): Difference[] {
  const out: Difference[] = [];
  if (undefinedParts.everything) return out;
  // Bit 17 of MXCSR is AMD's misaligned mode (APM Vol. 1 4.2.2), which our processor does not have.
  if (mxcsrOf(expected) & 0x2_0000) return out;
  const bothFault = expected.trap !== vectorDone && got.trap !== vectorDone;
  if (bothFault && undefinedParts.fault === 'everything') return out;
  if (bothFault && undefinedParts.fault === 'order' && expected.trap !== got.trap) return out;
  // An operand that is both misaligned and outside of SS: which of the two faults comes first is not defined.
  if (undefinedParts.alignment && bothFault && expected.trap + got.trap === 12 + 13) return out;
  if (!bothFault || undefinedParts.fault !== 'operand') compareTraps(expected, got, out);
  if (!bothFault || undefinedParts.fault !== 'registers')
    compareRegisters(before, expected, got, undefinedParts, out);
  compareFloatingPoint(expected, got, undefinedParts, host, out);
  compareUppers(expected, got, undefinedParts, out);
  const skip = undefinedParts.destination ? () => true : (ignoredMemory ?? (() => false));
  compareBytes('A', expected.windowA, got.windowA, (at) => skip(Place.windowA + at), out);
  compareBytes('B', expected.windowB, got.windowB, (at) => skip(Place.windowB + at), out);
  compareBytes('S', expected.windowS, got.windowS, (at) => skip(Place.windowS + at), out);
  // Bytes outside of the windows were 0: a result that is not defined may be so, too.
  if (expected.strayed !== got.strayed && !undefinedParts.destination)
    out.push({ what: 'strayed', expected: `${expected.strayed}`, got: `${got.strayed}` });
  return out;
}
