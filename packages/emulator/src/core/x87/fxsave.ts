/**
 * State images of x87, MMX and SSE: FXSAVE, FXRSTOR (SDM Vol. 1, 10.5), XSAVE, XRSTOR of x87 and SSE state (13.4-13.8),
 * and the x87 environments of FLDENV, FSTENV, FSAVE, FRSTOR (8.1.10, figures 8-9 to 8-12).
 */
import {
  Cpu_cr0,
  Cpu_cr4,
  Cpu_fcs,
  Cpu_fcw,
  Cpu_fdp,
  Cpu_fds,
  Cpu_features,
  Cpu_fip,
  Cpu_fop,
  Cpu_fpr,
  Cpu_fsw,
  Cpu_ftags,
  Cpu_gpr,
  Cpu_modeKey,
  Cpu_mxcsr,
  Cpu_systemFlags,
  Cpu_xcr0,
  Cpu_xmm,
  Cpu_ymmHigh,
  CpuFeature_fxsr,
  CpuFeature_xsave,
  CpuFeature_xsavec,
  ModeKey_code64,
  ModeKey_codeMask,
} from '../generated/layout';
import { raise, raiseError } from '../events/fault';
import {
  probeRead,
  probeWrite,
  readLinear16,
  readLinear32,
  readLinear64,
  writeLinear16,
  writeLinear32,
  writeLinear64,
} from '../memory/memory';
import { Extended } from '../softfloat/softfloat-80';
import { Kind } from '../softfloat/softfloat-state';
import { mxcsrMask } from '../sse/sse-state';
import { X87 } from './x87-state';

const vectorUndefined: i32 = 6;
const vectorNotAvailable: i32 = 7;
const vectorGeneralProtection: i32 = 13;
const cr0Emulation: i64 = 4;
const cr0TaskSwitched: i64 = 8;
const cr4OsFxsr: i64 = 0x200;
const cr4OsXsave: i64 = 0x4_0000;
const initialMxcsr: i32 = 0x1f80;
const componentX87: i64 = 1;
const componentSse: i64 = 2;
const componentAvx: i64 = 4;

function is64(cpu: i32): bool {
  return (load<i32>(cpu + Cpu_modeKey) & ModeKey_codeMask) == ModeKey_code64;
}

function checkNotAvailable(cpu: i32, emulation: bool): void {
  const cr0 = load<i64>(cpu + Cpu_cr0);
  if (cr0 & cr0TaskSwitched || (emulation && cr0 & cr0Emulation)) raise(cpu, vectorNotAvailable);
}

/**
 * The control word and the last byte of an image that spans at most two pages, in the order and by the addresses that a
 * processor reports (asked on an AMD EPYC, family 25 model 17).
 */
function probeImageRead(cpu: i32, address: i64, bytes: i32, operandBytes: i32): void {
  probeRead(cpu, address, operandBytes == 2 ? 2 : 4);
  probeRead(cpu, address + bytes - 1, 1);
}

function probeImageWrite(cpu: i32, address: i64, bytes: i32, operandBytes: i32): void {
  probeWrite(cpu, address, operandBytes == 2 ? 2 : 4);
  probeWrite(cpu, address + bytes - 1, 1);
}

/** One bit for each physical register: 1 = full (FXSAVE) . */
function abridgedTags(cpu: i32): i32 {
  let tags = 0;
  for (let i = 0; i < 8; i++) if (load<u8>(cpu + Cpu_ftags + i) == 0) tags |= 1 << i;
  return tags;
}

/** The first 32 bytes' x87 part and the ST registers. `operandBytes` 8: 64-bit pointers. */
function saveX87(cpu: i32, address: i64, operandBytes: i32): void {
  writeLinear16(cpu, address, load<i32>(cpu + Cpu_fcw));
  writeLinear16(cpu, address + 2, load<i32>(cpu + Cpu_fsw));
  writeLinear16(cpu, address + 4, abridgedTags(cpu));
  // Saved always (SDM Vol. 1, 10.5.1): systems clear them for AMD's processors only, which leave them out unless an exception is pending.
  const ip = load<i64>(cpu + Cpu_fip);
  const dp = load<i64>(cpu + Cpu_fdp);
  writeLinear16(cpu, address + 6, load<i32>(cpu + Cpu_fop));
  // The selectors are deprecated and saved as 0 (CPUID.7.0:EBX bit 13).
  writeLinear64(cpu, address + 8, operandBytes == 8 ? ip : ip & 0xffff_ffff);
  writeLinear64(cpu, address + 16, operandBytes == 8 ? dp : dp & 0xffff_ffff);
  for (let i = 0; i < 8; i++) {
    const register = X87.st(cpu, i);
    writeLinear64(cpu, address + 32 + (i << 4), load<i64>(register));
    writeLinear64(cpu, address + 40 + (i << 4), load<i64>(register, 8) & 0xffff);
  }
}

