/** The x87 tag word (SDM Vol. 1 8.1.7): two bits for each physical register, worked out from its contents as FSAVE does. */
import type { CpuState } from '@revenant/emulator';

const Tag = { valid: 0, zero: 1, special: 2, empty: 3 } as const;

function tagOf(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const significand = view.getBigUint64(0, true);
  const exponent = view.getUint16(8, true) & 0x7fff;
  if (exponent === 0 && significand === 0n) return Tag.zero;
  // Infinities, NaNs, denormals, and what is not normalized.
  if (exponent === 0x7fff || exponent === 0 || significand >> 63n === 0n) return Tag.special;
  return Tag.valid;
}

export function tagWord({ ftags, fpr }: Pick<CpuState, 'ftags' | 'fpr'>): number {
  let word = 0;
  for (let n = 0; n < 8; n++) {
    const tag = ftags[n] === 0 ? tagOf(fpr.subarray(n * 16, n * 16 + 10)) : Tag.empty;
    word |= tag << (2 * n);
  }
  return word;
}

/** Only whether a register is empty can be set; the rest follows from what it holds. */
export function withTagWord(word: number): Uint8Array {
  return Uint8Array.from({ length: 8 }, (_, n) => (((word >> (2 * n)) & 3) === Tag.empty ? 1 : 0));
}
