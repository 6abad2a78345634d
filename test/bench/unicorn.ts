/** `npm run bench -- unicorn`: instructions a second by Unicorn's interface, with and without hooks; beside Debian's libunicorn where it is. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { define } from '../../packages/cli/src/command/command.ts';
import { value } from '../../packages/cli/src/command/options.ts';
import { wholeNumber } from '../../packages/cli/src/command/values.ts';
import * as uc from '../../packages/unicorn/src/index.ts';

/** MOV EAX, [RSI]; ADD EAX, ECX; MOV [RDI], EAX; DEC ECX; JNZ: five instructions, two of them with memory. */
const loop = '8b0601c88907ffc975f6';
const instructions = 5;

interface Kind {
  name: string;
  /** Turns of the loop, so that a measurement takes about a second. */
  turns: number;
  hook?: (mu: uc.Unicorn) => void;
  /** What the oracle calls it. */
  oracle?: string;
}

const nothing = (): undefined => undefined;
const kinds: readonly Kind[] = [
  { name: 'no hook', turns: 60_000_000, oracle: 'none' },
  {
    name: 'code, one address that is not met',
    turns: 60_000_000,
    hook: (mu) => mu.hook_add(uc.UC_HOOK_CODE, nothing, undefined, 0x1800, 0x1800),
  },
  {
    name: 'code, one address in the loop',
    turns: 300_000,
    hook: (mu) => mu.hook_add(uc.UC_HOOK_CODE, nothing, undefined, 0x1000, 0x1000),
  },
  { name: 'code', turns: 300_000, hook: (mu) => mu.hook_add(uc.UC_HOOK_CODE, nothing), oracle: 'code' },
  { name: 'blocks', turns: 300_000, hook: (mu) => mu.hook_add(uc.UC_HOOK_BLOCK, nothing), oracle: 'block' },
  {
    name: 'memory, reads and writes',
    turns: 300_000,
    hook: (mu) => mu.hook_add(uc.UC_HOOK_MEM_READ | uc.UC_HOOK_MEM_WRITE, nothing),
    oracle: 'memory',
  },
];

/** Seconds of this process's processor time. */
function processorSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

function ours({ turns, hook }: Kind): number {
  const mu = new uc.Unicorn(uc.UC_ARCH_X86, uc.UC_MODE_64, { memoryBytes: 2 ** 24 });
  mu.mem_map(0x1000, 0x1000);
  mu.mem_map(0x8000, 0x1000);
  const code = Buffer.from(loop, 'hex');
  mu.mem_write(0x1000, code);
  mu.reg_write_batch([uc.UC_X86_REG_RSI, uc.UC_X86_REG_RDI], [0x8000, 0x8100]);
  const run = (count: number): number => {
    mu.reg_write(uc.UC_X86_REG_RCX, count);
    const began = processorSeconds();
    mu.emu_start(0x1000, 0x1000 + code.length);
    return processorSeconds() - began;
  };
  hook?.(mu);
  run(Math.min(turns, 200_000));
  return run(turns);
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;

function buildOracle(folder: string): string | undefined {
  if (!existsSync('/usr/include/unicorn/unicorn.h')) return undefined;
  const program = join(folder, 'oracle');
  execFileSync('gcc', [
    '-O2',
    '-w',
    '-o',
    program,
    join(import.meta.dirname, 'unicorn-oracle.c'),
    '-lunicorn',
  ]);
  return program;
}

function measure(rounds: number, oracle: string | undefined): object {
  const speeds = kinds.map((kind) => {
    const [mine, theirs]: [number[], number[]] = [[], []];
    const millions = (kind.turns * instructions) / 1e6;
    for (let round = 0; round < rounds; round++) {
      mine.push(millions / ours(kind));
      if (oracle === undefined || kind.oracle === undefined) continue;
      const seconds = execFileSync(oracle, [String(kind.turns), kind.oracle, loop], { encoding: 'utf8' });
      theirs.push(millions / Number(seconds));
    }
    return {
      hook: kind.name,
      millionsPerSecond: Number(median(mine).toFixed(2)),
      ...(theirs.length > 0 && { libunicorn: Number(median(theirs).toFixed(2)) }),
    };
  });
  return { machine: cpus()[0]?.model ?? 'unknown', load: loadavg()[0], rounds, speeds };
}

export const command = define({
  words: [],
  options: { rounds: value('N', 'rounds, of which the median counts (default 3)', wholeNumber(1, 1000), 3) },
  examples: ['unicorn --rounds 5'],
  run({ options: { rounds } }) {
    const folder = mkdtempSync(join(tmpdir(), 'revenant-bench-'));
    try {
      const report = measure(rounds, buildOracle(folder));
      process.stdout.write(`${JSON.stringify(report, undefined, 2)}\n`);
    } finally {
      rmSync(folder, { recursive: true });
    }
    return Promise.resolve(undefined);
  },
});