/** The pointer registers hold linear addresses, which have 48 bits (CPUID leaf 8000_0008h). */
function canonical(pointer: i64): i64 {
  return (pointer << 16) >> 16;
}

function restoreX87(cpu: i32, address: i64, operandBytes: i32): void {
  store<i32>(cpu + Cpu_fcw, (readLinear16(cpu, address) & 0x1f7f) | 0x40);
  const status = readLinear16(cpu, address + 2);
  X87.setStatus(cpu, status & 0xffff);
  const tags = readLinear16(cpu, address + 4);
  for (let i = 0; i < 8; i++) store<u8>(cpu + Cpu_ftags + i, ((tags >> i) & 1) ^ 1);
  store<i32>(cpu + Cpu_fop, readLinear16(cpu, address + 6) & 0x7ff);
  if (operandBytes == 8) {
    store<i64>(cpu + Cpu_fip, canonical(readLinear64(cpu, address + 8)));
    store<i64>(cpu + Cpu_fdp, canonical(readLinear64(cpu, address + 16)));
  } else {
    store<i64>(cpu + Cpu_fip, <i64>(<u32>readLinear32(cpu, address + 8)));
    store<i64>(cpu + Cpu_fdp, <i64>(<u32>readLinear32(cpu, address + 16)));
  }
  for (let i = 0; i < 8; i++) {
    const register = X87.st(cpu, i);
    store<i64>(register, readLinear64(cpu, address + 32 + (i << 4)));
    store<i64>(register, <i64>(readLinear16(cpu, address + 40 + (i << 4)) & 0xffff), 8);
  }
}

function xmmCount(cpu: i32): i32 {
  return is64(cpu) ? 16 : 8;
}

function saveXmm(cpu: i32, address: i64): void {
  const count = xmmCount(cpu);
  for (let i = 0; i < count << 1; i++) {
    writeLinear64(cpu, address + 160 + (i << 3), load<i64>(cpu + Cpu_xmm + (i << 3)));
  }
}

function restoreXmm(cpu: i32, address: i64): void {
  const count = xmmCount(cpu);
  for (let i = 0; i < count << 1; i++) {
    store<i64>(cpu + Cpu_xmm + (i << 3), readLinear64(cpu, address + 160 + (i << 3)));
  }
}

export function fxsave(cpu: i32, address: i64, operandBytes: i32): void {
  if ((load<i32>(cpu + Cpu_features) & CpuFeature_fxsr) == 0) raise(cpu, vectorUndefined);
  checkNotAvailable(cpu, true);
  if (address & 15) raiseError(cpu, vectorGeneralProtection, 0);
  probeWrite(cpu, address + 511, 1);
  probeWrite(cpu, address, 512);
  saveX87(cpu, address, operandBytes);
  writeLinear32(cpu, address + 24, load<i32>(cpu + Cpu_mxcsr));
  writeLinear32(cpu, address + 28, mxcsrMask);
  if (load<i64>(cpu + Cpu_cr4) & cr4OsFxsr) saveXmm(cpu, address);
}

export function fxrstor(cpu: i32, address: i64, operandBytes: i32): void {
  if ((load<i32>(cpu + Cpu_features) & CpuFeature_fxsr) == 0) raise(cpu, vectorUndefined);
  checkNotAvailable(cpu, true);
  if (address & 15) raiseError(cpu, vectorGeneralProtection, 0);
  probeRead(cpu, address + 511, 1);
  probeRead(cpu, address, 512);
  const mxcsr = readLinear32(cpu, address + 24);
  const withSse = (load<i64>(cpu + Cpu_cr4) & cr4OsFxsr) != 0;
  if (withSse && mxcsr & ~mxcsrMask) raiseError(cpu, vectorGeneralProtection, 0);
  restoreX87(cpu, address, operandBytes);
  if (!withSse) return;
  store<i32>(cpu + Cpu_mxcsr, mxcsr);
  restoreXmm(cpu, address);
}

