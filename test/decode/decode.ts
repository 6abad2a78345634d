/** Compares our decoder with iced-x86 on validity and length. `--help` says with which options. */
import { define } from '../../packages/cli/src/command/command.ts';
import { dispatchOne } from '../../packages/cli/src/command/dispatch.ts';
import { value, type Values } from '../../packages/cli/src/command/options.ts';
import { commaSeparated, oneOf, wholeNumber } from '../../packages/cli/src/command/values.ts';
import { inOneLine } from '../../packages/cli/src/main.ts';
import type { Mode } from '../native/case.ts';
import { compareDecoders } from './compare.ts';
import { corpusDecoder } from './emulated.ts';

const optionTable = {
  count: value('N', 'strings in each mode (default 1000000)', wholeNumber(1), 1_000_000),
  seed: value('N', 'which ones (default 1)', wholeNumber(), 1),
  mode: value('LIST', '16, 32, 64 (default: all)', commaSeparated(oneOf(['16', '32', '64'])), [
    '16',
    '32',
    '64',
  ]),
};

const command = define({
  words: [],
  about:
    'Differences are grouped by what iced-x86 calls the instruction. Exit code 1: there are some that nobody has justified.',
  options: optionTable,
  examples: ['--count 3400000 --seed 12'],
  run: ({ options }) => compare(options),
});

async function compare({ count, seed, mode: modes }: Values<typeof optionTable>): Promise<number> {
  const decoder = await corpusDecoder();
  let total = 0;
  for (const mode of modes.map((text) => Number(text) as Mode)) {
    const result = compareDecoders(decoder, mode, seed, count);
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
  return total === 0 ? 0 : 1;
}

process.exitCode = await inOneLine('decode', () =>
  dispatchOne(
    {
      path: 'node test/decode/decode.ts',
      summary: 'random byte strings and mutated instructions: are they valid, and how long?',
      command,
    },
    process.argv.slice(2),
  ),
);
