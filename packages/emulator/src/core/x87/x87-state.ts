/**
 * The x87 register stack, its status, and the frame of every x87 instruction: enter, compute, leave.
 * SDM Vol. 1, 8.1 and 8.5-8.7.
 *
 * Always: TOP in Cpu.fsw is current; FSW.ES (and B) is set exactly when an unmasked exception flag is set.
 */
import {
  Cpu_cr0,
  Cpu_fcw,
  Cpu_fip,
  Cpu_fop,
  Cpu_fpr,
  Cpu_fpuTrap,
  Cpu_fsw,
  Cpu_ftags,
  Cpu_linearMask,
  Cpu_modeKey,
  Cpu_segments,
  FpuTrap_x87NotAvailable,
  ModeKey_code64,
  ModeKey_codeMask,
  SegmentField_base,
  Segment_cs,
  Vector_mf,
  Vector_nm,
  segmentBytes,
} from '../generated/layout';
import { raise } from '../events/fault';
import { cpuEvent, CpuEvent } from '../host';
import { readLinear8 } from '../memory/memory';
import { Extended } from '../softfloat/softfloat-80';
import { Exception, Soft } from '../softfloat/softfloat-state';

/** Bits of the status word beyond the six exception flags. */
export class Status {
  static readonly stackFault: i32 = 0x40;
  static readonly errorSummary: i32 = 0x80;
  static readonly c0: i32 = 0x100;
  static readonly c1: i32 = 0x200;
  static readonly c2: i32 = 0x400;
  static readonly topShift: i32 = 11;
  static readonly top: i32 = 0x3800;
  static readonly c3: i32 = 0x4000;
  static readonly busy: i32 = 0x8000;
  static readonly conditions: i32 = 0x4700;
}

const cr0NumericError: i64 = 0x20;

export class X87 {
  /** Address of ST(index). */
  static st(cpu: i32, index: i32): i32 {
    const physical = ((load<i32>(cpu + Cpu_fsw) >> Status.topShift) + index) & 7;
    return cpu + Cpu_fpr + (physical << 4);
  }

  /** Address of the tag byte of ST(index). */
  static tag(cpu: i32, index: i32): i32 {
    const physical = ((load<i32>(cpu + Cpu_fsw) >> Status.topShift) + index) & 7;
    return cpu + Cpu_ftags + physical;
  }

  static isEmpty(cpu: i32, index: i32): bool {
    return load<u8>(X87.tag(cpu, index)) != 0;
  }

  static setTop(cpu: i32, change: i32): void {
    const fsw = load<i32>(cpu + Cpu_fsw);
    const top = ((fsw >> Status.topShift) + change) & 7;
    store<i32>(cpu + Cpu_fsw, (fsw & ~Status.top) | (top << Status.topShift));
  }

  static pop(cpu: i32): void {
    store<u8>(X87.tag(cpu, 0), 1);
    X87.setTop(cpu, 1);
  }

  /** Makes the new ST(0) of Soft.significand and Soft.signExponent. */
  static push(cpu: i32): void {
    X87.setTop(cpu, -1);
    store<u8>(X87.tag(cpu, 0), 0);
    X87.write(cpu, 0);
  }

  /** Writes the packed result to ST(index), without touching its tag. */
  static write(cpu: i32, index: i32): void {
    const address = X87.st(cpu, index);
    store<u64>(address, Soft.significand);
    store<u64>(address, Soft.signExponent, 8);
  }

  /** Writes the packed result to ST(index) and marks it as full. */
  static writeFull(cpu: i32, index: i32): void {
    X87.write(cpu, index);
    store<u8>(X87.tag(cpu, index), 0);
  }

  /** Takes rounding, precision and masks from the control word and forgets old flags. SDM Vol. 1, 8.1.5. */
  static enter(cpu: i32): void {
    const control = load<i32>(cpu + Cpu_fcw);
    Soft.rounding = (control >> 10) & 3;
    Soft.masks = control & Exception.all;
    const precision = (control >> 8) & 3;
    Soft.precision = precision == 0 ? 24 : precision == 2 ? 53 : 64;
    Soft.flushToZero = 0;
    Soft.flags = 0;
    Soft.roundedUp = 0;
  }

  /** Sets C1 when the result was rounded up, adds the flags, and the error summary when one is unmasked. */
  static leave(cpu: i32): void {
    // Nothing has been computed when an exception found before is unmasked.
    if (X87.refused()) Soft.flags &= Exception.before;
    let status = load<i32>(cpu + Cpu_fsw) & ~Status.c1;
    if (Soft.flags & Exception.precision && Soft.roundedUp) status |= Status.c1;
    X87.setStatus(cpu, status | Soft.flags);
    if (Soft.flags & ~Soft.masks) X87.rememberOpcode(cpu);
  }

