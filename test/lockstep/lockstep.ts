/** Runs random programs in both engines and compares everything at the same instruction counts. `--help` says with which options. */
import { spawn } from 'node:child_process';
import { pathToFileURL } from 'node:url';
import { define } from '../../packages/cli/src/command/command.ts';
import { dispatchOne } from '../../packages/cli/src/command/dispatch.ts';
import { flag, value, type Values } from '../../packages/cli/src/command/options.ts';
import { wholeNumber } from '../../packages/cli/src/command/values.ts';
import { inOneLine } from '../../packages/cli/src/main.ts';
import { Cpu } from '../../packages/emulator/src/cpu/layout.ts';
import { TestCpu } from '../../packages/emulator/src/cpu/testing/test-cpu.ts';
import { Random } from '../native/random.ts';
import { comparedMemory, Place, setUp } from './memory-layout.ts';
import { makeFloatingProgram } from './floating-programs.ts';
import { listing, makeProgram, sequencesPerProgram, type Program } from './programs.ts';

const names = 'rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15 rip'.split(' ');
/** Architectural fields of the vCPU block that are compared as they lie: [name, from, to]. */
const fields = [
  ['segments', Cpu.segments, Cpu.cr0],
  ['control registers', Cpu.cr0, Cpu.gdtrBase],
  ['debug registers', Cpu.dr, Cpu.modeKey],
  ['pending event', Cpu.pendingVector, Cpu.exitRequest],
  ['x87', Cpu.fpr, Cpu.mxcsr],
  ['mxcsr and xmm', Cpu.mxcsr, Cpu.ymmHigh],
  ['upper halves', Cpu.ymmHigh, Cpu.scratch],
] as const;

function prepare(cpu: TestCpu, program: Program): void {
  const { view } = cpu;
  setUp(cpu, program.mode);
  const code = new Uint8Array(Place.codePages * 4096);
  code.set(program.code, program.entry - Place.code);
  cpu.write(Place.code, code);
  cpu.write(Place.functions, program.functions);
  cpu.write(Place.data, program.data);
  cpu.write(Place.cells, new Uint8Array(4096));
  cpu.write(Place.controlWords, program.controlWords);
  cpu.write(Place.stackTop - Place.stackPages * 4096, new Uint8Array(Place.stackPages * 4096));
  program.registers.forEach((value, i) => {
    cpu.set(names[i] ?? '', value);
  });
  for (const [offset, bytes] of program.state) new Uint8Array(view.buffer).set(bytes, cpu.cpu + offset);
  cpu.flags = 2;
  cpu.set('rip', program.entry);
}

function cell(cpu: TestCpu, address: number): number {
  return memory(cpu, address, 4).readUInt32LE();
}

function block(cpu: TestCpu, from: number, to: number): Buffer {
  return Buffer.from(cpu.view.buffer as ArrayBuffer, cpu.cpu + from, to - from);
}

function memory(cpu: TestCpu, address: number, length: number): Buffer {
  return Buffer.from(
    cpu.map.bytes.buffer as ArrayBuffer,
    cpu.map.bytes.byteOffset + cpu.map.backingBase + address,
    length,
  );
}

/** What differs, as [interpreter, translator]. */
function difference(a: TestCpu, b: TestCpu, reasons: readonly [number, number]): [string, string][] {
  const found: [string, string][] = [];
  const put = (what: string, one: unknown, other: unknown): void => {
    if (one !== other) found.push([`${what} ${String(one)}`, `${what} ${String(other)}`]);
  };
  put('reason', ...reasons);
  put('remaining', a.remaining, b.remaining);
  put('eflags', a.flags.toString(16), b.flags.toString(16));
  for (const name of names) put(name, a.get(name).toString(16), b.get(name).toString(16));
  for (const [name, from, to] of fields)
    if (block(a, from, to).compare(block(b, from, to)) !== 0)
      put(name, block(a, from, to).toString('hex'), block(b, from, to).toString('hex'));
  for (const [address, length] of comparedMemory) {
    const [one, other] = [memory(a, address, length), memory(b, address, length)];
    if (one.compare(other) === 0) continue;
    const at = one.findIndex((byte, i) => byte !== other[i]);
    put(
      `memory at ${(address + at).toString(16)}`,
      one.subarray(at, at + 16).toString('hex'),
      other.subarray(at, at + 16).toString('hex'),
    );
  }
  return found;
}

export interface LockstepDifference {
  seed: number;
  /** Instruction count at which the engines were stopped. */
  stop: number;
  /** Interpreter and translator. */
  lines: [string, string][];
}

export interface LockstepResult {
  programs: number;
  /** Sequences that both engines came through. */
  sequences: number;
  /** Exceptions delivered, of all kinds. */
  exceptions: number;
  /** Regions that were translated. */
  regions: number;
  differences: LockstepDifference[];
}

