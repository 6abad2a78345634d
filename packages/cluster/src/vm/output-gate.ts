/**
 * Where what a guest says leaves its node. A plain object: it is told what happened, and gives what may leave.
 *
 * A guest's thread tells what the guest was given and what it said, message by message; the messages are counted, and the count is a
 * position in its life. An output of a message may leave once whoever takes the VM over is sure to reach that position with the same
 * inputs: it is durable up to there, by a checkpoint, by segments of its log, or by a standby that holds them. (A count of instructions
 * would not do: while a processor waits it stands still, and inputs and outputs go on.) With the policy `async` nobody waits. Outputs
 * leave in their order, whatever their kinds.
 */
import type { StampedOutput } from '@revenant/emulator';
import { insist } from '@revenant/storage';
import type { OutputPolicy } from '../protocol/spec.ts';

/** Of outputs that wait; a guest that has more to say stands still meanwhile. */
const maxHeldBytes = 1 << 20;
const entryBytes = 64;

interface HeldOutput {
  readonly position: number;
  readonly entry: StampedOutput;
}

const sizeOf = ({ output }: StampedOutput): number =>
  entryBytes + ('bytes' in output ? output.bytes.length : 0);

export class OutputGate {
  #policy: OutputPolicy;
  /** Outputs up to this position may leave. */
  #durable = -1;
  /** The last position at which something was said. */
  #said = 0;
  readonly #held: HeldOutput[] = [];
  #heldBytes = 0;

  constructor(policy: OutputPolicy) {
    this.#policy = policy;
  }

  get policy(): OutputPolicy {
    return this.#policy;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** The guest is to stand still until something has left. */
  get isFull(): boolean {
    return this.#heldBytes >= maxHeldBytes;
  }

  /** The guest said something. Positions never fall. @returns what may leave now */
  said(position: number, outputs: readonly StampedOutput[]): StampedOutput[] {
    insist(position >= this.#said, 'outputs are heard out of their order');
    this.#said = position;
    for (const entry of outputs) {
      this.#held.push({ position, entry });
      this.#heldBytes += sizeOf(entry);
    }
    return this.#pass();
  }

  /** Whoever takes the VM over reaches this position. @returns what may leave now */
  durableUpTo(position: number): StampedOutput[] {
    insist(position <= this.#said, 'what is durable is behind all that was said');
    this.#durable = Math.max(this.#durable, position);
    return this.#pass();
  }

  /** From now on another policy holds. What left before is not held again. @returns what may leave now */
  setPolicy(policy: OutputPolicy): StampedOutput[] {
    this.#policy = policy;
    return this.#pass();
  }

  #pass(): StampedOutput[] {
    let count = 0;
    for (const { position, entry } of this.#held) {
      if (this.#policy !== 'async' && position > this.#durable) break;
      this.#heldBytes -= sizeOf(entry);
      count++;
    }
    const leaving = this.#held.splice(0, count).map(({ entry }) => entry);
    insist((this.#heldBytes === 0) === (this.#held.length === 0), 'outputs that wait are counted wrongly');
    return leaving;
  }
}
