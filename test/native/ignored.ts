/** Parts of the results that processors of different makers fill differently: pointers of the x87, reserved areas of images. */
import { type Instruction, Register, RegisterExt } from 'iced-x86';
import { type Case, segmentBase } from './case.ts';
import type { IgnoredMemory } from './compare.ts';

const segmentOrder = [Register.ES, Register.CS, Register.SS, Register.DS, Register.FS, Register.GS];

function registerValue(c: Case, register: Register): bigint {
  if (register === Register.None) return 0n;
  const bits = RegisterExt.size(register) * 8;
  return BigInt.asUintN(bits, c.gpr(RegisterExt.fullRegister(register) - Register.RAX));
}

/** Linear address of the memory operand, or undefined without one. */
export function linearAddress(instruction: Instruction, c: Case): number | undefined {
  const segment = segmentOrder.indexOf(instruction.memorySegment);
  if (segment < 0) return undefined;
  const base = instruction.memoryBase;
  const index = instruction.memoryIndex;
  const displacement = instruction.memoryDisplacement;
  if (instruction.isIpRelMemoryOperand)
    return Number(instruction.ipRelMemoryAddress) + segmentBase(c.mode, segment);
  const sum =
    registerValue(c, base) + registerValue(c, index) * BigInt(instruction.memoryIndexScale) + displacement;
  const register = base !== Register.None ? base : index;
  const bits = register !== Register.None ? RegisterExt.size(register) * 8 : 64;
  return Number(BigInt.asUintN(bits, sum)) + segmentBase(c.mode, segment);
}

/** Byte ranges [start, end) of an image in memory. */
type Ranges = readonly (readonly [number, number])[];

const pointers28: Ranges = [[12, 28]];
const pointers14: Ranges = [[6, 14]];
/** FCS/FIP/FDS/FDP, MXCSR_MASK, and what is reserved (SDM Vol. 1 table 10-2). */
const fxsave: Ranges = [
  [5, 24],
  [28, 32],
  ...Array.from({ length: 8 }, (_, i) => [42 + 16 * i, 48 + 16 * i] as const),
  [416, 512],
];

const images: readonly (readonly [RegExp, Ranges])[] = [
  [/^Fnstenv_m28|^Fnsave_m108/, pointers28],
  [/^Fnstenv_m14|^Fnsave_m94/, pointers14],
  [/^Fxsave/, fxsave],
];

/** Bytes that `name` writes and that are not compared. */
export function ignoredMemory(
  name: string,
  instruction: Instruction,
  before: Case,
): IgnoredMemory | undefined {
  const ranges = images.find(([pattern]) => pattern.test(name))?.[1];
  const address = ranges === undefined ? undefined : linearAddress(instruction, before);
  if (ranges === undefined || address === undefined) return undefined;
  return (at) => ranges.some(([low, high]) => at - address >= low && at - address < high);
}
