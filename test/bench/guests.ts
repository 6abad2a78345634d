/** What is measured: names, groups and lengths of the benchmarks, and the guests made of them with the host's C compiler. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { directory, file, writeCpio } from '../../packages/cli/src/images/cpio.ts';
import { fetchImage, readImageFile } from '../../packages/cli/src/images/image.ts';

export type Bits = 32 | 64;

/** `loops` run on the bare machine, `linux` in one boot of Debian's kernel with BusyBox, `boot` is that boot itself. */
export type BenchmarkKind = 'loops' | 'linux' | 'boot';

export interface Benchmark {
  name: string;
  kind: BenchmarkKind;
  title: string;
  /** Of loops: how often the work is done; `images/bench/linux/bench` has the lengths of those under Linux. */
  turns?: number;
  /** Of loops: options for the compiler beyond the common ones. */
  options?: readonly string[];
  /** Only in these guests; default both. */
  bits?: readonly Bits[];
}

export const benchmarks: readonly Benchmark[] = [
  { name: 'sieve', kind: 'loops', title: 'sieve of Eratosthenes', turns: 120 },
  { name: 'sort', kind: 'loops', title: 'quicksort and heapsort', turns: 20 },
  { name: 'crc', kind: 'loops', title: 'CRC-32 by table', turns: 2000 },
  { name: 'dhrystone', kind: 'loops', title: 'records, strings, small functions', turns: 6_000_000 },
  { name: 'copy', kind: 'loops', title: 'REP MOVS and REP STOS', turns: 1000 },
  { name: 'chase', kind: 'loops', title: 'pointer chase over 4 MiB', turns: 300 },
  { name: 'x87', kind: 'loops', title: 'n-body, x87', turns: 75_000, options: ['-mfpmath=387'] },
  { name: 'sse2', kind: 'loops', title: 'n-body, scalar SSE2', turns: 80_000 },
  { name: 'packed', kind: 'loops', title: 'packed SSE2', turns: 150 },
  { name: 'calls', kind: 'loops', title: 'calls across pages', turns: 600 },
  { name: 'indirect', kind: 'loops', title: 'indirect jumps and calls', turns: 15_000 },
  { name: 'selfmod', kind: 'loops', title: 'self-modifying code', turns: 30_000 },
  { name: 'wp', kind: 'loops', title: 'CR0.WP off and on', turns: 2_000_000 },
  { name: 'pge', kind: 'loops', title: 'CR4.PGE off and on', turns: 1_000_000 },
  { name: 'cr8', kind: 'loops', title: 'reads of CR8', turns: 10_000_000, bits: [64] },
  { name: 'deadline', kind: 'loops', title: 'writes of the TSC deadline', turns: 5_000_000, bits: [64] },
  { name: 'syscalls', kind: 'linux', title: '1.8 million short system calls' },
  { name: 'fork', kind: 'linux', title: 'fork and exec' },
  { name: 'script', kind: 'linux', title: 'shell script of many applets' },
  { name: 'sha256', kind: 'linux', title: 'sha256sum of real data' },
  { name: 'gzip', kind: 'linux', title: 'gzip of real data' },
  { name: 'boot', kind: 'boot', title: 'boot to the shell' },
];

/** Whether a benchmark runs in guests of that width. */
export function hasBits(benchmark: Benchmark, bits: Bits): boolean {
  return benchmark.bits?.includes(bits) ?? true;
}

/** What an emulator is given. Files are paths. */
export interface Guest {
  kind: 'multiboot' | 'linux';
  bits: Bits;
  kernel: string;
  initrd?: string;
  commandLine?: string;
  memoryMiB: number;
}

const root = join(import.meta.dirname, '../..');
const sources = join(root, 'images/bench');
export const outputFolder = join(root, 'build/bench');

