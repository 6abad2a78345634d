/** The whole instruction table; a row's id is its place in it. */
import { rows as aluRows } from './integer-alu.ts';
import { rows as bitRows } from './integer-bit.ts';
import { rows as bmiRows } from './integer-bmi.ts';
import { rows as controlRows } from './integer-control.ts';
import { rows as decimalRows } from './integer-decimal.ts';
import { rows as miscRows } from './integer-misc.ts';
import { rows as moveRows } from './integer-move.ts';
import { rows as multiplyRows } from './integer-multiply.ts';
import { rows as shiftRows } from './integer-shift.ts';
import { rows as stackRows } from './integer-stack.ts';
import { rows as systemRows } from './system.ts';
import { rows as sseConvertRows } from './sse-convert.ts';
import { rows as sseFloatRows } from './sse-float.ts';
import { rows as sseIntegerRows } from './sse-integer.ts';
import { rows as sseMoveRows } from './sse-move.ts';
import { rows as sseShuffleRows } from './sse-shuffle.ts';
import { rows as x87Rows } from './x87.ts';
import { rows as avxDerivedRows } from './avx-derived.ts';
import { rows as avxRows } from './avx.ts';
import { rows as fmaRows } from './fma.ts';
import { rows as cryptoRows } from './crypto.ts';
import type { Row, RowDraft } from './row.ts';

const drafts: readonly RowDraft[] = [
  ...aluRows,
  ...moveRows,
  ...stackRows,
  ...controlRows,
  ...shiftRows,
  ...bitRows,
  ...multiplyRows,
  ...decimalRows,
  ...systemRows,
  ...miscRows,
  ...sseMoveRows,
  ...sseIntegerRows,
  ...sseShuffleRows,
  ...sseFloatRows,
  ...sseConvertRows,
  ...x87Rows,
  ...bmiRows,
  ...avxDerivedRows,
  ...avxRows,
  ...fmaRows,
  ...cryptoRows,
];

export const instructionTable: readonly Row[] = drafts.map((draft, id) => ({ ...draft, id }));
