/** Starts a benchmark image in one emulator, in a process of its own, and returns the marker bytes with their times. */
import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import type { Bits } from './image.ts';
import { parseMarks, type Mark } from './timeline.ts';

export interface Runner {
  /** Heading in tables. */
  name: string;
  /** Name that `--against` takes; ours always run. */
  family: 'revenant' | 'v86' | 'qemu';
  bits: readonly Bits[];
  run(image: string, timeoutMs: number): Promise<Mark[]>;
}

/** Runs a script of this folder, whose standard output is lines of marks. */
function scriptRunner(script: string, options: readonly string[]): Runner['run'] {
  return (image, timeoutMs) =>
    new Promise((resolve, reject) => {
      const child = spawn(process.execPath, [join(import.meta.dirname, script), image, ...options], {
        stdio: ['ignore', 'pipe', 'inherit'],
        timeout: timeoutMs,
      });
      let text = '';
      child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      child.on('error', reject);
      child.on('close', (status, signal) => {
        if (status === 0) resolve(parseMarks(text));
        else reject(new Error(`${script} ended with ${signal ?? status}`));
      });
    });
}

function runQemu(image: string, timeoutMs: number): Promise<Mark[]> {
  return new Promise((resolve, reject) => {
    const options = [
      '-accel',
      'tcg,thread=single',
      '-m',
      '64',
      '-display',
      'none',
      '-monitor',
      'none',
      '-serial',
      'none',
      '-net',
      'none',
      '-kernel',
      image,
    ];
    options.push('-chardev', 'stdio,id=marks', '-device', 'isa-debugcon,chardev=marks');
    options.push('-device', 'isa-debug-exit,iobase=0xf4,iosize=1');
    const child = spawn('qemu-system-x86_64', options, {
      stdio: ['ignore', 'pipe', 'inherit'],
      timeout: timeoutMs,
    });
    const marks: Mark[] = [];
    child.stdout.on('data', (chunk: Buffer) => {
      const timeMs = performance.now();
      for (const byte of chunk) marks.push({ timeMs, byte });
    });
    child.on('error', reject);
    // isa-debug-exit: the guest's 0 gives exit status 1.
    child.on('close', (status, signal) => {
      if (status === 1) resolve(marks);
      else reject(new Error(`qemu-system-x86_64 ended with ${signal ?? status}`));
    });
  });
}

export function qemuMissing(): string | undefined {
  return spawnSync('qemu-system-x86_64', ['--version'], { stdio: 'ignore' }).status === 0
    ? undefined
    : 'qemu-system-x86_64 is missing: apt-get install qemu-system-x86';
}

export const runners: readonly Runner[] = [
  {
    name: 'Revenant',
    family: 'revenant',
    bits: [32, 64],
    run: scriptRunner('revenant-runner.ts', ['translator']),
  },
  {
    name: 'Revenant interpreter',
    family: 'revenant',
    bits: [32, 64],
    run: scriptRunner('revenant-runner.ts', ['interpreter']),
  },
  { name: 'v86 interpreter', family: 'v86', bits: [32], run: scriptRunner('v86-runner.ts', ['interpreter']) },
  { name: 'v86', family: 'v86', bits: [32], run: scriptRunner('v86-runner.ts', ['jit']) },
  { name: 'QEMU TCG', family: 'qemu', bits: [32, 64], run: runQemu },
];
