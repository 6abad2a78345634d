/** `npm run bench -- debug`: what a debugger costs where it stops nothing, and how fast a guest goes back. */
import { cpus, loadavg } from 'node:os';
import type { TimeMachine } from '@revenant/debugger';
import { define } from '../../packages/cli/src/command/command.ts';
import { value } from '../../packages/cli/src/command/options.ts';
import { wholeNumber } from '../../packages/cli/src/command/values.ts';
import { openTarget } from '../../packages/cli/src/debug/open.ts';

/** Where the measured stretch begins: Linux is up, and gzip runs. */
const warmUp = 500_000_000n;
const breakpointCounts = [0, 1, 100] as const;

interface DebugReport {
  machine: string;
  loadBefore: number;
  /** Instructions of one measured stretch. */
  stretch: number;
  /** Median seconds of the stretch, by breakpoints that are not met. */
  seconds: Record<number, number>;
  /** Speed against none: the median of ratios within a round. */
  speedAgainstNone: Record<number, number>;
  stepsPerSecond: number;
  /** The first step back from a place, and those behind it; medians. */
  firstStepBackMs: number;
  stepBackMs: number;
  /** Instructions gone back over, and how long reverse-continue took to the breakpoint at their other end. */
  backInstructions: number;
  backMs: number;
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;

function timed(steps: Generator<undefined, unknown>): number {
  const began = performance.now();
  while (steps.next().done !== true);
  return performance.now() - began;
}

/** Addresses in the middle of instructions of the hottest pages: none is ever met. */
function unmet(target: TimeMachine, count: number, stretch: bigint): bigint[] {
  const { machine } = target;
  const found = new Set<bigint>();
  const begin = target.count;
  for (let n = 1n; found.size < count && n <= 100_000n; n++) {
    timed(target.forward(target.count + 1n + (n % 7n === 0n ? stretch / 2000n : 0n)));
    const { rip } = machine.registers();
    timed(target.forward(target.count + 1n));
    const length = machine.registers().rip - rip;
    if (length >= 3n && length <= 15n) found.add(rip + 1n);
  }
  timed(target.goTo(begin));
  return [...found];
}

async function measure(rounds: number, stretch: bigint, over: bigint): Promise<DebugReport> {
  const { target, close } = await openTarget(
    {
      image: 'linux-cloud',
      append: 'run="while :; do gzip -c /bin/busybox >/dev/null; done"',
      serial: { kind: 'none' },
      engine: 'translator',
    },
    { say: (line) => process.stderr.write(`${line}\n`) },
  );
  const { machine } = target;
  const loadBefore = loadavg()[0] ?? NaN;
  timed(target.forward(warmUp));
  const begin = target.count;
  const places = unmet(target, 100, stretch);
  const seconds = new Map<number, number[]>(breakpointCounts.map((count) => [count, []]));
  for (let round = -1; round < rounds; round++)
    for (const count of breakpointCounts) {
      timed(target.goTo(begin));
      for (const address of places.slice(0, count)) machine.stops.addBreakpoint(address);
      // Planting drops the code of pages once: that is no cost of running.
      timed(target.forward(begin + stretch / 4n));
      const took = timed(target.forward(begin + stretch)) / 1000;
      if (round >= 0) seconds.get(count)?.push(took);
      if (target.count !== begin + stretch) throw new Error('a breakpoint was met');
      for (const address of places) machine.stops.removeBreakpoint(address);
    }
  const none = seconds.get(0) ?? [];
  const ratio = (count: number): number =>
    median((seconds.get(count) ?? []).map((took, n) => (none[n] ?? NaN) / took));
  let steps = 0;
  for (const until = performance.now() + 2000; performance.now() < until; steps++)
    timed(target.forward(target.count + 1n));
  const [first, later]: [number[], number[]] = [[], []];
  for (let n = 1n; n <= 9n; n++) {
    // Behind a stretch that was run straight: the last bookmark may lie five million instructions back.
    timed(target.goTo(begin + (stretch * (n - 1n)) / 10n));
    timed(target.forward(target.count + 9_000_000n));
    first.push(timed(target.stepBack()));
    for (let step = 0; step < 5; step++) later.push(timed(target.stepBack()));
  }
  timed(target.goTo(begin + stretch));
  if (over > target.count) timed(target.forward(over));
  const back = await goBack(target);
  await close();
  return {
    machine: cpus()[0]?.model ?? 'unknown',
    loadBefore,
    stretch: Number(stretch),
    seconds: Object.fromEntries(breakpointCounts.map((count) => [count, median(seconds.get(count) ?? [])])),
    speedAgainstNone: Object.fromEntries(breakpointCounts.map((count) => [count, ratio(count)])),
    stepsPerSecond: steps / 2,
    firstStepBackMs: median(first),
    stepBackMs: median(later),
    ...back,
  };
}

/** From the end of the stretch to the kernel's first instruction, which is executed once. */
async function goBack(target: TimeMachine): Promise<Pick<DebugReport, 'backInstructions' | 'backMs'>> {
  const end = target.count;
  timed(target.goTo(target.begin));
  const { rip } = target.machine.registers();
  timed(target.goTo(end));
  target.machine.stops.addBreakpoint(rip);
  const backMs = timed(target.back());
  const backInstructions = Number(end - target.count);
  target.machine.stops.removeBreakpoint(rip);
  return Promise.resolve({ backInstructions, backMs });
}

export const command = define({
  words: [],
  options: {
    rounds: value('N', 'rounds (default 5)', wholeNumber(1, 1000), 5),
    instructions: value(
      'N',
      'millions of instructions in a stretch (default 200)',
      wholeNumber(1, 100_000),
      200,
    ),
    back: value(
      'N',
      'millions of instructions that reverse-continue goes back over (default: all that was run, some 700)',
      wholeNumber(1, 1_000_000),
      1,
    ),
  },
  examples: ['debug --rounds 3', 'debug --rounds 1 --back 10000'],
  async run({ options: { rounds, instructions, back } }) {
    const report = await measure(rounds, BigInt(instructions) * 1_000_000n, BigInt(back) * 1_000_000n);
    process.stdout.write(`${JSON.stringify(report, undefined, 2)}\n`);
    return undefined;
  },
});
