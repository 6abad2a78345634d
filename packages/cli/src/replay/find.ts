/** When was something so for the first time? */
import type { Machine } from '@revenant/emulator';
import type { Moment as Checkpoint, Past, Run, RunFrom } from './past.ts';
import { finish, TextFinder } from './replay.ts';
import type { Wanted } from './moment.ts';

export interface Found {
  /** The first count at which it holds. */
  count: bigint;
  /** A checkpoint to start from. */
  from: Checkpoint;
  run: Run;
}

/** Undefined: nowhere from `from` to the end of what is kept. The caller closes the run that was found. */
export async function find(
  past: Past,
  from: Checkpoint,
  what: Wanted,
  options: RunFrom,
): Promise<Found | undefined> {
  if (what.kind === 'text') return findState(past, from, options, (machine) => holds(machine, what.bytes));
  if (what.kind === 'serial') return findText(past, from, what.text, options);
  const run = await past.run(from, options);
  const found = what.kind === 'pc' ? await firstAt(run, what.address) : await firstChange(run, what);
  if (found) return { count: run.target.count, from, run };
  await run.close();
  return undefined;
}

async function findText(
  past: Past,
  from: Checkpoint,
  text: string,
  options: RunFrom,
): Promise<Found | undefined> {
  const finder = new TextFinder(text);
  let at: bigint | undefined;
  const run = await past.run(from, {
    ...options,
    console: (bytes, count) => {
      if (at === undefined && finder.push(bytes)) at = count;
      options.console?.(bytes, count);
    },
  });
  for (const steps = run.target.forward(); at === undefined && steps.next().done !== true;);
  if (at === undefined) {
    await run.close();
    return undefined;
  }
  await finish(run.target.goTo(at));
  return { count: at, from, run };
}

async function firstAt({ target }: Run, address: bigint): Promise<boolean> {
  target.machine.stops.addBreakpoint(address);
  if (target.machine.atBreakpoint) return true;
  const stop = await finish(target.forward());
  target.machine.stops.removeBreakpoint(address);
  return stop.kind === 'breakpoint';
}

/** A write of what is there already is no change. */
async function firstChange({ target }: Run, what: Extract<Wanted, { kind: 'memory' }>): Promise<boolean> {
  const { machine } = target;
  const { address, bytes, physical } = what;
  const value = (): string => {
    const at = physical ? address : machine.memory.translate(address);
    return at === undefined ? 'unmapped' : String(machine.memory.readPhysical(Number(at), bytes));
  };
  const before = value();
  const watchpoint = { address, bytes, on: 'write' as const, physical };
  machine.stops.addWatchpoint(watchpoint);
  try {
    for (;;) {
      const stop = await finish(target.forward());
      if (stop.kind !== 'watchpoint') return false;
      if (value() !== before) return true;
    }
  } finally {
    machine.stops.removeWatchpoint(watchpoint);
  }
}

/** Whether bytes are anywhere in RAM. */
function holds(machine: Machine, bytes: Uint8Array): boolean {
  const step = 16 * 2 ** 20;
  const total = machine.description.memoryBytes;
  for (let at = 0; at < total; at += step) {
    const size = Math.min(step + bytes.length - 1, total - at);
    if (Buffer.from(machine.memory.readPhysical(at, size)).includes(Buffer.from(bytes))) return true;
  }
  return false;
}

/**
 * By halving, for what stays once it is so: first among the checkpoints, then among the instructions between two of them. Of what
 * comes and goes it finds one of its beginnings.
 */
async function findState(
  past: Past,
  from: Checkpoint,
  options: RunFrom,
  isSo: (machine: Machine) => boolean,
): Promise<Found | undefined> {
  const moments = past.moments.slice(past.moments.indexOf(from));
  let [low, high] = [0, moments.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    const run = await past.run(moments[middle]!, options);
    if (isSo(run.target.machine)) high = middle;
    else low = middle + 1;
    await run.close();
  }
  const start = moments[Math.max(0, low - 1)]!;
  const run = await past.run(start, options);
  const { target } = run;
  let [before, after] = [target.count, moments[low]?.head.instructions ?? run.to];
  if (isSo(target.machine)) return { count: target.count, from: start, run };
  await finish(target.goTo(after));
  after = target.count;
  if (!isSo(target.machine)) {
    await run.close();
    return undefined;
  }
  while (after - before > 1n) {
    const middle = (before + after) / 2n;
    await finish(target.goTo(middle));
    if (isSo(target.machine)) after = middle;
    else before = middle;
  }
  await finish(target.goTo(after));
  return { count: after, from: start, run };
}
