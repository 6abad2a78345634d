/** The instruction table as the disassembler searches it. */
import { opcodeKey, specificity } from '../cpu/decode-tables.ts';
import type { Row } from '../cpu/table/row.ts';

const indexes = new WeakMap<readonly Row[], Map<number, Row[]>>();

/** Rows by their place in the decoder's index, the more specific ones first. */
export function candidatesByOpcode(rows: readonly Row[]): ReadonlyMap<number, readonly Row[]> {
  let index = indexes.get(rows);
  if (index !== undefined) return index;
  index = new Map<number, Row[]>();
  for (const row of rows) {
    for (let i = 0; i < (row.encoding.registerInOpcode ? 8 : 1); i++) {
      const key = opcodeKey(row.encoding) + i;
      const list = index.get(key);
      if (list === undefined) index.set(key, [row]);
      else list.push(row);
    }
  }
  for (const list of index.values()) list.sort((a, b) => specificity(b) - specificity(a));
  indexes.set(rows, index);
  return index;
}

/** Bytes of the first and second immediate; negative: sign-extended. */
export function immediateBytes({ operands }: Row, size: number): readonly [number, number] {
  const texts = operands.map(({ text }) => text);
  if (operands.some(({ place }) => place === 'is4')) return [1, 0];
  if (texts.includes('Iw') && texts.includes('Ib')) return [2, 1];
  for (const text of texts) {
    switch (text) {
      case 'Ib':
        return [1, 0];
      case 'Ibs':
      case 'Jb':
        return [-1, 0];
      case 'Iw':
        return [2, 0];
      case 'Iz':
      case 'Jz':
        return [size === 2 ? -2 : -4, 0];
      case 'Iv':
        return [-size, 0];
      case 'Ap':
        return [size === 2 ? 2 : 4, 2];
    }
  }
  return [0, 0];
}
