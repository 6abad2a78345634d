// What guests for tests and demos have in common, which are no machines: a small RAM that checkpoints hold, and a console.
import type { InputResult, MachineInput, StampedOutput } from '@revenant/emulator';
import type { MachineSnapshot } from '@revenant/storage';
import type { Guest } from './vm-runtime.ts';

export const PAGE_BYTES = 4096;
/** Virtual time of an "instruction", whatever the guest takes for one. */
const INSTRUCTION_NS = 1000n;

export abstract class ToyGuest implements Guest {
  instructions = 0n;
  readonly #description: MachineSnapshot['description'];
  readonly #ram: Uint8Array;
  readonly #dirty = new Set<number>();
  #full = true;
  #output = '';
  /** Bytes put out since it started here. */
  #written = 0;

  /** @param options.machine the name of its kind of machine, and `cpu` that of its processor, as checkpoints show them */
  constructor(options: {
    machine: string;
    cpu: string;
    pages: number;
    snapshot: MachineSnapshot | undefined;
  }) {
    const { machine, cpu, pages, snapshot } = options;
    this.#ram = new Uint8Array(PAGE_BYTES * pages);
    this.#description = { machine, cpu: { model: cpu }, memoryBytes: this.#ram.length };
    const saved = snapshot?.spaces.find(({ name }) => name === 'ram');
    saved?.indexes.forEach((page, i) =>
      this.#ram.set(saved.bytes.subarray(i * PAGE_BYTES, (i + 1) * PAGE_BYTES), page * PAGE_BYTES),
    );
    this.instructions = snapshot?.instructions ?? 0n;
  }

  abstract run(): ReturnType<Guest['run']>;
  /** Bytes that were typed. */
  protected abstract typed(bytes: Uint8Array): void;

  protected get pages(): number {
    return this.#ram.length / PAGE_BYTES;
  }

  protected read(at: number, length: number): Uint8Array {
    return this.#ram.subarray(at, at + length);
  }

  protected readU32(at: number): number {
    return new DataView(this.#ram.buffer).getUint32(at, true);
  }

  protected write(at: number, bytes: Uint8Array): void {
    this.#ram.set(bytes, at);
    const last = Math.floor((at + bytes.length - 1) / PAGE_BYTES);
    for (let page = Math.floor(at / PAGE_BYTES); page <= last; page++) this.#dirty.add(page);
  }

  protected writeU32(at: number, value: number): void {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, value, true);
    this.write(at, bytes);
  }

  protected say(text: string): void {
    this.#output += text;
  }

  input(input: MachineInput): InputResult {
    if (input.kind !== 'serial') return 'no-device';
    this.typed(input.bytes);
    return 'taken';
  }

  snapshot(): MachineSnapshot {
    const full = this.#full;
    const changed = full ? Array.from({ length: this.pages }, (_, page) => page) : [...this.#dirty];
    const indexes = Uint32Array.from(changed).sort();
    const bytes = new Uint8Array(indexes.length * PAGE_BYTES);
    indexes.forEach((page, i) => bytes.set(this.read(page * PAGE_BYTES, PAGE_BYTES), i * PAGE_BYTES));
    this.#full = false;
    this.#dirty.clear();
    return {
      description: this.#description,
      cpus: [],
      devices: {},
      instructions: this.instructions,
      virtualTimeNs: this.instructions * INSTRUCTION_NS,
      spaces: [{ name: 'ram', pageSize: PAGE_BYTES, pageCount: this.pages, full, indexes, bytes }],
    };
  }

  screen(): undefined {
    return undefined;
  }

  outputs(): StampedOutput[] {
    if (this.#output === '') return [];
    const bytes = Uint8Array.from(Buffer.from(this.#output, 'latin1'));
    this.#output = '';
    const { instructions } = this;
    const number = this.#written;
    this.#written += bytes.length;
    const output = { kind: 'serial' as const, port: 0, bytes };
    return [{ instructions, timeNs: instructions * INSTRUCTION_NS, number, output }];
  }
}
