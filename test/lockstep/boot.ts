/**
 * Boots Debian's kernel with a workload (system calls, fork and exec, a shell script, sha256sum, gzip) on both engines and compares their state.
 *
 *   node test/lockstep/boot.ts [--bits 64] [--every 100000] [--hash-every 20000000] [--instructions N] [--threshold N] [--drop N] [--divisor 4]
 *
 * Registers and output are compared every --every instructions, devices and all memory (by hash) every --hash-every. --threshold: entries of a
 * block before it is translated. --drop: all translated code is dropped after one of so many comparisons, at random. Exit code 1 when something differs.
 */
import { parseArgs } from 'node:util';
import { buildModules } from '@revenant/emulator/host-node';
import { buildLinux, type Bits } from '../bench/guests.ts';
import { compareBoot } from './boot-compare.ts';

const { values } = parseArgs({
  options: {
    bits: { type: 'string', default: '64' },
    every: { type: 'string', default: '100000' },
    'hash-every': { type: 'string', default: '20000000' },
    instructions: { type: 'string' },
    threshold: { type: 'string' },
    drop: { type: 'string' },
    divisor: { type: 'string', default: '4' },
  },
});
buildModules(() => undefined);
const names = ['syscalls', 'fork', 'script', 'sha256', 'gzip'];
const guest = await buildLinux(names, Number(values.bits) as Bits, Number(values.divisor));
const began = performance.now();
const result = await compareBoot(guest, {
  every: BigInt(values.every),
  hashEvery: BigInt(values['hash-every']),
  ...(values.instructions === undefined ? {} : { instructions: BigInt(values.instructions) }),
  ...(values.threshold === undefined ? {} : { hotThreshold: Number(values.threshold) }),
  ...(values.drop === undefined ? {} : { dropOneIn: Number(values.drop) }),
  progress: (line) => process.stderr.write(`${line}\n`),
});
const done = [...result.output.matchAll(/@@ end (\w+)/g)].map(([, name]) => name).join(', ');
const seconds = ((performance.now() - began) / 1000).toFixed(0);
console.log(
  `${result.instructions} instructions (workload done: ${done || 'none'}), ${result.comparisons} comparisons of registers, ${result.hashes} of everything, ended by ${result.end}, ${seconds} s`,
);
if (result.difference === undefined) console.log('no difference');
else {
  const { what, after, upTo } = result.difference;
  console.log(`DIFFERENCE between ${after} and ${upTo} instructions: ${what}`);
  process.exitCode = 1;
}
