/** The whole instruction table; a row's id is its place in it. */
import { rows as aluRows } from './integer-alu.ts';
import { rows as controlRows } from './integer-control.ts';
import { rows as moveRows } from './integer-move.ts';
import { rows as stackRows } from './integer-stack.ts';
import type { Row, RowDraft } from './row.ts';

const drafts: readonly RowDraft[] = [...aluRows, ...moveRows, ...stackRows, ...controlRows];

export const instructionTable: readonly Row[] = drafts.map((draft, id) => ({ ...draft, id }));
