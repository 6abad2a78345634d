/** Builds and drives harness.c: cases in, what the host's processor made of them out. */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Host, hostOf, type ProcessorIdentity } from './processors.ts';
import {
  Batch,
  type Case,
  caseBytes,
  headerBytes,
  type Mode,
  modes,
  optionTrapFlag,
  Place,
  vectorDone,
} from './case.ts';

const sourcePath = join(import.meta.dirname, 'harness.c');
const buildFolder = join(import.meta.dirname, '../../build/native');

export class HarnessError extends Error {
  readonly code: 'noCompiler' | 'wrongProcessor' | 'failed';
  constructor(code: 'noCompiler' | 'wrongProcessor' | 'failed', message: string) {
    super(message);
    this.name = 'HarnessError';
    this.code = code;
  }
}

/** Why the native comparison can't run here, or undefined when it can. */
export function harnessMissing(): string | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'needs Linux on an x86-64 processor';
  if (spawnSync('gcc', ['--version'], { stdio: 'ignore' }).status !== 0)
    return 'gcc is missing: apt-get install gcc libc6-dev';
  return undefined;
}

let built: string | undefined;

/** Path of the harness's binary; compiled when its source changed. Throws HarnessError. */
export function buildHarness(): string {
  if (built !== undefined) return built;
  const missing = harnessMissing();
  if (missing !== undefined)
    throw new HarnessError(missing.startsWith('gcc') ? 'noCompiler' : 'wrongProcessor', missing);
  const hash = createHash('sha256').update(readFileSync(sourcePath)).digest('hex').slice(0, 16);
  const binary = join(buildFolder, `harness-${hash}`);
  if (!existsSync(binary)) {
    mkdirSync(buildFolder, { recursive: true });
    const temporary = `${binary}.${process.pid}.tmp`;
    const options = [
      '-O3',
      '-Wall',
      '-Wextra',
      '-fno-stack-protector',
      '-fPIE',
      '-pie',
      '-Wl,-z,now',
      '-mfsgsbase',
      '-mno-red-zone',
    ];
    execFileSync('gcc', [...options, '-o', temporary, sourcePath], {
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    renameSync(temporary, binary);
  }
  built = binary;
  return binary;
}

/** Maker, family and model of the host's processor, by CPUID. Throws HarnessError. */
function hostProcessor(): ProcessorIdentity {
  const [vendor = '', family, model] = execFileSync(buildHarness(), ['--processor'], { encoding: 'utf8' })
    .trim()
    .split(' ');
  return { vendor, family: Number(family), model: Number(model) };
}

const sigtrap = 5;
const vectorDebug = 1;
const vectorBreakpoint = 3;

/** The trap that only ends the case becomes `vectorDone`; TF, which only the harness set, goes. */
function normalise(before: Case, after: Case): void {
  const underTrapFlag = (before.options & optionTrapFlag) !== 0;
  if (after.signal === sigtrap && underTrapFlag && after.trap === vectorDebug) after.trap = vectorDone;
  if (after.signal === sigtrap && !underTrapFlag && after.trap === vectorBreakpoint) {
    after.trap = vectorDone;
    after.rip = after.rip - 1n;
  }
  after.rflags = after.rflags & ~0x100;
  if (after.trap === vectorDone) {
    after.error = 0;
    after.cr2 = 0n;
  }
  if (after.trap !== 14) after.cr2 = 0n;
}

/**
 * Runs each case of the batch on the processor. The returned batch holds the states after; `trap` is `vectorDone`, or the
 * vector of the exception with `error` and `cr2`. Throws HarnessError when the harness dies (the message names the case).
 */
export function runNatively(batch: Batch): Batch {
  const binary = buildHarness();
  const folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'revenant-native-'));
  try {
    const path = join(folder, 'batch');
    writeFileSync(path, batch.encoded());
    const run = spawnSync(binary, [path], { encoding: 'utf8' });
    const bytes = readFileSync(path);
    if (run.status !== 0) {
      const index = new DataView(bytes.buffer, bytes.byteOffset).getUint32(8, true);
      const bytesText = index < batch.length ? Buffer.from(batch.at(index).code).toString('hex') : '';
      throw new HarnessError(
        'failed',
        `harness ended with ${run.signal ?? run.status} at case ${index} (${bytesText}) ${run.stderr}`,
      );
    }
    const after = new Batch(batch.length);
    after.length = batch.length;
    after.buffer.set(bytes.subarray(0, headerBytes + batch.length * caseBytes));
    for (let i = 0; i < batch.length; i++) normalise(batch.at(i), after.at(i));
    return after;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Whether the host's system lets a NOP run in that mode with that stack pointer. */
function runsNop(mode: Mode, stack: bigint): boolean {
  const batch = new Batch(1);
  const c = batch.add();
  c.mode = mode;
  c.codeOffset = 0x100;
  c.code = Uint8Array.of(0x90);
  c.setGpr(4, stack);
  c.rflags = 0x202;
  c.fxsave.set([0x7f, 3]);
  c.fxsave.set([0x80, 0x1f], 24);
  try {
    return runNatively(batch).at(0).trap === vectorDone;
  } catch (error) {
    // The way into the mode may end the harness, or take it to where it does not come back from.
    if (error instanceof HarnessError && mode !== 64) return false;
    throw error;
  }
}

/** What the kernel calls the extensions of the x86-64-v3 model. */
const newerFlags =
  'avx avx2 fma f16c bmi1 bmi2 abm movbe adx aes pclmulqdq sha_ni vaes vpclmulqdq xsaveopt xsavec'.split(' ');

function hasNewer(): boolean {
  const flags = /^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1]?.split(' ') ?? [];
  return newerFlags.every((flag) => flags.includes(flag));
}

let known: Host | undefined;

/** The host that cases are compared with. Throws HarnessError. */
export function thisHost(): Host {
  known ??= hostOf(hostProcessor(), {
    modes: modes.filter((mode) => runsNop(mode, BigInt(mode === 16 ? 0x800 : Place.stack + 0x800))),
    anyStackPointer: runsNop(64, 1n << 63n),
    newer: hasNewer(),
  });
  return known;
}
