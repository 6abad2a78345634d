/** Checks of near transfers. SDM Vol. 2, JMP, CALL, RET: #GP(0) when the target is outside of CS or not canonical. */
import { generalProtection } from './fault';
import { Segment_cs } from './generated/layout';
import { code64, isCanonical, segmentLimit } from './state';

export function checkNearTarget(cpu: i32, target: i64): void {
  if (code64(cpu) ? !isCanonical(target) : (target as u64) > (segmentLimit(cpu, Segment_cs) as u64)) generalProtection(cpu, 0);
}
