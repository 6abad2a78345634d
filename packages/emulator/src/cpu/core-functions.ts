/**
 * Functions of core.wasm that semantics may call: types of parameters and result. The first parameter, the vCPU block,
 * is left out here and added by the builder. Any of them may raise a guest fault, which unwinds to the run loop.
 */
import type { FunctionType } from '../wasm/code.ts';
import type { WasmType } from '../wasm/expr.ts';

function f(params: readonly WasmType[], result?: WasmType): FunctionType {
  return { params: ['i32', ...params], result };
}

export const coreFunctions = {
  // memory.ts
  readLinear8: f(['i64'], 'i32'),
  readLinear16: f(['i64'], 'i32'),
  readLinear32: f(['i64'], 'i32'),
  readLinear64: f(['i64'], 'i64'),
  writeLinear8: f(['i64', 'i32']),
  writeLinear16: f(['i64', 'i32']),
  writeLinear32: f(['i64', 'i32']),
  writeLinear64: f(['i64', 'i64']),
  probeRead: f(['i64', 'i32']),
  probeWrite: f(['i64', 'i32']),
  /** 32 bytes into Cpu.scratch, or from there. */
  readWide: f(['i64']),
  writeWide: f(['i64']),
  // faults
  raise: f(['i32']),
  raiseError: f(['i32', 'i32']),
  segmentFault: f(['i32']),
  // flags.ts
  readFlags: f([], 'i32'),
  writeFlags: f(['i32', 'i32']),
  popFlags: f(['i32', 'i32']),
  pushFlagsImage: f(['i32'], 'i32'),
  // transfer.ts: #GP(0) when a near target is outside of CS or not canonical
  checkNearTarget: f(['i64']),
  // strings.ts: 1 = finished, 0 = interrupted (RIP stays on the instruction)
  movs: f(['i32'], 'i32'),
  cmps: f(['i32'], 'i32'),
  stos: f(['i32'], 'i32'),
  lods: f(['i32'], 'i32'),
  scas: f(['i32'], 'i32'),
  // bulk.ts, without the vCPU block
  copyForward: { params: ['i32', 'i32', 'i32'] } as FunctionType,
  fillForward: { params: ['i32', 'i32', 'i64'] } as FunctionType,
  // divide.ts
  multiplyHigh: f(['i64', 'i64'], 'i64'),
  multiplyHighSigned: f(['i64', 'i64'], 'i64'),
  quotient128: f(['i64', 'i64', 'i64'], 'i64'),
  fitsSigned128: f(['i64', 'i64', 'i64'], 'i32'),
  quotientSigned128: f(['i64', 'i64', 'i64'], 'i64'),
  depositBits: f(['i64', 'i64'], 'i64'),
  extractBits: f(['i64', 'i64'], 'i64'),
  crc32c: f(['i32', 'i64', 'i32'], 'i32'),
  // near.ts: accesses through segments without base and limit
  checkFlatAddress: f(['i64', 'i32', 'i32']),
  // rdrand.ts
  rdrand: f([], 'i64'),
  // segments.ts
  loadSegment: f(['i32', 'i32']),
  popSegment: f(['i32', 'i32']),
  // transfer.ts, return.ts, syscall.ts: they set Cpu.rip
  farJump: f(['i32', 'i64', 'i32', 'i64']),
  farCall: f(['i32', 'i64', 'i32', 'i64']),
  farReturn: f(['i32', 'i32']),
  interruptReturn: f(['i32', 'i64']),
  softwareInterrupt: f(['i32', 'i64', 'i32', 'i32']),
  sysenter: f(['i64']),
  sysexit: f(['i32']),
  syscall: f(['i64']),
  sysret: f(['i32']),
  swapgs: f([]),
  // io.ts, string-entries.ts
  portIn: f(['i32', 'i32'], 'i32'),
  portOut: f(['i32', 'i32', 'i32']),
  ins: f(['i32'], 'i32'),
  outs: f(['i32'], 'i32'),
  // control.ts, debug.ts, msr.ts, cpuid.ts, time.ts
  requireControl: f(['i32']),
  writeControl: f(['i32', 'i64']),
  readDebug: f(['i32'], 'i64'),
  writeDebug: f(['i32', 'i64']),
  requirePrivilege: f([]),
  loadMachineStatus: f(['i32']),
  storeMachineStatus: f([], 'i64'),
  clearTaskSwitched: f([]),
  invalidatePage: f(['i64']),
  halt: f([]),
  pause: f([]),
  flushCaches: f([]),
  readExtendedControl: f([]),
  writeExtendedControl: f([]),
  clearInterruptFlag: f([]),
  setInterruptFlag: f([], 'i32'),
  setAlignmentFlag: f(['i32']),
  readMsr: f([]),
  writeMsr: f([]),
  cpuid: f([]),
  timestampCounter: f([], 'i64'),
  readPerformanceCounter: f([]),
  // tables.ts
  storeTable: f(['i32', 'i64']),
  loadTable: f(['i32', 'i64', 'i32']),
  storeSystemSelector: f(['i32'], 'i32'),
  loadLocalTable: f(['i32']),
  loadTaskRegister: f(['i32']),
  loadAccessRights: f(['i32'], 'i64'),
  loadSegmentLimit: f(['i32'], 'i64'),
  verifyRead: f(['i32'], 'i32'),
  verifyWrite: f(['i32'], 'i32'),
  requireProtectedMode: f([]),
  // blocks.ts
  linkJump: f(['i32', 'i32'], 'i32'),
  followJump: f([], 'i32'),
  followNear: f(['i32'], 'i32'),
  // sse-state.ts, fxsave.ts: traps take a CpuFeature bit
  sseTrap: f(['i64']),
  avxTrap: f(['i64']),
  sseHold: f([]),
  sseRelease: f([]),
  mmxTrap: f(['i32']),
  maskedMove: f(['i64', 'i32', 'i32', 'i32']),
  // vector-memory.ts: mask and value in Cpu.scratch; record, effective address, lane bytes, all bytes
  maskedLoad: f(['i32', 'i64', 'i32', 'i32']),
  maskedStore: f(['i32', 'i64', 'i32', 'i32']),
  gather: f(['i32', 'i32', 'i32', 'i32']),
  fxsave: f(['i64', 'i32']),
  fxrstor: f(['i64', 'i32']),
  xsave: f(['i64', 'i32', 'i32']),
  xsavec: f(['i64', 'i32']),
  xrstor: f(['i64', 'i32']),
  // sse-float.ts, sse-string.ts: operands and result in Cpu.scratch
  sseArithmetic: f(['i32', 'i32', 'i32']),
  sseAddSubtract: f(['i32']),
  sseComparePredicate: f(['i32', 'i32', 'i32']),
  sseCompareFlags: f(['i64', 'i64', 'i32', 'i32']),
  sseConvertScalar: f(['i64', 'i32'], 'i64'),
  sseConvertPacked: f(['i32']),
  sseFromInteger: f(['i64', 'i32'], 'i64'),
  sseFromIntegers: f(['i32', 'i32']),
  sseToInteger: f(['i64', 'i32', 'i32', 'i32'], 'i64'),
  sseToIntegers: f(['i32', 'i32', 'i32']),
  sseRound: f(['i32', 'i32', 'i32']),
  sseDotProduct: f(['i32', 'i32']),
  sseApproximate: f(['i32', 'i32']),
  sseCompareStrings: f(['i32', 'i32', 'i64', 'i64'], 'i32'),
  sseStringIndex: f(['i32', 'i32'], 'i32'),
  sseStringMask: f(['i32', 'i32']),
  sseMultipleSums: f(['i32']),
  sseHorizontalMinimum: f([]),
  // sse-fused.ts, sse-crypto.ts: the same
  sseMultiplyAdd: f(['i32', 'i32', 'i32']),
  sseFromHalves: f([]),
  sseToHalves: f(['i32']),
  sseAesRound: f(['i32', 'i32']),
  sseAesMixKey: f([]),
  sseAesKeyAssist: f(['i32']),
  sseCarrylessMultiply: f(['i32']),
  sseSha1Rounds: f(['i32']),
  sseSha1Step: f(['i32']),
  sseSha256Rounds: f(['i32', 'i32']),
  sseSha256Message: f(['i32']),
  // x87-*.ts, fxsave.ts
  x87Wait: f([]),
  x87NoWait: f([]),
  x87PendingError: f([]),
  x87ArithmeticRegister: f(['i32', 'i32', 'i32', 'i32']),
  x87ArithmeticSingle: f(['i32', 'i32']),
  x87ArithmeticDouble: f(['i32', 'i64']),
  x87ArithmeticInteger: f(['i32', 'i32']),
  x87CompareRegister: f(['i32', 'i32', 'i32']),
  x87CompareSingle: f(['i32', 'i32']),
  x87CompareDouble: f(['i64', 'i32']),
  x87CompareInteger: f(['i32', 'i32']),
  x87CompareFlags: f(['i32', 'i32', 'i32']),
  x87Test: f([]),
  x87Examine: f([]),
  x87Sign: f(['i32', 'i32']),
  x87SquareRoot: f([]),
  x87RoundToInteger: f([]),
  x87Exchange: f(['i32']),
  x87ConditionalMove: f(['i32', 'i32']),
  x87Extract: f([]),
  x87Scale: f([]),
  x87LoadRegister: f(['i32']),
  x87LoadSingle: f(['i32']),
  x87LoadDouble: f(['i64']),
  x87LoadExtended: f(['i64', 'i32']),
  x87LoadInteger: f(['i64']),
  x87LoadConstant: f(['i32']),
  x87LoadBcd: f(['i64', 'i32']),
  x87StoreRegister: f(['i32', 'i32']),
  x87StoreWithoutCheck: f(['i32']),
  x87RoundSingle: f([], 'i32'),
  x87RoundDouble: f([], 'i64'),
  x87StoreSingle: f(['i64', 'i32']),
  x87StoreDouble: f(['i64', 'i32']),
  x87StoreExtended: f(['i64']),
  x87StoreInteger: f(['i64', 'i32', 'i32', 'i32']),
  x87StoreBcd: f(['i64']),
  x87Remainder: f(['i32']),
  x87Free: f(['i32', 'i32']),
  x87MoveTop: f(['i32']),
  x87Initialize: f([]),
  x87StoreEnvironment: f(['i64', 'i32']),
  x87LoadEnvironment: f(['i64', 'i32']),
  x87Save: f(['i64', 'i32']),
  x87Restore: f(['i64', 'i32']),
  x87LoadControl: f(['i32']),
  x87ClearExceptions: f([]),
  x87PowerMinusOne: f([]),
  x87Logarithm: f(['i32']),
  x87Arctangent: f([]),
  x87Sine: f(['i32']),
  x87SineCosine: f([]),
  x87Tangent: f([]),
} as const satisfies Record<string, FunctionType>;

