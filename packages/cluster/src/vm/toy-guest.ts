// What guests for tests and demos have in common, which are no machines: a small RAM that checkpoints hold, and a console.
// Their logs can be replayed: what they say follows from their snapshot, from what was typed and when, whatever the pace.
import type { InputResult, LoggedInput, MachineInput, StampedOutput } from '@revenant/emulator';
import type { MachineSnapshot } from '@revenant/storage';
import type { Guest, GuestStart, Replay } from './vm-runtime.ts';

export const PAGE_BYTES = 4096;
/** Virtual time of an "instruction", whatever the guest takes for one. */
const INSTRUCTION_NS = 1000n;
/** Numbers of its console, in its checkpoints. */
const CONSOLE_DEVICE = 'console';

export abstract class ToyGuest implements Guest {
  instructions = 0n;
  readonly #description: MachineSnapshot['description'];
  readonly #ram: Uint8Array;
  readonly #dirty = new Set<number>();
  #full = true;
  #output = '';
  /** Bytes put out in its whole life, and by kind how much it was given. */
  #written = 0;
  readonly #heard: Partial<Record<MachineInput['kind'], number>>;
  #log: LoggedInput[] | undefined;
  readonly #replay: Replay | undefined;

  /** @param options.machine the name of its kind of machine, and `cpu` that of its processor, as checkpoints show them */
  constructor(options: {
    machine: string;
    cpu: string;
    pages: number;
    start: Pick<GuestStart, 'snapshot' | 'keepLog' | 'replay'>;
  }) {
    const { machine, cpu, pages, start } = options;
    const { snapshot, keepLog = false, replay } = start;
    this.#ram = new Uint8Array(PAGE_BYTES * pages);
    this.#description = { machine, cpu: { model: cpu }, memoryBytes: this.#ram.length };
    const saved = snapshot?.spaces.find(({ name }) => name === 'ram');
    saved?.indexes.forEach((page, i) =>
      this.#ram.set(saved.bytes.subarray(i * PAGE_BYTES, (i + 1) * PAGE_BYTES), page * PAGE_BYTES),
    );
    this.instructions = snapshot?.instructions ?? 0n;
    const numbers = snapshot?.devices[CONSOLE_DEVICE]?.state as
      { written: number; heard: number; did?: Record<string, number> } | undefined;
    this.#written = numbers?.written ?? 0;
    this.#heard = { ...numbers?.did, serial: numbers?.heard ?? 0 };
    this.keepLog(keepLog);
    this.#replay = replay && { ...replay, log: [...replay.log] };
  }

  abstract run(): ReturnType<Guest['run']>;
  /** The next of its instructions, whatever the time. */
  protected abstract step(): void;
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
    if (!this.hears(input)) return 'no-device';
    const number = this.#heard[input.kind] ?? 0;
    this.#log?.push({ ...this.#stamp, number, input });
    this.#take(input);
    return 'taken';
  }

  /** What it takes beside bytes for its console, to be told to `did`. */
  protected hears({ kind }: MachineInput): boolean {
    return kind === 'serial';
  }

  /** Keys and movements, where it takes any. */
  protected did(_input: MachineInput): void {
    return;
  }

  #take(input: MachineInput): void {
    const units = input.kind === 'serial' ? input.bytes.length : 1;
    this.#heard[input.kind] = (this.#heard[input.kind] ?? 0) + units;
    if (input.kind === 'serial') this.typed(input.bytes);
    else this.did(input);
  }

  get #stamp(): { instructions: bigint; timeNs: bigint } {
    const { instructions } = this;
    return { instructions, timeNs: instructions * INSTRUCTION_NS };
  }

  keepLog(on: boolean): void {
    this.#log = on ? (this.#log ?? []) : undefined;
  }

  takeLog(): LoggedInput[] {
    return this.#log?.splice(0) ?? [];
  }

  follow(): 'limit' | 'end' {
    const { log, to } = this.#replay ?? { log: [], to: this.instructions };
    while (log[0]?.instructions === this.instructions) {
      const { input, number } = log.shift()!;
      if (number !== (this.#heard[input.kind] ?? 0))
        throw new Error('the log does not go on from this snapshot');
      this.#take(input);
    }
    if (this.instructions >= to) return 'end';
    this.step();
    return 'limit';
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
      devices: {
        [CONSOLE_DEVICE]: {
          version: 1,
          state: { written: this.#written, heard: this.#heard.serial ?? 0, did: { ...this.#heard } },
        },
      },
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
    const number = this.#written;
    this.#written += bytes.length;
    return [{ ...this.#stamp, number, output: { kind: 'serial', port: 0, bytes } }];
  }
}
