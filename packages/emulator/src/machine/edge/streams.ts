/** The running numbers of a machine's streams, which are part of its state: after a restore they go on where they were. */
import { DeviceStateError, integer, list, record, type Infer, type Schema } from '../../devices/schema.ts';
import { streamOf, unitsOf, type MachineInput, type MachineOutput, type Table } from './table.ts';

const maxStreams = 256;
const maxNameLength = 64;

const streamName: Schema<string> = {
  copy(value, path) {
    if (typeof value !== 'string' || value.length > maxNameLength)
      throw new DeviceStateError('DEVICE_STATE_INVALID', `${path}: expected the name of a stream`);
    return value;
  },
};
/** `next`: the number that the stream's next unit gets. */
export const streamsSchema = list(
  record({ stream: streamName, next: integer(0, Number.MAX_SAFE_INTEGER) }),
  maxStreams,
);
export type SavedStreams = Infer<typeof streamsSchema>;

export class Streams {
  readonly #table: Table;
  readonly #next = new Map<string, number>();

  constructor(table: Table) {
    this.#table = table;
  }

  /** The number that an item would get. */
  next(item: MachineInput | MachineOutput): number {
    return this.#next.get(streamOf(this.#table, item)) ?? 0;
  }

  /** Gives an item its number. */
  take(item: MachineInput | MachineOutput): number {
    const stream = streamOf(this.#table, item);
    const number = this.#next.get(stream) ?? 0;
    this.#next.set(stream, number + unitsOf(this.#table, item));
    return number;
  }

  save(): SavedStreams {
    const names = [...this.#next.keys()].sort();
    return names.map((stream) => ({ stream, next: this.#next.get(stream) ?? 0 }));
  }

  restore(saved: SavedStreams): void {
    this.#next.clear();
    for (const { stream, next } of saved) this.#next.set(stream, next);
  }
}

/** Looks that each stream goes on where the last item of it ended: whoever reads what a machine took or said has all of it, and each once. */
export class StreamOrder {
  readonly #table: Table;
  readonly #next = new Map<string, number>();

  constructor(table: Table) {
    this.#table = table;
  }

  /** Of an item and its number; the first of a stream may have any. */
  goesOn(item: MachineInput | MachineOutput, number: number): boolean {
    const stream = streamOf(this.#table, item);
    const expected = this.#next.get(stream) ?? number;
    this.#next.set(stream, number + unitsOf(this.#table, item));
    return number === expected;
  }
}
