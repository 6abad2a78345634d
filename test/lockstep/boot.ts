/** Boots Debian's kernel with a workload on both engines and compares their states. `--help` says with which options. */
import { define } from '../../packages/cli/src/command/command.ts';
import { dispatchOne } from '../../packages/cli/src/command/dispatch.ts';
import { value, type Values } from '../../packages/cli/src/command/options.ts';
import { count, oneOf, wholeNumber } from '../../packages/cli/src/command/values.ts';
import { inOneLine } from '../../packages/cli/src/main.ts';
import { maxCpus } from '@revenant/emulator';
import { buildModules } from '@revenant/emulator/host-node';
import { buildLinux, type Bits } from '../bench/guests.ts';
import { compareBoot } from './boot-compare.ts';

const optionTable = {
  bits: value('N', 'the guest: 32 or 64 (default 64)', oneOf(['32', '64']), '64' as const),
  every: value(
    'N',
    'instructions between two looks at registers and output (default 100000)',
    wholeNumber(1),
    100_000,
  ),
  'hash-every': value(
    'N',
    'and at devices and all memory, by hash (default 20000000)',
    wholeNumber(1),
    20_000_000,
  ),
  cpus: value('N', 'how many processors the guest has (default 1)', wholeNumber(1, maxCpus), 1),
  instructions: value('N', 'end after so many (default: at the end of the workload)', count),
  threshold: value('N', 'entries of a block before it is translated', wholeNumber(1)),
  drop: value('N', 'drop all translated code after one of N looks, at random', wholeNumber(1)),
  divisor: value('N', 'divide the lengths of the workload by N (default 4)', wholeNumber(1), 4),
};

const command = define({
  words: [],
  about: `The workload: system calls, fork and exec, a shell script, sha256sum, gzip. Exit code 1: something differs.`,
  options: optionTable,
  examples: ['--every 100000', '--bits 32'],
  run: ({ options }) => compare(options),
});

async function compare(values: Values<typeof optionTable>): Promise<number> {
  buildModules(() => undefined);
  const names = ['syscalls', 'fork', 'script', 'sha256', 'gzip'];
  const guest = await buildLinux(names, Number(values.bits) as Bits, values.divisor);
  const began = performance.now();
  const result = await compareBoot(guest, {
    every: BigInt(values.every),
    hashEvery: BigInt(values['hash-every']),
    cpuCount: values.cpus,
    ...(values.instructions === undefined ? {} : { instructions: values.instructions }),
    ...(values.threshold === undefined ? {} : { hotThreshold: values.threshold }),
    ...(values.drop === undefined ? {} : { dropOneIn: values.drop }),
    progress: (line) => process.stderr.write(`${line}\n`),
  });
  const done = [...result.output.matchAll(/@@ end (\w+)/g)].map(([, name]) => name).join(', ');
  const seconds = ((performance.now() - began) / 1000).toFixed(0);
  console.log(
    `${result.instructions} instructions (workload done: ${done || 'none'}), ${result.comparisons} comparisons of registers, ${result.hashes} of everything, ended by ${result.end}, ${seconds} s`,
  );
  if (result.difference === undefined) {
    console.log('no difference');
    return 0;
  }
  const { what, after, upTo } = result.difference;
  console.log(`DIFFERENCE between ${after} and ${upTo} instructions: ${what}`);
  return 1;
}

process.exitCode = await inOneLine('boot', () =>
  dispatchOne(
    {
      path: 'node test/lockstep/boot.ts',
      summary: 'a whole boot of Linux with a workload on both engines, compared all along',
      command,
    },
    process.argv.slice(2),
  ),
);
