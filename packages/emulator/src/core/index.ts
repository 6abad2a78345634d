/** What core.wasm exports: to the engines (cpu/core-functions.ts, cpu/interpreter.ts) and to the machine. */
export {
  blockAt,
  decodeOnly,
  dropAllCode,
  findBlock,
  findInstruction,
  invalidateCode,
  followJump,
  linkJump,
} from './blocks';
export { afterInstruction, beforeInstruction } from './debug';
export { copyForward, fillForward } from './bulk';
export {
  crc32c,
  fitsSigned128,
  multiplyHigh,
  multiplyHighSigned,
  quotient128,
  quotientSigned128,
} from './divide';
export { checkInterrupts, deliverEvent, injectInterrupt, injectNmi, recordFault } from './events';
export { raise, raiseError, segmentFault } from './fault';
export { checkFlatAddress, checkNearTarget } from './near';
export { popFlags, pushFlagsImage, readFlags, writeFlags } from './flags';
export {
  checkCanonicalStack,
  hostWritePrepare,
  probeRead,
  probeWrite,
  readLinear16,
  readLinear32,
  readLinear64,
  readLinear8,
  translateDebug,
  writeLinear16,
  writeLinear32,
  writeLinear64,
  writeLinear8,
} from './memory';
export { updateMode } from './mode';
export { resetCpu } from './reset';
export { cmps, ins, lods, movs, outs, scas, stos } from './string-entries';
export { beginDirtyInterval, flushTlb, flushTlbAll } from './tlb';
export {
  clearTaskSwitched,
  flushCaches,
  halt,
  invalidatePage,
  loadMachineStatus,
  readControl,
  readExtendedControl,
  requirePrivilege,
  storeMachineStatus,
  writeControl,
  writeExtendedControl,
} from './control';
export { cpuid } from './cpuid';
export { pendDebugTrap, readDebug, writeDebug } from './debug';
export { interruptReady, softwareInterrupt } from './events';
export { clearInterruptFlag, setAlignmentFlag, setInterruptFlag } from './flags';
export { portIn, portOut } from './io';
export {
  fetchDevice8,
  readSupervisor16,
  readSupervisor32,
  readSupervisor64,
  translateExecute,
  writeSupervisor16,
  writeSupervisor32,
  writeSupervisor64,
} from './memory';
export { readMsr, writeMsr } from './msr';
export { rdrand } from './rdrand';
export { initCpu } from './reset';
export { farReturn, interruptReturn } from './return';
export { loadSegment, popSegment } from './segments';
export { swapgs, syscall, sysenter, sysexit, sysret } from './syscall';
export {
  loadAccessRights,
  loadLocalTable,
  loadSegmentLimit,
  loadTable,
  loadTaskRegister,
  requireProtectedMode,
  storeSystemSelector,
  storeTable,
  verifyRead,
  verifyWrite,
} from './tables';
export { readPerformanceCounter, timestampCounter } from './time';
export { flushWriteTlbPage } from './tlb';
export { farCall, farJump } from './transfer';
export {
  fxrstor,
  fxsave,
  x87ClearExceptions,
  x87Initialize,
  x87LoadControl,
  x87LoadEnvironment,
  x87Restore,
  x87Save,
  x87StoreEnvironment,
  xrstor,
  xsave,
} from './fxsave';
export {
  sseAddSubtract,
  sseApproximate,
  sseArithmetic,
  sseCompareFlags,
  sseComparePredicate,
  sseConvertPacked,
  sseConvertScalar,
  sseDotProduct,
  sseFromInteger,
  sseFromIntegers,
  sseRound,
  sseToInteger,
  sseToIntegers,
} from './sse-float';
export { maskedMove, mmxTrap, sseTrap } from './sse-state';
export {
  sseCompareStrings,
  sseHorizontalMinimum,
  sseMultipleSums,
  sseStringIndex,
  sseStringMask,
} from './sse-string';
export {
  x87ArithmeticDouble,
  x87ArithmeticInteger,
  x87ArithmeticRegister,
  x87ArithmeticSingle,
  x87CompareDouble,
  x87CompareFlags,
  x87CompareInteger,
  x87CompareRegister,
  x87CompareSingle,
  x87ConditionalMove,
  x87Examine,
  x87Exchange,
  x87Extract,
  x87RoundToInteger,
  x87Scale,
  x87Sign,
  x87SquareRoot,
  x87Test,
} from './x87-arithmetic';
export { x87NoWait, x87PendingError, x87Wait } from './x87-state';
export {
  x87Free,
  x87LoadBcd,
  x87LoadConstant,
  x87LoadDouble,
  x87LoadExtended,
  x87LoadInteger,
  x87LoadRegister,
  x87LoadSingle,
  x87MoveTop,
  x87Remainder,
  x87RoundDouble,
  x87RoundSingle,
  x87StoreBcd,
  x87StoreDouble,
  x87StoreExtended,
  x87StoreInteger,
  x87StoreRegister,
  x87StoreSingle,
  x87StoreWithoutCheck,
} from './x87-transfer';
export {
  x87Arctangent,
  x87Logarithm,
  x87PowerMinusOne,
  x87Sine,
  x87SineCosine,
  x87Tangent,
} from './x87-transcendental';
