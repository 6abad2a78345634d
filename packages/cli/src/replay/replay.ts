/** Runs a VM's past again: to a moment, until its console says something, or all of it to see whether it comes out the same. */
import type { Stop, TimeMachine } from '@revenant/debugger';
import { restoreMachine } from '@revenant/emulator';
import { nodeEngine, nodeHash } from '@revenant/emulator/host-node';
import type { Opener } from '../checkpoint/opener.ts';
import { CliError, ExitCode } from '../errors.ts';
import type { When } from './moment.ts';
import type { Past, Run } from './past.ts';

export async function finish(
  steps: Generator<undefined, Stop>,
  turn: () => Promise<void> = () => Promise.resolve(),
): Promise<Stop> {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
    await turn();
  }
}

/** Text in a stream of bytes, over the ends of its pieces. */
export class TextFinder {
  readonly #wanted: Buffer;
  #tail = new Uint8Array(0);

  constructor(text: string) {
    this.#wanted = Buffer.from(text);
  }

  /** Whether the text is complete with these bytes. */
  push(bytes: Uint8Array): boolean {
    const all = Buffer.concat([this.#tail, bytes]);
    this.#tail = Uint8Array.from(all.subarray(Math.max(0, all.length - this.#wanted.length + 1)));
    return all.includes(this.#wanted);
  }
}

function outside(run: Run, what: string): CliError {
  const { target, to } = run;
  return new CliError(
    ExitCode.refused,
    `${what} is not kept: it is known from instruction ${target.begin} to ${to}`,
    to === target.begin
      ? "the VM has no log behind its checkpoint: 'vm create --output log' keeps one"
      : "'checkpoint list' shows where its past begins",
  );
}

/** Goes to a moment. Throws CliError for one that is not kept. */
export async function goTo(run: Run, moment: When): Promise<void> {
  const { target } = run;
  const steps = 'ns' in moment ? target.goToTime(moment.ns) : target.goTo(moment.count);
  const stop = await finish(steps);
  const there = 'ns' in moment ? target.machine.timeNs >= moment.ns : target.count === moment.count;
  if (!there || stop.kind === 'begin')
    throw outside(run, 'ns' in moment ? `${Number(moment.ns) / 1e9} s` : `instruction ${moment.count}`);
}

export interface CheckedSpan {
  from: string;
  to: string;
  instructions: string;
  result: 'same' | 'different' | 'no log';
}

/**
 * Replays from each kept checkpoint to the next, and compares states: everything that a guest could notice. Answers each span as it is done.
 */
export async function* checkAll(
  past: Past,
  opener: Opener,
  say: (line: string) => void,
): AsyncGenerator<CheckedSpan, void> {
  for (const [n, moment] of past.moments.slice(0, -1).entries()) {
    const next = past.moments[n + 1]!;
    const span = {
      from: moment.name,
      to: next.name,
      instructions: String(next.head.instructions - moment.head.instructions),
    };
    const reader = await opener.checkpoint(next.name);
    const snapshot = await reader.readSnapshot();
    const run = await past.run(moment, { say, until: snapshot });
    try {
      if (run.to < next.head.instructions) {
        yield { ...span, result: 'no log' };
        continue;
      }
      const later = await restoreMachine({ snapshot, engine: nodeEngine, backends: { hash: nodeHash } });
      const expected = later.stateHash();
      await replayTo(run.target, next.head);
      yield { ...span, result: run.target.machine.stateHash() === expected ? 'same' : 'different' };
    } finally {
      await run.close();
    }
  }
}

/** To where a checkpoint was cut; nothing that came in later is in the log. */
async function replayTo(
  target: TimeMachine,
  cut: { instructions: bigint; virtualTimeNs: bigint },
): Promise<void> {
  const { machine } = target;
  await finish(target.goTo(cut.instructions));
  // While the processor waits, time passes at the same count.
  while (machine.timeNs < cut.virtualTimeNs) {
    const before = machine.timeNs;
    machine.run({ untilNs: cut.virtualTimeNs });
    if (machine.timeNs === before) break;
  }
  machine.catchUp();
}
