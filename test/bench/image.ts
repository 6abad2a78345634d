/** Assembles images/bench/bench.s with the GNU assembler. */
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

export type Bits = 32 | 64;

const root = join(import.meta.dirname, '../..');

/** What the benchmarks are called, in the order of their marker letters. */
export const benchmarkNames = ['alu', 'memory', 'branches', 'calls', 'strings', 'sse2', 'x87'] as const;
export type BenchmarkName = (typeof benchmarkNames)[number];

function tool(command: string, options: string[]): void {
  const run = spawnSync(command, options, { encoding: 'utf8' });
  if (run.error !== undefined)
    throw new Error(`${command} is missing: apt-get install binutils`, { cause: run.error });
  if (run.status !== 0) throw new Error(`${command} failed: ${run.stderr}`);
}

/** Path of the flat multiboot image. Its loops run 1/`divisor` of their full length. */
export function buildBenchImage(bits: Bits, divisor = 1): string {
  const folder = join(root, 'build/bench');
  mkdirSync(folder, { recursive: true });
  const name = join(folder, `bench${bits}-${divisor}`);
  const source = join(root, 'images/bench/bench.s');
  tool('as', [
    `--${bits}`,
    '--defsym',
    `BITS=${bits}`,
    '--defsym',
    `DIVISOR=${divisor}`,
    '-o',
    `${name}.o`,
    source,
  ]);
  const target = bits === 32 ? 'elf_i386' : 'elf_x86_64';
  tool('ld', ['-m', target, '-Ttext', '0x100000', '--oformat', 'binary', '-o', `${name}.bin`, `${name}.o`]);
  return `${name}.bin`;
}
