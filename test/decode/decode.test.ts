/** Validity and length of 200,000 byte strings against iced-x86; `node test/decode/decode.ts --count 10000000` does more. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareDecoders } from './compare.ts';
import { corpusDecoder } from './emulated.ts';

const seed = Number(process.env['REVENANT_FUZZ_SEED'] ?? 1);
const stringsPerMode = Number(process.env['REVENANT_DECODE_STRINGS'] ?? 67_000);

test(`decoding agrees with iced-x86 (seed ${seed}, ${stringsPerMode} strings in each mode)`, async () => {
  const decoder = await corpusDecoder();
  for (const mode of [16, 32, 64] as const) {
    const result = compareDecoders(decoder, mode, seed, stringsPerMode);
    assert.deepEqual(result.groups, [], `${mode}-bit`);
    assert.equal(result.strings, stringsPerMode);
  }
});
