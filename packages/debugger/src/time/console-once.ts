/** Shows each byte of a guest's console once, however often its run is repeated; what the guest says in another future comes as well. */
import type { StampedOutput } from '@revenant/emulator';

export class ConsoleOnce {
  readonly #show: (bytes: Uint8Array, count: bigint) => void;
  /** Numbers of the first byte not shown, and of the first one not made as the run stands. */
  #shown = 0;
  #made = 0;

  constructor(show: (bytes: Uint8Array, count: bigint) => void) {
    this.#show = show;
  }

  readonly take = ({ output, number, instructions }: StampedOutput): boolean => {
    if (output.kind !== 'serial' || output.port !== 0) return true;
    this.#made = number + output.bytes.length;
    if (this.#made <= this.#shown) return true;
    this.#show(output.bytes.subarray(Math.max(0, this.#shown - number)), instructions);
    this.#shown = this.#made;
    return true;
  };

  /** From here on the guest says something else. */
  forget(): void {
    this.#shown = this.#made;
  }
}
