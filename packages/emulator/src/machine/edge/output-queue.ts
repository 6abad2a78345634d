/**
 * Outputs on their way out of a machine, in order. Bytes of one stream that follow each other become one output. A guest that writes
 * faster than its outputs are taken is stopped (`put` returns false) when so many bytes wait.
 */
import { insist } from '../../insist.ts';
import { maxSerialBytes, type MachineOutput, type StampedOutput } from './table.ts';

const defaultLimit = 2 ** 20;
const itemOverhead = 64;

/** An output of bytes to which more may be added. */
interface Open {
  kind: 'serial' | 'debug';
  port: number;
  bytes: Uint8Array;
  length: number;
  entry: StampedOutput;
}

/** What a machine put out and nobody has taken yet. */
export class OutputQueue {
  readonly #limit: number;
  readonly #entries: StampedOutput[] = [];
  #open: Open | undefined;
  #bytes = 0;

  constructor(limitBytes = defaultLimit) {
    this.#limit = limitBytes;
  }

  get empty(): boolean {
    return this.#entries.length === 0;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** False when the machine should stop until what waits was taken. */
  put(entry: StampedOutput): boolean {
    const { output } = entry;
    const size = 'bytes' in output ? output.bytes.length : 0;
    if (!this.#join(entry, size)) this.#append(entry, size);
    return this.#bytes < this.#limit;
  }

  #append(entry: StampedOutput, size: number): void {
    this.#close();
    this.#bytes += size + itemOverhead;
    this.#entries.push(entry);
    const { output } = entry;
    if (output.kind !== 'serial' && output.kind !== 'debug') return;
    const bytes = new Uint8Array(Math.max(64, size));
    bytes.set(output.bytes);
    this.#open = { kind: output.kind, port: output.port, bytes, length: size, entry: { ...entry } };
    this.#entries[this.#entries.length - 1] = this.#open.entry;
  }

  #join({ instructions, timeNs, number, output }: StampedOutput, size: number): boolean {
    const open = this.#open;
    if (open === undefined || (output.kind !== 'serial' && output.kind !== 'debug')) return false;
    if (output.kind !== open.kind || output.port !== open.port || open.length + size > maxSerialBytes)
      return false;
    insist(number === open.entry.number + open.length, 'a byte that a guest sent is missing, or comes twice');
    if (open.length + size > open.bytes.length) {
      const larger = new Uint8Array(Math.min(maxSerialBytes, (open.length + size) * 2));
      larger.set(open.bytes.subarray(0, open.length));
      open.bytes = larger;
    }
    open.bytes.set(output.bytes, open.length);
    open.length += size;
    open.entry.instructions = instructions;
    open.entry.timeNs = timeNs;
    this.#bytes += size;
    return true;
  }

  #close(): void {
    const open = this.#open;
    if (open === undefined) return;
    const { kind, port, bytes, length } = open;
    open.entry.output = { kind, port, bytes: bytes.slice(0, length) } satisfies MachineOutput;
    this.#open = undefined;
  }

  /** All that waits. */
  take(): StampedOutput[] {
    this.#close();
    this.#bytes = 0;
    return this.#entries.splice(0);
  }
}
