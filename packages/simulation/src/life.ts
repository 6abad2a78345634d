/**
 * What a simulated guest is: a count of steps, and a digest that follows from its inputs and the counts at which they came. So two lives that were
 * given the same are the same, and what they say is; and any difference in what they were given shows in all that they say from then on.
 */
import type { OutputGate } from '../../cluster/src/vm/output-gate.ts';

export type StampedOutput = Parameters<OutputGate['said']>[1][number];

/** Its outputs so far, the last one first: histories share what they have in common. */
export interface Said {
  number: number;
  digest: number;
  before: Said | undefined;
}

export interface Input {
  count: number;
  value: number;
}

/** An input as an entry of the log. */
export function entryOf({ count, value }: Input): { count: bigint; payload: Uint8Array } {
  return { count: BigInt(count), payload: Uint8Array.of(value & 0xff, (value >> 8) & 0xff) };
}

function mixed(digest: number, value: number): number {
  const sum = Math.imul(digest ^ value, 0x9e3779b1);
  return (sum ^ (sum >>> 15)) >>> 0;
}

export class Life {
  count: number;
  said: Said | undefined;
  /** The number of the next entry of its log. */
  nextInput: number;
  #digest: number;

  constructor(from: { count: number; digest: number; said: Said | undefined; nextInput: number }) {
    this.count = from.count;
    this.#digest = from.digest;
    this.said = from.said;
    this.nextInput = from.nextInput;
  }

  static begun(boot: number): Life {
    return new Life({ count: 0, digest: mixed(1, boot), said: undefined, nextInput: 1 });
  }

  /** The same, to go on for itself. */
  copy(): Life {
    return new Life({ count: this.count, digest: this.#digest, said: this.said, nextInput: this.nextInput });
  }

  take(payload: Uint8Array): void {
    this.#digest = mixed(this.#digest, (payload[0] ?? 0) | ((payload[1] ?? 0) << 8));
    this.nextInput++;
  }

  /** @returns what it says behind this step */
  step(): StampedOutput {
    this.count++;
    this.#digest = mixed(this.#digest, this.count);
    const number = this.said === undefined ? 0 : this.said.number + 1;
    this.said = { number, digest: this.#digest, before: this.said };
    const bytes = new Uint8Array(new Uint32Array([this.#digest]).buffer);
    // A third of what it says are frames for a peer outside (lan.ts).
    const isFrame = this.#digest % 3 === 0;
    return {
      instructions: BigInt(this.count),
      timeNs: 0n,
      number,
      output: isFrame ? { kind: 'frame', nic: 0, bytes } : { kind: 'serial', port: 0, bytes },
    };
  }

  /** Does again what a log says, in order, up to a count. @returns what it says meanwhile */
  replay(entries: readonly { count: bigint; payload: Uint8Array }[], to: bigint): StampedOutput[] {
    const said: StampedOutput[] = [];
    for (const { count, payload } of entries) {
      while (this.count < Number(count)) said.push(this.step());
      this.take(payload);
    }
    while (this.count < Number(to)) said.push(this.step());
    return said;
  }
}

export function digestOf({ output }: StampedOutput): number {
  if (!('bytes' in output)) return 0;
  return new DataView(output.bytes.buffer, output.bytes.byteOffset).getUint32(0, true);
}