/** Where the AVX state lies in an image that is not compacted, and its size: CPUID leaf 0Dh, sub-leaf 2. */
const avxOffset: i64 = 576;
const avxBytes: i64 = 256;
const compactedFormat: i64 = (<i64>1) << 63;

/** Components asked for by EDX:EAX and enabled in XCR0. */
function requestedComponents(cpu: i32): i64 {
  const low = <i64>load<u32>(cpu + Cpu_gpr);
  const high = <i64>load<u32>(cpu + Cpu_gpr + 16);
  return ((high << 32) | low) & load<i64>(cpu + Cpu_xcr0);
}

function checkXsave(cpu: i32, address: i64): void {
  const enabled = (load<i64>(cpu + Cpu_cr4) & cr4OsXsave) != 0;
  if ((load<i32>(cpu + Cpu_features) & CpuFeature_xsave) == 0 || !enabled) raise(cpu, vectorUndefined);
  checkNotAvailable(cpu, false);
  if (address & 63) raiseError(cpu, vectorGeneralProtection, 0);
}

/** Whether the x87 state is the one after FINIT (SDM Vol. 1, 13.6). */
function x87IsInitial(cpu: i32): bool {
  if (load<i32>(cpu + Cpu_fcw) != 0x37f || load<i32>(cpu + Cpu_fsw) != 0) return false;
  if (load<u64>(cpu + Cpu_ftags) != 0x0101_0101_0101_0101) return false;
  let any = load<i64>(cpu + Cpu_fip) | load<i64>(cpu + Cpu_fdp) | (<i64>load<i32>(cpu + Cpu_fop));
  any |= <i64>(load<i32>(cpu + Cpu_fcs) | load<i32>(cpu + Cpu_fds));
  for (let i = 0; i < 16; i++) any |= load<i64>(cpu + Cpu_fpr + (i << 3));
  return any == 0;
}

function xmmIsInitial(cpu: i32): bool {
  let any: i64 = 0;
  for (let i = 0; i < 32; i++) any |= load<i64>(cpu + Cpu_xmm + (i << 3));
  return any == 0;
}

/** The upper halves that the mode can reach: 16 in 64-bit mode, else 8. */
function saveUppers(cpu: i32, address: i64): void {
  const count = xmmCount(cpu);
  for (let i = 0; i < count << 1; i++) {
    writeLinear64(cpu, address + (i << 3), load<i64>(cpu + Cpu_ymmHigh + (i << 3)));
  }
}

function restoreUppers(cpu: i32, address: i64): void {
  const count = xmmCount(cpu);
  for (let i = 0; i < count << 1; i++) {
    store<i64>(cpu + Cpu_ymmHigh + (i << 3), readLinear64(cpu, address + (i << 3)));
  }
}

function uppersAreInitial(cpu: i32): bool {
  let any: i64 = 0;
  for (let i = 0; i < 32; i++) any |= load<i64>(cpu + Cpu_ymmHigh + (i << 3));
  return any == 0;
}

/** XINUSE: components that are not in their initial state (SDM Vol. 1, 13.6), which follows from their values. */
export function componentsInUse(cpu: i32): i64 {
  let inUse: i64 = 0;
  if (!x87IsInitial(cpu)) inUse |= componentX87;
  if (!xmmIsInitial(cpu)) inUse |= componentSse;
  if (!uppersAreInitial(cpu)) inUse |= componentAvx;
  return inUse;
}

/** Bytes of an image that holds these components; compacted ones lie at the same places while there are three. */
function imageBytes(components: i64): i32 {
  return <i32>(components & componentAvx ? avxOffset + avxBytes : avxOffset);
}

/** The state of these components. */
function saveComponents(cpu: i32, address: i64, components: i64, operandBytes: i32): void {
  if (components & componentX87) saveX87(cpu, address, operandBytes);
  if (components & componentSse) saveXmm(cpu, address);
  if (components & componentAvx) saveUppers(cpu, address + avxOffset);
}

function saveControl(cpu: i32, address: i64): void {
  writeLinear32(cpu, address + 24, load<i32>(cpu + Cpu_mxcsr));
  writeLinear32(cpu, address + 28, mxcsrMask);
}

