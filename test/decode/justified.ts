/** Differences from iced-x86 in which we follow the manual, or the processor, and why. */
import { Code } from 'iced-x86';
import type { Mode } from '../native/case.ts';

interface Justification {
  reason: string;
  applies(difference: { mode: Mode; bytes: Uint8Array; code: Code; iced: number; ours: number }): boolean;
}

export const justifications: readonly Justification[] = [
  {
    reason: 'RDSEED is decoded, and refused when it is executed on a processor model without it',
    applies: ({ code }) => code === Code.Rdseed_r16 || code === Code.Rdseed_r32 || code === Code.Rdseed_r64,
  },
];

/** Why this difference is right, or undefined. Lengths are 0 for invalid. */
export function justification(
  mode: Mode,
  bytes: Uint8Array,
  code: Code,
  iced: number,
  ours: number,
): string | undefined {
  return justifications.find((one) => one.applies({ mode, bytes, code, iced, ours }))?.reason;
}
