/**
 * What the manual leaves undefined, so that two right processors may differ in it. Sources are the pages of the
 * instructions in the SDM, Vol. 2 ("Flags Affected", "FPU Flags Affected"), unless a line says otherwise.
 */
import type { Instruction } from 'iced-x86';
import { MemorySizeExt, OpKind, Register, RegisterExt } from 'iced-x86';
import { flagEffect } from '../../packages/emulator/src/cpu/table/flag-effects.ts';
import type { Case } from './case.ts';
import { linearAddress } from './ignored.ts';
import type { Host } from './processors.ts';

const CF = 0x001;
const AF = 0x010;
const OF = 0x800;
const all = 0x8d5;

export interface Undefined {
  /** EFLAGS bits that are not compared. */
  flags: number;
  /** Numbers of general-purpose registers that are not compared; the memory operand too when `memory`. */
  destination: boolean;
  /** x87 results may differ in the last place (SDM Vol. 1 8.3.10: transcendental instructions, < 1 ulp), C1 with it. */
  ulps: number;
  /** Lanes of single-precision results may differ by the error that the manual allows (RCPPS, RSQRTPS: 1.5 * 2^-12). */
  approximate: boolean;
  /** Bits of the x87 status word that are not compared. */
  status: number;
  /**
   * When it faults on both sides: not defined are `registers` that it had already loaded, which of two operands faults (`operand`),
   * or which of two different faults of one operand or target comes first (`order`), or anything (`everything`).
   */
  fault: 'defined' | 'registers' | 'operand' | 'order' | 'everything';
  /** The memory operand may have to be aligned. */
  alignment: boolean;
  /** The instruction is left out altogether: the host does something else, or may. */
  everything: boolean;
}

/** Everything is defined. */
export const defined: Undefined = {
  flags: 0,
  destination: false,
  ulps: 0,
  approximate: false,
  status: 0,
  fault: 'defined',
  alignment: false,
  everything: false,
};

const transcendental = new Set(['F2XM1', 'FYL2X', 'FYL2XP1', 'FSIN', 'FCOS', 'FSINCOS', 'FPTAN', 'FPATAN']);

function operandBits(instruction: Instruction): number {
  if (instruction.op0Kind === OpKind.Register) return RegisterExt.size(instruction.op0Register) * 8;
  return MemorySizeExt.size(instruction.memorySize) * 8;
}

/** The count as the processor uses it: cut to 5 bits, 6 with 64-bit operands. */
function shiftCount(instruction: Instruction, before: Case, bits: number): number {
  const last = instruction.opCount - 1;
  const kind = instruction.opKind(last);
  const raw =
    kind === OpKind.Register && instruction.opRegister(last) === Register.CL
      ? Number(before.gpr(1) & 0xffn)
      : Number(instruction.immediate(last) & 0xffn);
  return raw & (bits === 64 ? 63 : 31);
}

/** SDM SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR, SHLD, SHRD: "Flags Affected". */
function shiftUndefined(mnemonic: string, instruction: Instruction, before: Case): Undefined {
  const bits = operandBits(instruction);
  const count = shiftCount(instruction, before, bits);
  const result: Undefined = { ...defined };
  if (count === 0) return result;
  if (count > 1) result.flags |= OF;
  if (mnemonic.startsWith('R')) return result;
  result.flags |= AF;
  if (/^SH[LR]D$/.test(mnemonic)) {
    if (count > bits) return { ...result, flags: all, destination: true };
  } else if (mnemonic !== 'SAR' && count >= bits) result.flags |= CF;
  return result;
}

const C1 = 0x200;
/** Sign and exponent of 1.0 and of 2^-2 in the 80-bit format. */
const exponentOfOne = 0x3fff;
const exponentOfQuarter = 0x3ffd;

/** |ST(0)| in a domain in which makers agree: F2XM1 below 1, FYL2XP1 below 1 - sqrt(2)/2 (0.29). */
function insideDomain(mnemonic: string, before: Case): boolean {
  const exponent =
    before.view.getUint16(before.fxsave.byteOffset - before.bytes.byteOffset + 40, true) & 0x7fff;
  return exponent < (mnemonic === 'F2XM1' ? exponentOfOne : exponentOfQuarter);
}

/** Far from the mapped pages the number has lost its low bits. */
const isMisaligned = (address: number): boolean => !Number.isSafeInteger(address) || (address & 15) !== 0;

/** What is left out because the host's processor does otherwise than the emulated one, or nobody knows (processors.ts). */
function byHost(mnemonic: string, instruction: Instruction, before: Case, host: Host): Partial<Undefined> {
  if (/^FU?COMIP?$/.test(mnemonic) && !host.agrees('compareFlagsC1')) return { status: C1 };
  if (mnemonic.startsWith('FCMOV') && !host.agrees('conditionalMoveC1')) return { status: C1 };
  const scan = /^BS[FR]$/.test(mnemonic) && RegisterExt.size(instruction.op0Register) === 4;
  if (scan && !host.agrees('bitScanOfZero')) return { destination: true };
  if (/^SHA(1|256)/.test(mnemonic) && !host.agrees('shaAlignment'))
    return { everything: isMisaligned(linearAddress(instruction, before) ?? 0) };
  if (mnemonic.startsWith('MASKMOV') && !host.agrees('emptyMaskedMove')) return { everything: true };
  if (/^(F2XM1|FYL2XP1)$/.test(mnemonic) && !host.agrees('outOfDomain'))
    return { everything: !insideDomain(mnemonic, before) };
  const image = /^(ENTER|FN?SAVE|FRSTOR|FN?STENV|FLDENV)$/.test(mnemonic);
  if (image && !host.agrees('imageFaults')) return { fault: 'everything' };
  if (mnemonic === 'FBLD' && !host.agrees('outOfDomain')) return { everything: true };
  return {};
}

/** What the manual leaves undefined, whoever made the processor. */
export function undefinedOf(mnemonic: string, instruction: Instruction, before: Case): Undefined {
  if (/^(SAL|SAR|SHL|SHR|ROL|ROR|RCL|RCR|SHLD|SHRD)$/.test(mnemonic))
    return shiftUndefined(mnemonic, instruction, before);
  const result: Undefined = { ...defined, flags: flagEffect(mnemonic).undefined };
  // "When the BSWAP instruction references a 16-bit register, the result is undefined."
  if (mnemonic === 'BSWAP' && RegisterExt.size(instruction.op0Register) === 2) result.destination = true;
  if (/^POPA[WD]?$/.test(mnemonic)) result.fault = 'registers';
  if (/^CMPS[BWDQ]$/.test(mnemonic)) result.fault = 'operand';
  // CALL: a target that is not canonical and a stack that is not there. ARPL: a read-only segment and a page that is not there.
  // Images of the x87: a page that is not there and a segment's limit behind it.
  if (/^(CALL|ARPL|FN?SAVE|FRSTOR|FN?STENV|FLDENV)$/.test(mnemonic)) result.fault = 'order';
  result.alignment = /xmm/.test(instruction.toString()) || /^FX(SAVE|RSTOR)/.test(mnemonic);
  if (/^V?R(CP|SQRT)[PS]S$/.test(mnemonic)) result.approximate = true;
  if (transcendental.has(mnemonic)) {
    result.ulps = 1;
    result.status = C1;
  }
  return result;
}

/** What is not compared on this host. */
export function notCompared(mnemonic: string, instruction: Instruction, before: Case, host: Host): Undefined {
  return { ...undefinedOf(mnemonic, instruction, before), ...byHost(mnemonic, instruction, before, host) };
}