/** XSAVE, and with `optimized` XSAVEOPT, which leaves out components in their initial state. SDM Vol. 1, 13.7 and 13.9. */
export function xsave(cpu: i32, address: i64, operandBytes: i32, optimized: i32): void {
  checkXsave(cpu, address);
  const components = requestedComponents(cpu);
  probeWrite(cpu, address, imageBytes(components));
  const inUse = componentsInUse(cpu) & components;
  saveComponents(cpu, address, optimized ? inUse : components, operandBytes);
  if (components & (componentSse | componentAvx)) saveControl(cpu, address);
  const old = readLinear64(cpu, address + 512);
  writeLinear64(cpu, address + 512, (old & ~components) | inUse);
}

/** XSAVEC: the compacted format, in which the AVX state comes first behind the header, where it is anyway. SDM Vol. 1, 13.10. */
export function xsavec(cpu: i32, address: i64, operandBytes: i32): void {
  checkXsave(cpu, address);
  const components = requestedComponents(cpu);
  probeWrite(cpu, address, imageBytes(components));
  // MXCSR other than its initial value makes the SSE state one in use.
  let inUse = componentsInUse(cpu) & components;
  if (components & componentSse && load<i32>(cpu + Cpu_mxcsr) != initialMxcsr) inUse |= componentSse;
  saveComponents(cpu, address, inUse, operandBytes);
  if (inUse & componentSse) saveControl(cpu, address);
  writeLinear64(cpu, address + 512, inUse);
  writeLinear64(cpu, address + 520, components | compactedFormat);
}

/** XRSTOR, of both formats. SDM Vol. 1, 13.8. */
export function xrstor(cpu: i32, address: i64, operandBytes: i32): void {
  checkXsave(cpu, address);
  probeRead(cpu, address, <i32>avxOffset);
  const enabled = load<i64>(cpu + Cpu_xcr0);
  const present = readLinear64(cpu, address + 512);
  const format = readLinear64(cpu, address + 520);
  const compacted =
    (format & compactedFormat) != 0 && (load<i64>(cpu + Cpu_features) & CpuFeature_xsavec) != 0;
  if (compacted) {
    const held = format & ~compactedFormat;
    let reserved: i64 = 0;
    for (let at: i64 = 528; at < 576; at += 8) reserved |= readLinear64(cpu, address + at);
    if (held & ~enabled || present & ~held || reserved) raiseError(cpu, vectorGeneralProtection, 0);
  } else if (present & ~enabled || format || readLinear64(cpu, address + 528)) {
    raiseError(cpu, vectorGeneralProtection, 0);
  }
  const components = requestedComponents(cpu);
  const loaded = components & present;
  probeRead(cpu, address, imageBytes(loaded));
  restoreComponents(cpu, address, components, loaded, operandBytes, compacted);
}

/** Those in `loaded` from the image, the others to their initial state. */
function restoreComponents(
  cpu: i32,
  address: i64,
  components: i64,
  loaded: i64,
  operandBytes: i32,
  compacted: bool,
): void {
  // The standard form takes MXCSR from the image with SSE or AVX state, present or not; the compacted form with SSE state that is present.
  const withControl = compacted
    ? (loaded & componentSse) != 0
    : (components & (componentSse | componentAvx)) != 0;
  const mxcsr = withControl ? readLinear32(cpu, address + 24) : initialMxcsr;
  if (withControl && mxcsr & ~mxcsrMask) raiseError(cpu, vectorGeneralProtection, 0);
  if (components & componentX87) {
    if (loaded & componentX87) {
      restoreX87(cpu, address, operandBytes);
    } else {
      x87Initialize(cpu);
      memory.fill(cpu + Cpu_fpr, 0, 128);
    }
  }
  if (withControl || components & componentSse) store<i32>(cpu + Cpu_mxcsr, mxcsr);
  if (loaded & componentSse) restoreXmm(cpu, address);
  else if (components & componentSse) memory.fill(cpu + Cpu_xmm, 0, xmmCount(cpu) << 4);
  if (loaded & componentAvx) restoreUppers(cpu, address + avxOffset);
  else if (components & componentAvx) memory.fill(cpu + Cpu_ymmHigh, 0, xmmCount(cpu) << 4);
}

/** FNINIT; the registers keep their contents. */
export function x87Initialize(cpu: i32): void {
  store<i32>(cpu + Cpu_fcw, 0x37f);
  store<i32>(cpu + Cpu_fsw, 0);
  store<u64>(cpu + Cpu_ftags, 0x0101_0101_0101_0101);
  store<i32>(cpu + Cpu_fop, 0);
  store<i32>(cpu + Cpu_fcs, 0);
  store<i32>(cpu + Cpu_fds, 0);
  store<i64>(cpu + Cpu_fip, 0);
  store<i64>(cpu + Cpu_fdp, 0);
}

