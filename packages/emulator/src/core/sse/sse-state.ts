/** MXCSR and the exceptions of SSE instructions. SDM Vol. 1, 10.2.3 and 11.5; Vol. 3A, 13.1. */
import {
  Cpu_cr4,
  Cpu_features,
  Cpu_fpuTrap,
  Cpu_mxcsr,
  FpuTrap_avxUndefined,
  FpuTrap_mmxUndefined,
  FpuTrap_simdNotAvailable,
  FpuTrap_sseUndefined,
  Vector_nm,
  Vector_ud,
  Vector_xm,
} from '../generated/layout';
import { raise } from '../events/fault';
import { probeWrite, writeLinear8 } from '../memory/memory';
import { Exception, Soft } from '../softfloat/softfloat-state';
import { x87PendingError } from '../x87/x87-state';

/** Bits that can be set: flags, DAZ, masks, rounding, FTZ (MXCSR_MASK of FXSAVE). */
export const mxcsrMask: i32 = 0xffff;
const cr4OsXmmExceptions: i64 = 0x400;

export class Sse {
  /** Takes rounding, masks, DAZ and FTZ from MXCSR and forgets old flags. */
  static enter(cpu: i32): void {
    const control = load<i32>(cpu + Cpu_mxcsr);
    Soft.rounding = (control >> 13) & 3;
    Soft.masks = (control >> 7) & Exception.all;
    Soft.denormalsAreZero = control & 0x40;
    Soft.flushToZero = control & 0x8000;
    Soft.flags = 0;
    Soft.roundedUp = 0;
    Sse.stage = 0;
  }

  /** 1 between the two halves of a 256-bit instruction: `leave` only collects what happened. */
  private static held: i32 = 0;
  /** What was collected by the first, second and third `leave` of each half (a byte each), and the next one's place. */
  private static heldFlags: i32 = 0;
  private static stage: i32 = 0;

  static hold(): void {
    Sse.held = 1;
    Sse.heldFlags = 0;
  }

  /** What both halves of a 256-bit instruction came upon counts together, stage by stage. */
  static release(cpu: i32): void {
    Sse.enter(cpu);
    Sse.held = 0;
    for (let stage = 0; stage < 24; stage += 8) {
      Soft.flags |= (Sse.heldFlags >> stage) & Exception.all;
      Sse.leave(cpu);
    }
  }

  /**
   * Adds the flags to MXCSR; an unmasked one raises #XM (#UD when the system does not know #XM), so nothing may be
   * written before. SDM Vol. 1, 11.5.2: while one found before computing is unmasked, nothing is computed.
   */
  static leave(cpu: i32): void {
    let flags = Soft.flags;
    if (Sse.held) {
      Sse.heldFlags |= flags << Sse.stage;
      Sse.stage += 8;
      return;
    }
    if (flags & Exception.before & ~Soft.masks) flags &= Exception.before;
    store<i32>(cpu + Cpu_mxcsr, load<i32>(cpu + Cpu_mxcsr) | flags);
    if (flags & ~Soft.masks)
      raise(cpu, load<i64>(cpu + Cpu_cr4) & cr4OsXmmExceptions ? Vector_xm : Vector_ud);
  }
}

/** Around the two halves of a 256-bit instruction while an exception is unmasked. */
export function sseHold(_cpu: i32): void {
  Sse.hold();
}
export function sseRelease(cpu: i32): void {
  Sse.release(cpu);
}

/** Why an SSE instruction with this CpuFeature can't be executed now. */
export function sseTrap(cpu: i32, feature: i64): void {
  const trap = load<i32>(cpu + Cpu_fpuTrap);
  if ((load<i64>(cpu + Cpu_features) & feature) == 0 || trap & FpuTrap_sseUndefined) raise(cpu, Vector_ud);
  if (trap & FpuTrap_simdNotAvailable) raise(cpu, Vector_nm);
}

/** The same for a VEX instruction on vector registers. SDM Vol. 2A, 2.4. */
export function avxTrap(cpu: i32, feature: i64): void {
  const trap = load<i32>(cpu + Cpu_fpuTrap);
  if ((load<i64>(cpu + Cpu_features) & feature) != feature || trap & FpuTrap_avxUndefined)
    raise(cpu, Vector_ud);
  if (trap & FpuTrap_simdNotAvailable) raise(cpu, Vector_nm);
}

/** The same for an MMX instruction; then a pending x87 exception. */
export function mmxTrap(cpu: i32, feature: i32): void {
  const trap = load<i32>(cpu + Cpu_fpuTrap);
  if ((load<i32>(cpu + Cpu_features) & feature) == 0 || trap & FpuTrap_mmxUndefined) raise(cpu, Vector_ud);
  if (trap & FpuTrap_simdNotAvailable) raise(cpu, Vector_nm);
  x87PendingError(cpu);
}

/** MASKMOVQ, MASKMOVDQU: `value` and `mask` are addresses of `bytes` bytes. */
export function maskedMove(cpu: i32, address: i64, value: i32, mask: i32, bytes: i32): void {
  // All of it must be writable, whatever the mask (SDM leaves open whether bytes that are not chosen fault).
  probeWrite(cpu, address, bytes);
  for (let i = 0; i < bytes; i++)
    if (load<u8>(mask + i) & 0x80) writeLinear8(cpu, address + i, load<u8>(value + i));
}
