/**
 * The simulated store: one truth, reached by every node over a road of its own that may be slow, cut, or lie by time-out (the
 * change happened, or will happen later, and the caller is told that nobody knows).
 */
import { heartbeatKey, nodesPrefix, protectedKey } from '../../cluster/src/decisions/records.ts';
import {
  nodeRecordSchema,
  protectedListSchema,
  storeBeatSchema,
} from '../../cluster/src/protocol/records.ts';
import { storable } from '../../cluster/src/stored/records.ts';
import type { Random } from './random.ts';
import type { Scheduler } from './scheduler.ts';

/** `late`: what is asked arrives at once, but not its answer. */
export type Road = 'good' | 'slow' | 'late' | 'failing' | 'lying' | 'cut';

export interface Cell {
  value: unknown;
  version: string;
}

/** What came of one operation: its result, or that it was not done, or that nobody knows. */
export type Done<T> = { ok: T } | { error: 'failed' | 'unknown' };

const timeoutMs = 1500;

/** By the beginning of its key, what nodes refuse to store when it does not fit. Their owner records are ours alone. */
const schemas = [
  { prefix: protectedKey, schema: protectedListSchema },
  { prefix: nodesPrefix, schema: nodeRecordSchema },
  { prefix: heartbeatKey(''), schema: storeBeatSchema },
] as const;

export class SimStore {
  readonly name: string;
  readonly cells = new Map<string, Cell>();
  readonly roads = new Map<string, Road>();
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  #versions = 0;

  constructor(name: string, scheduler: Scheduler, random: Random) {
    this.name = name;
    this.#scheduler = scheduler;
    this.#random = random;
  }

  /** One atomic operation: `apply` runs when it reaches the store (perhaps never), `done` when its answer comes back. */
  operate<T>(node: string, apply: () => T, done: (result: Done<T>) => void): void {
    const random = this.#random;
    const road = this.roads.get(node) ?? 'good';
    if (road === 'failing' && random.chance(0.5)) {
      this.#scheduler.after(random.between(1, 50), () => done({ error: 'failed' }));
      return;
    }
    const there = this.#delay(road);
    const back = road === 'late' ? random.between(200, 1400) : this.#delay(road);
    const lost = road === 'cut' || (road === 'lying' && random.chance(0.2));
    const unanswered = lost || (road === 'lying' && random.chance(0.4));
    // A lie is the more dangerous the later the change lands.
    const late = road === 'lying' && random.chance(0.3) ? random.between(0, 6000) : 0;
    let settled = false;
    const settle = (result: Done<T>): void => {
      if (settled) return;
      settled = true;
      done(result);
    };
    if (!lost) {
      this.#scheduler.after(there + late, () => {
        const ok = apply();
        if (!unanswered) this.#scheduler.after(back, () => settle({ ok }));
      });
    }
    if (unanswered || there + late + back > timeoutMs)
      this.#scheduler.after(timeoutMs, () => settle({ error: 'unknown' }));
  }

  #delay(road: Road): number {
    const random = this.#random;
    if (road === 'slow') return random.chance(0.3) ? random.between(200, 2500) : random.between(20, 400);
    return random.between(0.5, 6);
  }

  /** The conditional put, to be used within `apply`. */
  swap(key: string, value: unknown, expected: string | undefined): { version: string } | undefined {
    if (this.cells.get(key)?.version !== expected) return undefined;
    return { version: this.put(key, value) };
  }

  /** The put without a condition: the last one to arrive stays. */
  put(key: string, value: unknown): string {
    const schema = schemas.find(({ prefix }) => key.startsWith(prefix))?.schema;
    if (schema !== undefined) storable(schema, value, key);
    const version = String(++this.#versions);
    this.cells.set(key, { value, version });
    return version;
  }

  get<T>(key: string): { value: T; version: string } | undefined {
    return this.cells.get(key) as { value: T; version: string } | undefined;
  }
}