/** The tag word with its classes: 0 valid, 1 zero, 2 special, 3 empty. */
function fullTags(cpu: i32): i32 {
  let tags = 0;
  for (let i = 0; i < 8; i++) {
    const register = cpu + Cpu_fpr + (i << 4);
    let tag = 3;
    if (load<u8>(cpu + Cpu_ftags + i) == 0) {
      const signExponent = <i32>load<u16>(register, 8);
      const kind = Extended.kindOf(load<u64>(register), signExponent);
      tag =
        kind == Kind.zero
          ? 1
          : kind == Kind.finite && signExponent & 0x7fff && <i64>load<u64>(register) < 0
            ? 0
            : 2;
    }
    tags |= tag << (i << 1);
  }
  return tags;
}

/** Real-address or virtual-8086 mode: pointers are linear. */
function isRealLayout(cpu: i32): bool {
  return (load<i64>(cpu + Cpu_cr0) & 1) == 0 || (load<i32>(cpu + Cpu_systemFlags) & 0x2_0000) != 0;
}

/** Bytes of an environment: 14 with 16-bit operands, 28 else. */
export function x87StoreEnvironment(cpu: i32, address: i64, operandBytes: i32): void {
  const bytes = operandBytes == 2 ? 14 : 28;
  probeImageWrite(cpu, address, bytes, operandBytes);
  writeEnvironment(cpu, address, operandBytes);
  // FNSTENV masks all exceptions afterwards.
  store<i32>(cpu + Cpu_fcw, load<i32>(cpu + Cpu_fcw) | 0x3f);
  X87.setStatus(cpu, load<i32>(cpu + Cpu_fsw));
}

function writeEnvironment(cpu: i32, address: i64, operandBytes: i32): void {
  const fcw = load<i32>(cpu + Cpu_fcw);
  const fsw = load<i32>(cpu + Cpu_fsw);
  const tags = fullTags(cpu);
  let ip = <i32>load<i64>(cpu + Cpu_fip);
  let dp = <i32>load<i64>(cpu + Cpu_fdp);
  const opcode = load<i32>(cpu + Cpu_fop) & 0x7ff;
  const real = isRealLayout(cpu);
  if (real) {
    // Cpu.fcs and fds are kept for these linear addresses alone.
    ip += load<i32>(cpu + Cpu_fcs) << 4;
    dp += load<i32>(cpu + Cpu_fds) << 4;
  }
  if (operandBytes == 2) {
    writeLinear16(cpu, address, fcw);
    writeLinear16(cpu, address + 2, fsw);
    writeLinear16(cpu, address + 4, tags);
    writeLinear16(cpu, address + 6, ip);
    writeLinear16(cpu, address + 8, real ? ((ip >> 4) & 0xf000) | opcode : 0);
    writeLinear16(cpu, address + 10, dp);
    writeLinear16(cpu, address + 12, real ? (dp >> 4) & 0xf000 : 0);
    return;
  }
  writeLinear32(cpu, address, fcw | 0xffff_0000);
  writeLinear32(cpu, address + 4, fsw | 0xffff_0000);
  writeLinear32(cpu, address + 8, tags | 0xffff_0000);
  if (real) {
    writeLinear32(cpu, address + 12, (ip & 0xffff) | 0xffff_0000);
    writeLinear32(cpu, address + 16, (((ip >>> 16) & 0xffff) << 12) | opcode);
    writeLinear32(cpu, address + 20, (dp & 0xffff) | 0xffff_0000);
    writeLinear32(cpu, address + 24, ((dp >>> 16) & 0xffff) << 12);
  } else {
    writeLinear32(cpu, address + 12, ip);
    writeLinear32(cpu, address + 16, opcode << 16);
    writeLinear32(cpu, address + 20, dp);
    writeLinear32(cpu, address + 24, 0xffff_0000);
  }
}

/** FLDENV; a pending unmasked exception in the loaded image is reported at the next waiting instruction. */
export function x87LoadEnvironment(cpu: i32, address: i64, operandBytes: i32): void {
  const bytes = operandBytes == 2 ? 14 : 28;
  probeImageRead(cpu, address, bytes, operandBytes);
  readEnvironment(cpu, address, operandBytes);
}

