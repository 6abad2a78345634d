/**
 * A machine that does again what its log says: before it goes live, or as the standby of another, whose log it is given as it is made. Where
 * its owner cut a checkpoint, a standby sums its state, and remembers which pages had changed: those checkpoints may not have become
 * durable, so whoever goes on from here may have to write them.
 */
import type { LoggedInput, Machine, PageBuffers, RunResult } from '@revenant/emulator';
import { ClusterError } from '../../errors.ts';
import type { Cut } from './comparison.ts';
import { sumOf, sumsOf } from './state-sums.ts';
import type { Further, Replay } from '../vm-runtime.ts';

/** Cuts of which the changed pages are remembered. */
const maxCuts = 64;
/** Summing all of memory may take this share of a standby's time. */
const sumShare = 1 / 20;

export class FollowingMachine {
  readonly #machine: Machine;
  readonly #buffers: PageBuffers;
  /** Where its owner cut a checkpoint, and what came in behind that. */
  readonly #ahead: { at: bigint; cut: number; behind: LoggedInput[] }[] = [];
  #to: bigint;
  readonly #cuts: Cut[] = [];
  #changed: { cut: number; pages: Record<string, Uint32Array> }[] = [];
  /** Somebody compares it with its owner: all of its memory is summed from time to time, whether it is here already or not. */
  #isCompared = false;
  #sumMs = 0;
  #summedAt = -Infinity;

  constructor(machine: Machine, buffers: PageBuffers, replay: Replay | undefined) {
    this.#machine = machine;
    this.#buffers = buffers;
    this.#to = replay?.to ?? machine.instructions;
    if (replay !== undefined) machine.replay(replay.log);
  }

  further({ log, next, to }: Further): void {
    let here: LoggedInput[] = [];
    const put = (): void => {
      const last = this.#ahead.at(-1);
      if (last !== undefined) last.behind.push(...here);
      else if (here.length > 0) this.#machine.replay(here);
      here = [];
    };
    for (const entry of log) {
      if (entry.input.kind !== 'flush') {
        here.push(entry);
        continue;
      }
      put();
      // The last of its entry of the log: a checkpoint is cut between two.
      this.#ahead.push({ at: entry.instructions, cut: next, behind: [] });
    }
    put();
    this.#to = to;
  }

  /** Throws ClusterError, MachineError when it can't be what it was. */
  run(instructions: number): RunResult['reason'] | 'end' {
    const machine = this.#machine;
    const next = this.#ahead[0];
    const left = (next?.at ?? this.#to) - machine.instructions;
    if (left <= 0n) {
      if (!machine.catchUp())
        throw new ClusterError('RUNTIME', 'the log has inputs that the guest can no longer be given');
      if (next === undefined) return 'end';
      this.#cut(next.cut);
      this.#ahead.shift();
      machine.replay(next.behind);
      return 'limit';
    }
    const limit = left < BigInt(instructions) ? left : BigInt(instructions);
    const { reason } = machine.run({ instructions: limit, idle: 'wait' });
    if (reason === 'idle')
      throw new ClusterError('RUNTIME', 'the guest waits where its log says that it went on');
    return reason;
  }

  #cut(cut: number): void {
    const snapshot = this.#machine.snapshot({ buffers: this.#buffers });
    const { spaces } = snapshot;
    const pages = Object.fromEntries(spaces.map(({ name, indexes }) => [name, indexes]));
    this.#changed = [...this.#changed, { cut, pages }].slice(-maxCuts);
    const isDue = this.#isCompared && performance.now() - this.#summedAt > this.#sumMs / sumShare;
    this.#cuts.push({ cut, ...sumsOf(snapshot), memory: isDue ? this.#memorySums() : undefined });
    for (const buffer of new Set(spaces.map(({ bytes }) => bytes.buffer))) this.#buffers.giveBack(buffer);
  }

  #memorySums(): Record<string, Uint32Array> {
    const began = performance.now();
    const sums: Record<string, number[]> = {};
    this.#machine.memory.eachPage((space, page, bytes) => {
      (sums[space] ??= [])[page] = sumOf(bytes);
    });
    this.#summedAt = performance.now();
    this.#sumMs = this.#summedAt - began;
    return Object.fromEntries(Object.entries(sums).map(([name, each]) => [name, Uint32Array.from(each)]));
  }

  sums(): Omit<Cut, 'cut'> {
    this.#isCompared = true;
    return { rest: '', pages: {}, memory: this.#memorySums() };
  }

  cuts(): Cut[] {
    return this.#cuts.splice(0);
  }

  /** @param since the cut of which the newest checkpoint is; undefined: none that is known. @returns whether the next snapshot must be full */
  leads(since: number | undefined): boolean {
    if (since === undefined || this.#changed.length === maxCuts) return true;
    for (const { cut, pages } of this.#changed) if (cut > since) this.#machine.markChanged(pages);
    return false;
  }
}