export type CoreFunctionName = keyof typeof coreFunctions;

/** Functions of their arguments alone: they neither fault nor touch the vCPU block, so translated code may call them. */
export const pureFunctions: ReadonlySet<CoreFunctionName> = new Set([
  'multiplyHigh',
  'multiplyHighSigned',
  'quotient128',
  'fitsSigned128',
  'quotientSigned128',
  'depositBits',
  'extractBits',
  'crc32c',
]);

/**
 * Functions that touch nothing of the vCPU block but the floating-point state (and, where `flagFunctions` says so, the status
 * flags), and that raise no fault as long as all exceptions of their unit are masked. Stores take a probed address.
 */
const stateFunction =
  /^(sse(?!Trap)|x87(?!Wait|NoWait|PendingError|StoreEnvironment|LoadEnvironment|Save|Restore))/;

/** The unit whose exceptions must be masked when translated code calls `name` directly; undefined when it must not. */
export function floatingPointUnit(name: CoreFunctionName): 'sse' | 'x87' | undefined {
  if (!stateFunction.test(name)) return undefined;
  return name.startsWith('sse') ? 'sse' : 'x87';
}

/** Those that write the status flags into the vCPU block. */
export const flagFunctions: ReadonlySet<CoreFunctionName> = new Set([
  'sseCompareFlags',
  'sseCompareStrings',
  'x87CompareFlags',
]);

/** What an instruction calls to raise the reason why it can't be executed now. */
export const trapFunctions: ReadonlySet<CoreFunctionName> = new Set([
  'raise',
  'raiseError',
  'sseTrap',
  'avxTrap',
  'sseHold',
  'sseRelease',
  'mmxTrap',
  'x87Wait',
  'x87NoWait',
]);
