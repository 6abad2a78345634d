/**
 * The input log of a simulated VM in the store, and what of it a takeover replays, as storage has it (storage/src/log): segments under an
 * epoch, each naming the one before it. And its writer: one put at a time, durable once the owner record, read after it, still has the epoch.
 */
import type { LogCopy } from '../../cluster/src/vm/standby/copy.ts';
import type { Checkpoint, Owner, SimNode } from './node.ts';

type ReadEntry = Parameters<LogCopy['read']>[0][number];

export interface Entry {
  count: bigint;
  payload: Uint8Array;
}

export interface Segment {
  epoch: number;
  ordinal: number;
  from: bigint;
  to: bigint;
  firstInput: bigint;
  entries: readonly Entry[];
  previous: Segment | undefined;
}

export type SegmentName = Pick<Segment, 'epoch' | 'ordinal'>;

export const nextOf = ({ firstInput, entries }: Segment): bigint => firstInput + BigInt(entries.length);

const logKey = (vmId: string): string => `log/${vmId}`;

/** What a takeover finds behind the checkpoint that it resumes from. */
export interface Found {
  /** The last segment to replay. */
  last: Segment | undefined;
  /** The log does not reach back to the checkpoint. */
  refused: boolean;
}

/** To be used within an operation of the store, in the second step of a takeover. */
export function findLog(
  segments: readonly Segment[],
  before: { epoch: number; log?: SegmentName } | undefined,
  base: Checkpoint | null,
): Found {
  const nothing = { last: undefined, refused: false };
  if (before === undefined) return nothing;
  const own = segments.filter(({ epoch }) => epoch === before.epoch);
  const { log } = before;
  const isLater = log !== undefined && log.epoch >= (base?.epoch ?? 0);
  const fixed = isLater
    ? segments.find(({ epoch, ordinal }) => epoch === log.epoch && ordinal === log.ordinal)
    : undefined;
  const last =
    own.reduce<Segment | undefined>(
      (a, b) => (a === undefined || b.ordinal > a.ordinal ? b : a),
      undefined,
    ) ?? fixed;
  const from = BigInt(base?.steps ?? 0);
  if (last === undefined || last.to < from) return nothing;
  const path = pathTo(last, from);
  return path[0]!.from <= from ? { last, refused: false } : { last: undefined, refused: true };
}

/** The segments back to a count, as far as they go without a gap, in order. */
function pathTo(last: Segment, to: bigint): Segment[] {
  const path = [last];
  for (let first = last; first.from > to; first = path[0]!) {
    const { previous } = first;
    if (previous === undefined || previous.to !== first.from) break;
    path.unshift(previous);
  }
  return path;
}

/** Entries from a number on, up to the end that was found, that come behind a count. */
export function entriesOf(last: Segment | undefined, from: bigint, nextInput: number): ReadEntry[] {
  if (last === undefined) return [];
  const all = pathTo(last, from).flatMap(({ entries, firstInput }) =>
    entries.map((entry, i) => ({ ...entry, input: firstInput + BigInt(i) })),
  );
  return all.filter(({ input }) => Number(input) >= nextInput);
}

export function segmentsOf({ world: { store } }: SimNode, vmId: string): readonly Segment[] {
  return store.get<Segment[]>(logKey(vmId))?.value ?? [];
}

export interface Durable {
  to: bigint;
  next: bigint;
}

const againMs = 100;

export class SimLog {
  readonly #node: SimNode;
  readonly #vmId: string;
  readonly #epoch: number;
  readonly #tell: { durable: (durable: Durable) => void; fenced: () => void };
  #last: Segment | undefined;
  #from: bigint;
  #next: bigint;
  #entries: Entry[] = [];
  #mark: bigint;
  #putting = false;
  #over = false;

  constructor(options: {
    node: SimNode;
    vmId: string;
    epoch: number;
    from: bigint;
    nextInput: bigint;
    previous: Segment | undefined;
    tell: { durable: (durable: Durable) => void; fenced: () => void };
  }) {
    this.#node = options.node;
    this.#vmId = options.vmId;
    this.#epoch = options.epoch;
    this.#last = options.previous;
    this.#from = options.from;
    this.#mark = options.from;
    this.#next = options.nextInput;
    this.#tell = options.tell;
  }

  /** Takes entries, and the word that nothing else came in up to a count. */
  append(entries: readonly Entry[], mark: bigint): void {
    this.#entries.push(...entries);
    this.#mark = mark;
    this.#put();
  }

  end(): void {
    this.#over = true;
  }

  #put(): void {
    if (this.#putting || this.#over || (this.#entries.length === 0 && this.#mark <= this.#from)) return;
    this.#putting = true;
    const entries = this.#entries.splice(0);
    const epoch = this.#epoch;
    const ordinal = this.#last?.epoch === epoch ? this.#last.ordinal + 1 : 1;
    const sealed: Segment = {
      ...{ epoch, ordinal, entries, previous: this.#last },
      ...{ from: this.#from, to: this.#mark, firstInput: this.#next },
    };
    this.#next += BigInt(entries.length);
    this.#from = sealed.to;
    this.#last = sealed;
    this.#store(sealed);
  }

  /** An unknown outcome is settled by the same put again: it counts once. */
  #store(sealed: Segment): void {
    const { store } = this.#node.world;
    const put = (): 'refused' | 'there' | 'another' => {
      if (this.#node.refused.has('logs')) return 'refused';
      const segments = store.get<Segment[]>(logKey(this.#vmId))?.value ?? [];
      const found = segments.find(
        ({ epoch, ordinal }) => epoch === sealed.epoch && ordinal === sealed.ordinal,
      );
      if (found === undefined) store.put(logKey(this.#vmId), [...segments, sealed]);
      return found === undefined || found === sealed ? 'there' : 'another';
    };
    this.#insist(put, (result) => {
      if (result === 'refused') this.#after(() => this.#store(sealed));
      else if (result === 'another') this.#fenced();
      else this.#confirm(sealed);
    });
  }

  #confirm(sealed: Segment): void {
    const stands = (): boolean => {
      const owner = this.#node.world.store.get<Owner>(`owner/${this.#vmId}`)?.value;
      return owner?.epoch === this.#epoch && owner.state === 'owned';
    };
    this.#insist(stands, (isOurs) => {
      if (!isOurs) return this.#fenced();
      this.#putting = false;
      this.#tell.durable({ to: sealed.to, next: nextOf(sealed) });
      this.#put();
    });
  }

  #fenced(): void {
    this.#over = true;
    this.#tell.fenced();
  }

  #insist<T>(work: () => T, then: (result: T) => void): void {
    if (this.#over) return;
    const done = this.#node.bound((result: { ok: T } | { error: string }) => {
      if (this.#over) return;
      if ('ok' in result) then(result.ok);
      else this.#after(() => this.#insist(work, then));
    });
    this.#node.world.store.operate(this.#node.id, work, done);
  }

  #after(run: () => void): void {
    this.#node.world.scheduler.after(againMs, this.#node.bound(run));
  }
}
