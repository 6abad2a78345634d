/**
 * Lazy arithmetic flags. Two values in the vCPU block hold all six, in a form that every producer can write and
 * every consumer can read without knowing who the producer was:
 *
 *   flagResult (i64): the result, sign-extended from the operand size to 64 bits
 *   flagAux    (i32): CF at bit 0, AF at bit 4, OF at bit 11 (their places in EFLAGS),
 *                     SF delta at bit 7, PF delta at bits 16-23; all other bits are 0
 *
 *   ZF = flagResult == 0
 *   SF = (flagResult < 0) xor bit 7 of flagAux
 *   PF = even parity of ((flagResult xor (flagAux >> 16)) & 0xff)
 *
 * Arithmetic producers write both deltas as 0. An explicit load of the flags (POPF, SAHF, IRET) writes a canonical
 * pair, `flagsToLazy`. Two different pairs can mean the same flags, so state that is compared, hashed or saved goes through EFLAGS.
 */
import { Flag, arithmeticFlags } from './layout.ts';

export interface LazyFlags {
  /** -1n, 0n or 1n after `flagsToLazy`; any sign-extended result otherwise. */
  result: bigint;
  aux: number;
}

const sfDelta = 0x80;

/** The canonical lazy pair for the arithmetic bits of `eflags`. */
export function flagsToLazy(eflags: number): LazyFlags {
  const zf = (eflags & Flag.zf) !== 0;
  const sf = (eflags & Flag.sf) !== 0;
  const pf = (eflags & Flag.pf) !== 0;
  // result 0 has SF 0, PF 1; result 1 has SF 0, PF 0: the deltas make up for the difference.
  const parityOfResult = zf;
  const aux =
    (eflags & (Flag.cf | Flag.af | Flag.of)) | (sf ? sfDelta : 0) | (pf !== parityOfResult ? 0x1_0000 : 0);
  return { result: zf ? 0n : 1n, aux };
}

/** CF PF AF ZF SF OF in their EFLAGS places, from a lazy pair. */
export function lazyToFlags({ result, aux }: LazyFlags): number {
  const r = BigInt.asIntN(64, result);
  let low = (Number(r & 0xffn) ^ (aux >> 16)) & 0xff;
  low ^= low >> 4;
  const parityEven = ((0x6996 >> (low & 15)) & 1) === 0;
  const sf = r < 0n !== ((aux & sfDelta) !== 0);
  return (
    ((aux & (Flag.cf | Flag.af | Flag.of)) |
      (r === 0n ? Flag.zf : 0) |
      (sf ? Flag.sf : 0) |
      (parityEven ? Flag.pf : 0)) &
    arithmeticFlags
  );
}
