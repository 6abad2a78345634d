/**
 * Frames on their way to a guest: one batch at a time, the next when the guest has that one. What finds no room meanwhile is dropped, as by a
 * network card whose ring is full.
 */
import type { InputResult, MachineInput } from '@revenant/emulator';
import { owned } from '../owned.ts';

/** The most bytes of one batch: half of what a guest's thread takes in at once, so that typed input finds room beside it. */
const maxBatchBytes = 512 << 10;
const maxWaitingBytes = 2 << 20;
const maxWaiting = 4096;

export class FrameFeed {
  readonly #give: (inputs: readonly MachineInput[]) => Promise<InputResult[] | undefined>;
  readonly #failed: (error: unknown) => void;
  #waiting: MachineInput[] = [];
  #bytes = 0;
  #busy = false;
  dropped = 0;

  constructor(
    give: (inputs: readonly MachineInput[]) => Promise<InputResult[] | undefined>,
    failed: (error: unknown) => void,
  ) {
    this.#give = give;
    this.#failed = failed;
  }

  put(bytes: Uint8Array): void {
    if (this.#waiting.length >= maxWaiting || this.#bytes + bytes.length > maxWaitingBytes) {
      this.dropped++;
      return;
    }
    this.#waiting.push({ kind: 'frame', nic: 0, bytes });
    this.#bytes += bytes.length;
    if (this.#busy) return;
    this.#busy = true;
    // Frames that come in the same turn of the event loop go with it.
    queueMicrotask(owned(() => this.#run(), this.#failed));
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#take();
      const results = await this.#give(batch);
      this.dropped += results?.filter((result) => result === 'full').length ?? batch.length;
    }
    this.#busy = false;
  }

  #take(): MachineInput[] {
    let bytes = 0;
    const end = this.#waiting.findIndex((input) => {
      bytes += 'bytes' in input ? input.bytes.length : 0;
      return bytes > maxBatchBytes;
    });
    const batch = this.#waiting.splice(0, end < 0 ? this.#waiting.length : Math.max(end, 1));
    for (const input of batch) this.#bytes -= 'bytes' in input ? input.bytes.length : 0;
    return batch;
  }
}
