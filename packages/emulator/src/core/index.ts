/** What core.wasm exports: to the engines (cpu/core-functions.ts, cpu/interpreter.ts) and to the machine. */
export { decodeOnly, dropAllCode, findBlock, findInstruction, invalidateCode, linkJump } from './blocks';
export { afterInstruction, beforeInstruction } from './debug';
export { crc32c, divide128, divideSigned128, multiplyHigh, multiplyHighSigned } from './divide';
export { checkInterrupts, deliverEvent, injectInterrupt, injectNmi, recordFault } from './events';
export { raise, raiseError, segmentFault } from './fault';
export { checkNearTarget } from './near';
export { popFlags, pushFlagsImage, readFlags, writeFlags } from './flags';
export {
  checkCanonicalStack, hostWritePrepare, probeRead, probeWrite, readLinear16, readLinear32, readLinear64, readLinear8, translateDebug, writeLinear16,
  writeLinear32, writeLinear64, writeLinear8,
} from './memory';
export { updateMode } from './mode';
export { resetCpu } from './reset';
export { cmps, ins, lods, movs, outs, scas, stos } from './string-entries';
export { beginDirtyInterval, flushTlb, flushTlbAll } from './tlb';
