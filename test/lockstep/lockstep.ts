/**
 * Runs random programs in both engines and compares everything at the same instruction counts.
 *   node test/lockstep/lockstep.ts [--programs 10000] [--seed 1] [--floating]
 */
import { createHash } from 'node:crypto';
import { parseArgs } from 'node:util';
import { pathToFileURL } from 'node:url';
import { Cpu } from '../../packages/emulator/src/cpu/layout.ts';
import { TestCpu } from '../../packages/emulator/src/cpu/testing/test-cpu.ts';
import { codeAddress, dataAddress, dataBytes, makeProgram, stackTop } from './programs.ts';
import { makeFloatingProgram } from './floating-programs.ts';
import type { Program } from './programs.ts';

const names = [
  'rax',
  'rcx',
  'rdx',
  'rbx',
  'rsp',
  'rbp',
  'rsi',
  'rdi',
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
];
const stackBytes = 0x2000;

function prepare(cpu: TestCpu, program: Program): void {
  const { view, engine } = cpu;
  engine.core.resetCpu(cpu.cpu);
  cpu.flat(program.mode);
  cpu.write(codeAddress, new Uint8Array(4096));
  cpu.write(codeAddress, program.bytes);
  cpu.write(dataAddress, program.data);
  cpu.write(stackTop - stackBytes, new Uint8Array(stackBytes));
  cpu.write(0x2f_fff0, [100, 0, 0, 0]);
  program.registers.forEach((value, i) => {
    cpu.set(names[i] as string, program.mode === 64 ? value : BigInt.asUintN(32, value));
  });
  for (let i = 0; i < 16; i++)
    view.setBigUint64(cpu.cpu + Cpu.xmm + i * 16, program.registers[i] ?? 0n, true);
  for (const [offset, bytes] of program.state ?? [])
    new Uint8Array(view.buffer as ArrayBuffer).set(bytes, cpu.cpu + offset);
  cpu.flags = 2;
  cpu.set('rip', codeAddress);
}

/** Everything that a guest could see, as text. */
function state(cpu: TestCpu, reason: number): string[] {
  const { view } = cpu;
  const hash = createHash('sha256');
  hash
    .update(cpu.read(codeAddress, 4096))
    .update(cpu.read(dataAddress - 4096, dataBytes + 8192))
    .update(cpu.read(stackTop - stackBytes, 2 * stackBytes));
  const block = new Uint8Array(view.buffer as ArrayBuffer, cpu.cpu, 0x1000);
  return [
    `reason ${reason}`,
    `remaining ${cpu.remaining}`,
    `pending ${cpu.pending}`,
    `rip ${cpu.get('rip').toString(16)}`,
    `eflags ${cpu.flags.toString(16)}`,
    ...names.map((name) => `${name} ${cpu.get(name).toString(16)}`),
    `x87 and sse ${createHash('sha256').update(block.slice(Cpu.fpr, Cpu.ymmHigh)).digest('hex').slice(0, 16)}`,
    `memory ${hash.digest('hex').slice(0, 16)}`,
  ];
}

function runTo(cpu: TestCpu, program: Program): string[][] {
  prepare(cpu, program);
  const result: string[][] = [];
  let done = 0;
  for (const stop of program.stops) {
    const reason = cpu.run(stop - done);
    done = stop;
    result.push(state(cpu, reason));
    if (reason !== 1) break;
  }
  return result;
}

export interface LockstepDifference {
  seed: number;
  /** Lines of the state that differ at the first stop with a difference: interpreter, translator. */
  lines: [string, string][];
  bytes: string;
}

/** Compares programs `first` … `first + count - 1` that `make` gives; returns the differences. */
export async function compareEngines(
  first: number,
  count: number,
  make: (seed: number) => Program = makeProgram,
): Promise<{ differences: LockstepDifference[]; regions: number }> {
  const interpreter = await TestCpu.create({ kind: 'interpreter' });
  const translator = await TestCpu.create({ kind: 'translator', hotThreshold: 1 });
  const differences: LockstepDifference[] = [];
  for (let seed = first; seed < first + count; seed++) {
    const program = make(seed);
    const a = runTo(interpreter, program);
    const b = runTo(translator, program);
    const stop = a.findIndex((lines, i) => lines.join() !== b[i]?.join());
    if (stop < 0) continue;
    const lines = (a[stop] ?? []).flatMap((line, i): [string, string][] =>
      line === b[stop]?.[i] ? [] : [[line, b[stop]?.[i] ?? '']],
    );
    differences.push({ seed, lines, bytes: Buffer.from(program.bytes).toString('hex') });
  }
  return { differences, regions: translator.engine.translator?.statistics.regions ?? 0 };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { values } = parseArgs({
    options: {
      programs: { type: 'string', default: '10000' },
      seed: { type: 'string', default: '1' },
      /** Programs of floating-point, SIMD and string instructions. */
      floating: { type: 'boolean', default: false },
    },
  });
  const { differences, regions } = await compareEngines(
    Number(values.seed),
    Number(values.programs),
    values.floating ? makeFloatingProgram : makeProgram,
  );
  for (const { seed, lines, bytes } of differences.slice(0, 20)) {
    console.log(`seed ${seed}  ${bytes}`);
    for (const [a, b] of lines) console.log(`  interpreter ${a}   translator ${b}`);
  }
  console.log(`${values.programs} programs, ${regions} regions, ${differences.length} differences`);
  process.exitCode = differences.length === 0 ? 0 : 1;
}
