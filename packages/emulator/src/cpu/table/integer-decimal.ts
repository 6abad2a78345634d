/** Decimal adjustment: AAA, AAS, AAM, AAD, DAA, DAS (SDM Vol. 2, "Operation" of each). Not in 64-bit mode. */
import * as x from '../../wasm/expr.ts';
import type { I32 } from '../../wasm/expr.ts';
import type { InstructionBuilder } from '../builder.ts';
import { row } from './row.ts';
import type { RowDraft, Semantics } from './row.ts';

const rax = 0;
const carryAndAdjust = 0x11;

/** 1 when the low digit of AL is above 9 or AF is set. */
function lowDigitCarries(b: InstructionBuilder, al: I32): I32 {
  return b.let(x.or(x.gtU(x.and(al, 15), 9), b.flags.adjustFlag()));
}

/** AAA and AAS: AX changes by 106H (AAS: by 6, and AH by 1 more), AL keeps its low digit. */
const asciiAdjust =
  (step: number): Semantics =>
  (b) => {
    const ax = b.gpr(rax, 2) as I32;
    const adjust = lowDigitCarries(b, ax);
    const sum = b.let(x.add(ax, x.mul(adjust, step)));
    const result = b.let(x.and(sum, 0xff0f));
    b.setGpr(rax, 2, result);
    b.flags.set(x.and(result, 0xff), 1, x.mul(adjust, carryAndAdjust));
  };

const decimalAdjust =
  (sign: 1 | -1): Semantics =>
  (b) => {
    const al = b.gpr(rax, 1) as I32;
    const oldCarry = b.let(b.flags.carry());
    const low = lowDigitCarries(b, al);
    const high = b.let(x.or(x.gtU(al, 0x99), oldCarry));
    // DAS alone keeps a borrow of its first step.
    const borrow = sign === 1 ? x.i32(0) : x.and(low, x.ltU(al, 6));
    const carry = b.let(x.or(high, borrow));
    const change = x.add(x.mul(low, 6), x.mul(high, 0x60));
    const result = b.let(x.and(sign === 1 ? x.add(al, change) : x.sub(al, change), 0xff));
    b.setGpr(rax, 1, result);
    b.flags.set(result, 1, x.or(carry, x.shl(low, 4)));
  };

const asciiAdjustMultiply: Semantics = (b) => {
  const base = b.read(0) as I32;
  const al = b.gpr(rax, 1) as I32;
  b.if(x.eqz(base), () => b.raise('de'));
  const low = b.let(x.remU(al, base));
  b.setGpr(rax, 2, x.or(x.shl(x.divU(al, base), 8), low));
  b.flags.logic(low, 1);
};

const asciiAdjustDivide: Semantics = (b) => {
  const base = b.read(0) as I32;
  const ax = b.gpr(rax, 2) as I32;
  const result = b.let(x.and(x.add(ax, x.mul(x.shrU(ax, 8), base)), 0xff));
  b.setGpr(rax, 2, result);
  b.flags.logic(result, 1);
};

export const rows: RowDraft[] = [
  row('27', 'DAA', '', { no64: true }, decimalAdjust(1)),
  row('2F', 'DAS', '', { no64: true }, decimalAdjust(-1)),
  row('37', 'AAA', '', { no64: true }, asciiAdjust(0x106)),
  row('3F', 'AAS', '', { no64: true }, asciiAdjust(-0x106)),
  row('D4', 'AAM', 'Ib', { no64: true }, asciiAdjustMultiply),
  row('D5', 'AAD', 'Ib', { no64: true }, asciiAdjustDivide),
];