function readEnvironment(cpu: i32, address: i64, operandBytes: i32): void {
  const step: i64 = operandBytes == 2 ? 2 : 4;
  const real = isRealLayout(cpu);
  store<i32>(cpu + Cpu_fcw, (readLinear16(cpu, address) & 0x1f7f) | 0x40);
  X87.setStatus(cpu, readLinear16(cpu, address + step) & 0xffff);
  const tags = readLinear16(cpu, address + 2 * step);
  for (let i = 0; i < 8; i++) store<u8>(cpu + Cpu_ftags + i, ((tags >> (i << 1)) & 3) == 3 ? 1 : 0);
  if (operandBytes == 2) {
    const ip = readLinear16(cpu, address + 6) & 0xffff;
    const second = readLinear16(cpu, address + 8) & 0xffff;
    const dp = readLinear16(cpu, address + 10) & 0xffff;
    const fourth = readLinear16(cpu, address + 12) & 0xffff;
    store<i64>(cpu + Cpu_fip, <i64>(real ? ip | ((second & 0xf000) << 4) : ip));
    store<i64>(cpu + Cpu_fdp, <i64>(real ? dp | ((fourth & 0xf000) << 4) : dp));
    store<i32>(cpu + Cpu_fcs, 0);
    store<i32>(cpu + Cpu_fds, 0);
    if (real) store<i32>(cpu + Cpu_fop, second & 0x7ff);
    return;
  }
  const ip = readLinear32(cpu, address + 12);
  const second = readLinear32(cpu, address + 16);
  const dp = readLinear32(cpu, address + 20);
  const fourth = readLinear32(cpu, address + 24);
  if (real) {
    store<i64>(cpu + Cpu_fip, <i64>((ip & 0xffff) | ((second & 0x0fff_f000) << 4)));
    store<i64>(cpu + Cpu_fdp, <i64>((dp & 0xffff) | ((fourth & 0x0fff_f000) << 4)));
    store<i32>(cpu + Cpu_fcs, 0);
    store<i32>(cpu + Cpu_fds, 0);
    store<i32>(cpu + Cpu_fop, second & 0x7ff);
  } else {
    store<i64>(cpu + Cpu_fip, <i64>(<u32>ip));
    store<i64>(cpu + Cpu_fdp, <i64>(<u32>dp));
    store<i32>(cpu + Cpu_fcs, 0);
    store<i32>(cpu + Cpu_fds, 0);
    store<i32>(cpu + Cpu_fop, (second >> 16) & 0x7ff);
  }
}

/** FNSAVE: environment, eight registers, then FNINIT. */
export function x87Save(cpu: i32, address: i64, operandBytes: i32): void {
  const start: i64 = operandBytes == 2 ? 14 : 28;
  probeImageWrite(cpu, address, <i32>start + 80, operandBytes);
  writeEnvironment(cpu, address, operandBytes);
  for (let i = 0; i < 8; i++) {
    const register = X87.st(cpu, i);
    writeLinear64(cpu, address + start + i * 10, load<i64>(register));
    writeLinear16(cpu, address + start + i * 10 + 8, load<u16>(register, 8));
  }
  x87Initialize(cpu);
}

export function x87Restore(cpu: i32, address: i64, operandBytes: i32): void {
  const start: i64 = operandBytes == 2 ? 14 : 28;
  probeImageRead(cpu, address, <i32>start + 80, operandBytes);
  readEnvironment(cpu, address, operandBytes);
  for (let i = 0; i < 8; i++) {
    const register = X87.st(cpu, i);
    store<i64>(register, readLinear64(cpu, address + start + i * 10));
    store<i64>(register, <i64>(readLinear16(cpu, address + start + i * 10 + 8) & 0xffff), 8);
  }
}

/** FLDCW; an unmasked pending exception becomes (or stops being) one that the next waiting instruction reports. */
export function x87LoadControl(cpu: i32, value: i32): void {
  store<i32>(cpu + Cpu_fcw, (value & 0x1f7f) | 0x40);
  X87.setStatus(cpu, load<i32>(cpu + Cpu_fsw));
}

/** FNCLEX. */
export function x87ClearExceptions(cpu: i32): void {
  store<i32>(cpu + Cpu_fsw, load<i32>(cpu + Cpu_fsw) & 0x7f00);
}
