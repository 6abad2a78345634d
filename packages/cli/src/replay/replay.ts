/** Runs a VM's past again: to a moment, until its console says something, or all of it to see whether it comes out the same. */
import type { Stop } from '@revenant/debugger';
import { logBehind, restoreMachine, type Machine } from '@revenant/emulator';
import { nodeEngine, nodeHash } from '@revenant/emulator/host-node';
import type { CheckpointReader, MachineSnapshot, ManifestHead } from '@revenant/storage';
import type { Opener } from '../checkpoint/opener.ts';
import { CliError, ExitCode } from '../errors.ts';
import type { When } from './moment.ts';
import type { Again, Moment, Past, Run } from './past.ts';

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
 * Replays from each kept checkpoint to the next, and compares states: everything that a guest could notice. Answers each span as it is done. A
 * machine that came out the same goes on: it is what another, made from that checkpoint, would be, and its code is translated already.
 */
export async function* checkAll(
  past: Past,
  opener: Opener,
  say: (line: string) => void,
): AsyncGenerator<CheckedSpan, void> {
  const stored = new StoredStates(opener);
  let again: Again | undefined;
  let given = 0;
  try {
    for (const [n, moment] of past.moments.slice(0, -1).entries()) {
      const next = past.moments[n + 1]!;
      const instructions = String(next.head.instructions - moment.head.instructions);
      const span = { from: moment.name, to: next.name, instructions };
      if (again === undefined || again.to < next.head.instructions) {
        await again?.close();
        again = await past.again(moment, say);
        given = 0;
      }
      let result: CheckedSpan['result'] = 'no log';
      let isByLog = true;
      if (again.to >= next.head.instructions) {
        const { log, machine } = again;
        const later = await stored.at(next);
        // Inputs at the very count of the checkpoint may have come before it was cut, or after.
        const upTo = log.length - logBehind(later.snapshot, log).length;
        machine.replay(log.slice(given, upTo));
        given = upTo;
        isByLog = replayTo(machine, next.head);
        result = machine.stateHash() === later.machine.stateHash() ? 'same' : 'different';
      }
      if (result !== 'same' || !isByLog) {
        await again.close();
        again = undefined;
      }
      yield { ...span, result };
    }
  } finally {
    await again?.close();
  }
}

/** One machine that is put into the state of one checkpoint after the other. */
class StoredStates {
  readonly #opener: Opener;
  #before: { reader: CheckpointReader; machine: Machine } | undefined;

  constructor(opener: Opener) {
    this.#opener = opener;
  }

  async at({ name }: Moment): Promise<{ machine: Machine; snapshot: MachineSnapshot }> {
    const reader = await this.#opener.checkpoint(name);
    if (this.#before === undefined) {
      const snapshot = await reader.readSnapshot();
      const machine = await restoreMachine({ snapshot, engine: nodeEngine, backends: { hash: nodeHash } });
      this.#before = { reader, machine };
      return { machine, snapshot };
    }
    const { machine, reader: before } = this.#before;
    const snapshot = await reader.readChanges(before);
    machine.advance(snapshot);
    this.#before.reader = reader;
    await this.#opener.done(before);
    return { machine, snapshot };
  }
}

/** To where a checkpoint was cut. @returns false: time had to pass that the log says nothing of */
function replayTo(machine: Machine, cut: ManifestHead): boolean {
  for (let left = cut.instructions - machine.instructions; left > 0n;) {
    machine.run({ instructions: left, idle: 'wait' });
    const before = left;
    left = cut.instructions - machine.instructions;
    if (left === before) return true;
  }
  machine.catchUp();
  if (machine.timeNs >= cut.virtualTimeNs) return true;
  // While the processor waits, time passes at the same count.
  while (machine.timeNs < cut.virtualTimeNs) {
    const before = machine.timeNs;
    machine.run({ untilNs: cut.virtualTimeNs });
    if (machine.timeNs === before) break;
  }
  return false;
}
