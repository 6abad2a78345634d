/** Checks of near transfers. SDM Vol. 2, JMP, CALL, RET: #GP(0) when the target is outside of CS or not canonical. */
import { generalProtection, segmentFault } from './fault';
import { Cpu_segments, Segment_cs, Segment_ss, segmentBytes } from '../generated/layout';
import { checkCanonicalStack } from '../memory/memory';
import { code64, isCanonical, segmentLimit } from '../state';

/**
 * An access of `bytes` at `la` through the segment at `segmentOffset`, which has no limit but 4 GiB: #GP(0), or #SS(0) through SS, beyond it.
 * In 64-bit mode: #SS(0) when a stack address is not canonical (SDM Vol. 1, 3.3.7.1); others are found later.
 */
export function checkFlatAddress(cpu: i32, la: i64, bytes: i32, segmentOffset: i32): void {
  if (code64(cpu)) {
    if (segmentOffset == Cpu_segments + Segment_ss * segmentBytes) checkCanonicalStack(cpu, la, bytes);
  } else if (la + bytes > 0x1_0000_0000) segmentFault(cpu, segmentOffset);
}

export function checkNearTarget(cpu: i32, target: i64): void {
  if (code64(cpu) ? !isCanonical(target) : (target as u64) > (segmentLimit(cpu, Segment_cs) as u64))
    generalProtection(cpu, 0);
}
