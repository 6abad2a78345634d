/**
 * Inputs that a machine could not take yet, in order within each stream, and never more than the queue's bounds: a guest that does not
 * read its serial port makes its writer wait, and nobody else.
 */
import { insist } from '../../insist.ts';
import { inputKinds, partOf, streamOf, unitsOf, type MachineInput } from './table.ts';

/** What became of an input: the guest has it; it waits behind others; there is no room for it; the machine has nothing that takes it. */
export type InputResult = 'taken' | 'held' | 'full' | 'no-device';

/** What one taker did with an input: how many units of it were taken (undefined: all), or that there is no such device. */
export type Taken = number | 'no-device' | undefined;

const maxHeldItems = 4096;
const maxHeldUnits = 2 ** 20;
/** A frame is one unit, and may have 64 KiB. */
const maxHeldBytes = 2 ** 22;

const bytesOf = (input: MachineInput): number => ('bytes' in input ? input.bytes.length : 0);

export class InputQueue {
  readonly #streams = new Map<string, MachineInput[]>();
  #items = 0;
  #units = 0;
  #bytes = 0;

  get empty(): boolean {
    return this.#items === 0;
  }

  /** Whether something of the input's stream waits, so that it must wait too. */
  holds(input: MachineInput): boolean {
    return this.#streams.has(streamOf(inputKinds, input));
  }

  hasRoom(input: MachineInput): boolean {
    if (this.#items >= maxHeldItems || this.#bytes + bytesOf(input) > maxHeldBytes) return false;
    return this.#units + unitsOf(inputKinds, input) <= maxHeldUnits;
  }

  /** To be asked for room first. */
  hold(input: MachineInput): void {
    const stream = streamOf(inputKinds, input);
    const waiting = this.#streams.get(stream) ?? [];
    this.#streams.set(stream, waiting);
    waiting.push(input);
    this.#items++;
    this.#units += unitsOf(inputKinds, input);
    this.#bytes += bytesOf(input);
  }

  /** Offers what waits to `take`, stream by stream, as long as it takes whole inputs. */
  drain(take: (input: MachineInput) => Taken): void {
    for (const [stream, waiting] of this.#streams) {
      while (waiting[0] !== undefined) {
        const [input] = waiting;
        const units = unitsOf(inputKinds, input);
        const taken = take(input);
        const count = typeof taken === 'number' ? taken : units;
        // Not yet: the device has no room.
        if (count === 0) break;
        this.#units -= count;
        const rest = count < units ? partOf(inputKinds, input, count, units) : undefined;
        this.#bytes -= bytesOf(input) - (rest === undefined ? 0 : bytesOf(rest));
        if (rest !== undefined) {
          waiting[0] = rest;
          break;
        }
        waiting.shift();
        this.#items--;
      }
      if (waiting.length === 0) this.#streams.delete(stream);
    }
    const isEmpty = this.#items === 0;
    insist(isEmpty === (this.#units === 0), 'inputs that wait are counted wrongly');
    insist(this.#bytes >= 0 && (!isEmpty || this.#bytes === 0), 'bytes that wait are counted wrongly');
  }

  clear(): void {
    this.#streams.clear();
    this.#items = 0;
    this.#units = 0;
    this.#bytes = 0;
  }
}
