/** What core.wasm exports: to the engines (cpu/core-functions.ts, cpu/interpreter.ts) and to the machine. */
export {
  blockAt,
  decodeOnly,
  dropAllCode,
  findBlock,
  findInstruction,
  invalidateCode,
  followJump,
  followNear,
  linkJump,
} from './decode/blocks';
export { atBreakpoint } from './events/breakpoints';
export { afterInstruction, beforeInstruction } from './events/debug';
export { copyForward, fillForward } from './memory/bulk';
export {
  crc32c,
  fitsSigned128,
  multiplyHigh,
  multiplyHighSigned,
  quotient128,
  quotientSigned128,
} from './integer/divide';
export { depositBits, extractBits } from './integer/bits';
export { checkInterrupts, deliverEvent, injectInterrupt, injectNmi, recordFault } from './events/events';
export { raise, raiseError, segmentFault } from './events/fault';
export { checkFlatAddress, checkNearTarget } from './events/near';
export { popFlags, pushFlagsImage, readFlags, writeFlags } from './integer/flags';
export {
  checkCanonicalStack,
  hostWritePrepare,
  probeRead,
  probeWrite,
  readLinear16,
  readLinear32,
  readLinear64,
  readLinear8,
  readWide,
  translateDebug,
  writeLinear16,
  writeLinear32,
  writeLinear64,
  writeLinear8,
  writeWide,
} from './memory/memory';
export { updateMode } from './system/mode';
export { resetCpu } from './system/reset';
export { cmps, ins, lods, movs, outs, scas, stos } from './integer/string-entries';
// The host's flush believes no list: memory may be new.
export {
  beginDirtyInterval,
  clearDirty,
  debugChanged,
  flushTlb,
  resetTlb as flushTlbAll,
} from './memory/tlb';
export {
  clearTaskSwitched,
  flushCaches,
  halt,
  invalidatePage,
  loadMachineStatus,
  pause,
  requireControl,
  readExtendedControl,
  requirePrivilege,
  storeMachineStatus,
  writeControl,
  writeExtendedControl,
} from './events/control';
export { cpuid } from './system/cpuid';
export { pendDebugTrap, readDebug, writeDebug } from './events/debug';
export { interruptReady, softwareInterrupt } from './events/events';
export { clearInterruptFlag, setAlignmentFlag, setInterruptFlag } from './integer/flags';
export { portIn, portOut } from './memory/io';
export {
  fetchDevice8,
  readSupervisor16,
  readSupervisor32,
  readSupervisor64,
  translateExecute,
  writeSupervisor16,
  writeSupervisor32,
  writeSupervisor64,
} from './memory/memory';
export { readMsr, writeMsr } from './system/msr';
export { rdrand } from './system/rdrand';
export { initCpu } from './system/reset';
export { farReturn, interruptReturn } from './events/return';
export { loadSegment, popSegment } from './system/segments';
export { swapgs, syscall, sysenter, sysexit, sysret } from './events/syscall';
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
} from './decode/tables';
export { readPerformanceCounter, timestampCounter } from './system/time';
export { flushWriteTlbPage } from './memory/tlb';
export { farCall, farJump } from './events/transfer';
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
  xsavec,
} from './x87/fxsave';
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
} from './sse/sse-float';
export { sseFromHalves, sseMultiplyAdd, sseToHalves } from './sse/sse-fused';
export {
  sseAesKeyAssist,
  sseAesMixKey,
  sseAesRound,
  sseCarrylessMultiply,
  sseSha1Rounds,
  sseSha1Step,
  sseSha256Message,
  sseSha256Rounds,
} from './sse/sse-crypto';
export { gather, maskedLoad, maskedStore } from './sse/vector-memory';
export { avxTrap, maskedMove, mmxTrap, sseHold, sseRelease, sseTrap } from './sse/sse-state';
export {
  sseCompareStrings,
  sseHorizontalMinimum,
  sseMultipleSums,
  sseStringIndex,
  sseStringMask,
} from './sse/sse-string';
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
} from './x87/x87-arithmetic';
export { x87NoWait, x87PendingError, x87Wait } from './x87/x87-state';
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
} from './x87/x87-transfer';
export {
  x87Arctangent,
  x87Logarithm,
  x87PowerMinusOne,
  x87Sine,
  x87SineCosine,
  x87Tangent,
} from './x87/x87-transcendental';