function tool(command: string, options: readonly string[]): void {
  const run = spawnSync(command, options, { encoding: 'utf8' });
  if (run.error !== undefined)
    throw new Error(`${command} is missing: apt-get install gcc binutils`, { cause: run.error });
  if (run.status !== 0) throw new Error(`${command} failed: ${run.stderr}`);
}

const compilerOptions = [
  '-O2',
  '-ffreestanding',
  '-fno-pic',
  '-fno-pie',
  '-fno-stack-protector',
  '-fno-asynchronous-unwind-tables',
  '-fno-tree-loop-distribute-patterns',
  '-fno-math-errno',
  '-fcf-protection=none',
];

/** The flat multiboot image of one loop; it runs 1/`divisor` of its full length. */
export function buildLoop(benchmark: Benchmark, bits: Bits, divisor = 1): Guest {
  mkdirSync(outputFolder, { recursive: true });
  const base = join(outputFolder, `${benchmark.name}${bits}`);
  const turns = Math.max(1, Math.round((benchmark.turns ?? 1) / divisor));
  const target = bits === 32 ? ['-march=pentium4', '-msse2', '-mfpmath=sse'] : ['-mno-red-zone'];
  const defines = [`-DNAME="${benchmark.name}"`, `-DTURNS=${turns}`];
  tool('gcc', [
    ...[`-m${bits}`, ...compilerOptions, ...target, ...(benchmark.options ?? []), ...defines],
    ...['-c', join(sources, 'loops', `${benchmark.name}.c`), '-o', `${base}.o`],
  ]);
  tool('as', [`--${bits}`, '--defsym', `BITS=${bits}`, '-o', `${base}-start.o`, join(sources, 'start.s')]);
  const emulation = bits === 32 ? 'elf_i386' : 'elf_x86_64';
  tool('ld', [
    ...['-m', emulation, '-T', join(sources, 'loop.ld'), '--oformat', 'binary'],
    ...['-o', `${base}.bin`, `${base}-start.o`, `${base}.o`],
  ]);
  return { kind: 'multiboot', bits, kernel: `${base}.bin`, memoryMiB: 64 };
}

function buildProgram(name: string, bits: Bits): Uint8Array {
  const output = join(outputFolder, `${name}${bits}`);
  tool('gcc', [
    ...[`-m${bits}`, ...compilerOptions, '-nostdlib', '-static', '-no-pie', '-s'],
    ...['-o', output, join(sources, 'linux', `${name}.c`)],
  ]);
  return readFileSync(output);
}

/**
 * Debian's kernel and BusyBox with our benchmarks in a second archive behind the first (the kernel unpacks both).
 * @param names benchmarks of kind `linux`, in their order; none for the boot alone
 * @throws CliError when the image is not in the cache and can't be made
 */
export async function buildLinux(names: readonly string[], bits: Bits, divisor = 1): Promise<Guest> {
  mkdirSync(outputFolder, { recursive: true });
  const image = await fetchImage(bits === 32 ? 'linux-i386' : 'linux-cloud', (line) => {
    process.stderr.write(`${line}\n`);
  });
  const ours = writeCpio([
    directory('bench'),
    file('bin/bench', readFileSync(join(sources, 'linux/bench'))),
    file('bench/syscalls', buildProgram('syscalls', bits)),
    file('bench/fork', buildProgram('fork', bits)),
  ]);
  const initrd = join(outputFolder, `initrd${bits}.cpio`);
  writeFileSync(initrd, Buffer.concat([await readImageFile(image, 'initrd'), ours]));
  const { commandLine, memoryMiB, kernel, bzImage } = image.manifest;
  return {
    kind: 'linux',
    bits,
    // v86 knows no kernel but a bzImage.
    kernel: join(image.folder, bits === 32 ? bzImage.file : kernel.file),
    initrd,
    commandLine: `${commandLine} quiet run=/bin/bench bench=${names.join(',')} divisor=${divisor}`,
    memoryMiB,
  };
}