  /** Stores a status word, with the error summary made from flags and masks. */
  static setStatus(cpu: i32, status: i32): void {
    const masks = load<i32>(cpu + Cpu_fcw) & Exception.all;
    if (status & Exception.all & ~masks) status |= Status.errorSummary | Status.busy;
    else status &= ~(Status.errorSummary | Status.busy);
    store<i32>(cpu + Cpu_fsw, status);
  }

  /** Whether an exception that was found before computing is unmasked: no result, no pop. */
  static refused(): bool {
    return (Soft.flags & Exception.before & ~Soft.masks) != 0;
  }

  /**
   * Stack underflow (C1 = 0) or overflow (C1 = 1). SDM Vol. 1, 8.5.1.1. Returns true when masked, with the
   * indefinite as packed result.
   */
  static stackFault(cpu: i32, c1: i32): bool {
    const status = (load<i32>(cpu + Cpu_fsw) & ~Status.c1) | c1 | Status.stackFault | Exception.invalid;
    X87.setStatus(cpu, status);
    Extended.indefinite();
    if (load<i32>(cpu + Cpu_fcw) & Exception.invalid) return true;
    X87.rememberOpcode(cpu);
    return false;
  }

  /**
   * FOP is kept for instructions with an unmasked exception only (SDM Vol. 1, 8.1.9), so it is read again from the
   * code at FIP then: ESC byte and ModRM behind the prefixes.
   */
  static rememberOpcode(cpu: i32): void {
    const in64 = (load<i32>(cpu + Cpu_modeKey) & ModeKey_codeMask) == ModeKey_code64;
    const base = in64 ? 0 : load<i64>(cpu + Cpu_segments + Segment_cs * segmentBytes, SegmentField_base);
    let address = base + load<i64>(cpu + Cpu_fip);
    for (let i = 0; i < 15; i++) {
      const first = readLinear8(cpu, address & load<i64>(cpu + Cpu_linearMask));
      address++;
      if ((first & 0xf8) == 0xd8) {
        const modrm = readLinear8(cpu, address & load<i64>(cpu + Cpu_linearMask));
        store<i32>(cpu + Cpu_fop, ((first & 7) << 8) | modrm);
        return;
      }
    }
  }

  static underflow(cpu: i32): bool {
    return X87.stackFault(cpu, 0);
  }

  /** Underflow of an instruction that writes ST(index) and pops `pops` times. */
  static underflowInto(cpu: i32, index: i32, pops: i32): void {
    if (!X87.underflow(cpu)) return;
    X87.writeFull(cpu, index);
    for (let i = 0; i < pops; i++) X87.pop(cpu);
  }

  /** End of a computing instruction: flags, then, unless refused, the packed result to ST(index) and the pops. */
  static complete(cpu: i32, index: i32, pops: i32): void {
    X87.leave(cpu);
    if (X87.refused()) return;
    X87.write(cpu, index);
    for (let i = 0; i < pops; i++) X87.pop(cpu);
  }

  /** End of a load: flags, then a push of the packed result; only an unmasked invalid operation (not a denormal) stops it. */
  static completePush(cpu: i32): void {
    X87.leave(cpu);
    if ((Soft.flags & Exception.invalid & ~Soft.masks) == 0) X87.push(cpu);
  }

  /** True when there is no room for a push; the stack overflow is then already dealt with. */
  static overflows(cpu: i32): bool {
    if (X87.isEmpty(cpu, 7)) return false;
    if (X87.stackFault(cpu, Status.c1)) X87.push(cpu);
    return true;
  }

  static clearC1(cpu: i32): void {
    store<i32>(cpu + Cpu_fsw, load<i32>(cpu + Cpu_fsw) & ~Status.c1);
  }
}

/**
 * What every x87 instruction but the control instructions does first when Cpu.fpuTrap or FSW.ES says so:
 * #NM, then a pending unmasked exception: #MF, or FERR# to the interrupt controller when CR0.NE is 0 (SDM Vol. 3A, 2.5).
 */
export function x87Wait(cpu: i32): void {
  if (load<i32>(cpu + Cpu_fpuTrap) & FpuTrap_x87NotAvailable) raise(cpu, Vector_nm);
  x87PendingError(cpu);
}

/** Reports a pending unmasked exception; also for WAIT and for MMX instructions. */
export function x87PendingError(cpu: i32): void {
  if ((load<i32>(cpu + Cpu_fsw) & Status.errorSummary) == 0) return;
  if (load<i64>(cpu + Cpu_cr0) & cr0NumericError) raise(cpu, Vector_mf);
  cpuEvent(cpu, CpuEvent.numericError);
}

/** #NM alone: for the control instructions that don't wait (FNINIT, FNSTCW, …). */
export function x87NoWait(cpu: i32): void {
  if (load<i32>(cpu + Cpu_fpuTrap) & FpuTrap_x87NotAvailable) raise(cpu, Vector_nm);
}