/** Compares the engines on the programs of seeds `first` … `first + count - 1`. */
export async function compareEngines(
  first: number,
  count: number,
  make: (seed: number) => Program = makeProgram,
): Promise<LockstepResult> {
  const interpreter = await TestCpu.create({ kind: 'interpreter' });
  const translator = await TestCpu.create({ kind: 'translator', hotThreshold: 4 });
  const result: LockstepResult = {
    programs: count,
    sequences: 0,
    exceptions: 0,
    regions: 0,
    differences: [],
  };
  for (let seed = first; seed < first + count; seed++) {
    const program = make(seed);
    prepare(interpreter, program);
    prepare(translator, program);
    // A page that is written again and again is translated ever later: each program begins without a past.
    translator.engine.dropAllCode();
    const random = new Random(seed);
    const drops = random.chance(0.05);
    translator.lookEvery = random.chance(0.3) ? 1280 + random.below(300) : 0;
    let done = 0;
    for (const stop of program.stops) {
      const reasons = [interpreter.run(stop - done), translator.run(stop - done)] as const;
      done = stop;
      const lines = difference(interpreter, translator, reasons);
      if (lines.length > 0) {
        result.differences.push({ seed, stop, lines });
        break;
      }
      if (reasons[0] !== 1) break;
      if (drops) translator.engine.dropAllCode();
    }
    // A program can write over its own cells; then they count for nothing.
    const [sequences, exceptions] = [Place.sequenceCell, Place.exceptionCell].map((at) =>
      cell(interpreter, at),
    ) as [number, number];
    if (sequences <= sequencesPerProgram) result.sequences += sequences;
    if (exceptions <= done) result.exceptions += exceptions;
  }
  result.regions = translator.engine.translator?.statistics.regions ?? 0;
  return result;
}

/** Splits the seeds among processes of this script. */
async function compareInProcesses(
  first: number,
  count: number,
  jobs: number,
  options: readonly string[],
): Promise<LockstepResult> {
  const shares = Array.from({ length: jobs }, (_, i) => {
    const from = first + Math.floor((count * i) / jobs);
    return { from, count: first + Math.floor((count * (i + 1)) / jobs) - from };
  });
  const results = await Promise.all(
    shares.map(
      (share) =>
        new Promise<LockstepResult>((resolve, reject) => {
          const words = [
            '--programs',
            String(share.count),
            '--seed',
            String(share.from),
            '--json',
            ...options,
          ];
          const child = spawn(process.execPath, [import.meta.filename, ...words], {
            stdio: ['ignore', 'pipe', 'inherit'],
          });
          let text = '';
          child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
          child.on('error', reject);
          child.on('close', (status) => {
            if (text === '')
              reject(new Error(`a process of seeds from ${share.from} ended with ${status ?? 'a signal'}`));
            else resolve(JSON.parse(text) as LockstepResult);
          });
        }),
    ),
  );
  return {
    programs: count,
    sequences: results.reduce((sum, one) => sum + one.sequences, 0),
    exceptions: results.reduce((sum, one) => sum + one.exceptions, 0),
    regions: results.reduce((sum, one) => sum + one.regions, 0),
    differences: results.flatMap(({ differences }) => differences),
  };
}

const optionTable = {
  programs: value('N', 'how many (default 10000)', wholeNumber(1), 10_000),
  seed: value('N', 'of the first program (default 1)', wholeNumber(), 1),
  jobs: value('N', 'processes that share them (default 1)', wholeNumber(1, 256), 1),
  floating: flag('programs mostly of x87, SSE and string instructions'),
  list: value('SEED', 'only show the program of this seed', wholeNumber()),
  json: flag('the result as JSON'),
};

const command = define({
  words: [],
  about: `A program is a chain of ${sequencesPerProgram} random code sequences. Exit code 1: something differs.`,
  options: optionTable,
  examples: ['--programs 155000 --jobs 2', '--list 17'],
  run: ({ options }) => compare(options),
});

async function compare({
  programs,
  seed: first,
  jobs,
  floating,
  list,
  json,
}: Values<typeof optionTable>): Promise<number> {
  const make = floating ? makeFloatingProgram : makeProgram;
  if (list !== undefined) {
    console.log(listing(make(list)));
    return 0;
  }
  const began = performance.now();
  const result =
    jobs === 1
      ? await compareEngines(first, programs, make)
      : await compareInProcesses(first, programs, jobs, floating ? ['--floating'] : []);
  const exitCode = result.differences.length === 0 ? 0 : 1;
  if (json) {
    console.log(JSON.stringify(result));
    return exitCode;
  }
  for (const { seed, stop, lines } of result.differences.slice(0, 20)) {
    console.log(`seed ${seed}, after ${stop} instructions`);
    for (const [a, b] of lines) console.log(`  interpreter ${a}\n  translator  ${b}`);
  }
  const seconds = ((performance.now() - began) / 1000).toFixed(0);
  console.log(
    `${result.programs} programs of ${sequencesPerProgram}, ${result.sequences} sequences executed, ${result.exceptions} exceptions, ${result.regions} regions, ${result.differences.length} differences, ${seconds} s`,
  );
  return exitCode;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href)
  process.exitCode = await inOneLine('lockstep', () =>
    dispatchOne(
      {
        path: 'node test/lockstep/lockstep.ts',
        summary: 'random programs in both engines, compared at the same instruction counts',
        command,
      },
      process.argv.slice(2),
    ),
  );
