/**
 * Compares our decoder with iced-x86 on validity and length.
 *
 *   node test/decode/decode.ts [--count N] [--seed N] [--mode 16|32|64]
 *
 * N strings in each mode (default 1,000,000); differences are grouped by what iced-x86 calls the instruction.
 */
import { parseArgs } from 'node:util';
import type { Mode } from '../native/case.ts';
import { compareDecoders } from './compare.ts';
import { corpusDecoder } from './emulated.ts';

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '1000000' },
    seed: { type: 'string', default: '1' },
    mode: { type: 'string', default: '16,32,64' },
  },
});
const decoder = await corpusDecoder();
let total = 0;
for (const mode of values.mode.split(',').map((text) => Number(text) as Mode)) {
  const result = compareDecoders(decoder, mode, Number(values.seed), Number(values.count));
  for (const group of result.groups) {
    process.stdout.write(
      `${mode}-bit ${group.count} × ${group.name}: iced ${group.iced}, ours ${group.ours}, for example ${group.example}\n`,
    );
  }
  process.stdout.write(
    `${mode}-bit: ${result.strings} strings, ${result.differences} differences, ${result.justified} justified ones\n`,
  );
  total += result.differences;
}
process.exitCode = total === 0 ? 0 : 1;
