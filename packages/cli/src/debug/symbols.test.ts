/** Names of addresses, from a guest's symbol table. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { parseSymbols } from './symbols.ts';

test('names of addresses: the symbol before, of code only, and not far away', () => {
  const nameOf = parseSymbols(
    '0000000000001000 T start\n0000000000001040 t helper\n0000000000001050 D data\n\nnonsense\n',
  );
  assert.deepEqual([0xfffn, 0x1000n, 0x103fn, 0x1055n, 0x90_0000n].map(nameOf), [
    undefined,
    'start',
    'start',
    'helper',
    undefined,
  ]);
});
