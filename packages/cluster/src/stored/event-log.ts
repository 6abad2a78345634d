/**
 * The event log: what each node saw and decided, with reasons and times, kept in the store so that it outlives every process.
 * Objects `cluster/events/TIME-NODE-NONCE`: arrays of events. For people; no rule reads it. Ordered as event-order.ts says.
 */
import { randomBytes } from 'node:crypto';
import * as v from 'valibot';
import { listAll, maxList, type ObjectStore } from '@revenant/storage';
import type { LogEntry } from '../decisions/types.ts';
import { ClusterError, messageOf } from '../errors.ts';
import { clusterEventSchema, type ClusterEvent } from '../protocol/api.ts';
import { open } from '../protocol/open.ts';
import { check } from '../protocol/schema.ts';
import { bounded, maxEventDetails, maxName } from '../protocol/limits.ts';
import { orderEvents } from './event-order.ts';
import { owned } from '../owned.ts';

export type { ClusterEvent };

export const eventsPrefix = 'cluster/events/';
const flushMs = 250;
const maxWaiting = 10_000;
/** Whoever asks for events waits so long for the store. */
const readMs = 2000;
/** Events are kept for a month, and no more objects of them than a person could ever look through. */
const defaultKeepMs = 30 * 86_400_000;
const defaultKeepObjects = 50_000;
/** What one round removes at most. */
const removedAtOnce = 5000;
/** Each node looks now and then; whoever is first finds something. */
const collectMs = 3_600_000;
const firstCollectMs = 60_000;

export interface EventQuery {
  sinceMs: number;
  limit: number;
}

async function inTime<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new ClusterError('STORE', 'the store does not answer')), readMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
    work.catch(() => undefined);
  }
}

/** Of events that were met twice: in the store, and where they waited for it. */
export function withoutRepeats(events: readonly ClusterEvent[]): ClusterEvent[] {
  const seen = new Set<string>();
  return events.filter(({ by, process, seq }) => {
    if (process === undefined || seq === undefined) return true;
    const name = `${by} ${process} ${String(seq)}`;
    if (seen.has(name)) return false;
    seen.add(name);
    return true;
  });
}

export class EventLog {
  readonly #store: ObjectStore;
  readonly #node: string;
  readonly #process = randomBytes(6).toString('hex');
  #seq = 0;
  #waiting: ClusterEvent[] = [];
  /** On their way into the store. */
  #written: readonly ClusterEvent[] = [];
  #timer: NodeJS.Timeout | undefined;
  #writing = false;
  #closed = false;
  #collectAt = performance.now() + firstCollectMs;

  /** What fails waits for the next time. */
  readonly #flushOwned = owned(
    () => this.flush(),
    () => undefined,
  );

  constructor(store: ObjectStore, node: string) {
    this.#store = store;
    this.#node = node;
  }

  add(entry: LogEntry): ClusterEvent {
    const event = storableEvent({
      ...entry,
      reason: bounded(entry.reason),
      ...(entry.details === undefined ? {} : { details: boundedDetails(entry.details) }),
      atMs: Date.now(),
      by: this.#node,
      process: this.#process,
      seq: ++this.#seq,
    });
    this.#waiting.push(event);
    // A store that is away for long costs the oldest events, never memory without bound.
    if (this.#waiting.length > maxWaiting) this.#waiting.shift();
    if (!this.#closed) this.#timer ??= setTimeout(this.#flushOwned, flushMs);
    return event;
  }

  /**
   * What the store has, and what waits for it here. At most `limit`, the newest. When the store does not answer, what waits here is all
   * there is, and `missing` says why.
   */
  async read({ sinceMs, limit }: EventQuery): Promise<{ events: ClusterEvent[]; missing?: string }> {
    let stored: ClusterEvent[] = [];
    let missing: string | undefined;
    const asked = async (): Promise<ClusterEvent[]> => {
      await this.flush();
      return readEvents(this.#store, { sinceMs, limit });
    };
    try {
      stored = await inTime(asked());
    } catch (error) {
      missing = messageOf(error);
    }
    const kept = [...this.#written, ...this.#waiting].filter(({ atMs }) => atMs >= sinceMs);
    const events = orderEvents(withoutRepeats([...stored, ...kept])).slice(-limit);
    return missing === undefined ? { events } : { events, missing };
  }

  /** Writes what waits, once, and stops. */
  async close(): Promise<void> {
    await this.flush();
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  /** Nothing depends on it: what fails is tried again by the next node. */
  #collect(): void {
    if (performance.now() < this.#collectAt) return;
    this.#collectAt = performance.now() + collectMs;
    collectEvents(this.#store, Date.now()).catch(() => undefined);
  }

  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#writing || this.#waiting.length === 0) return;
    this.#writing = true;
    const events = this.#waiting;
    this.#written = events;
    this.#waiting = [];
    const time = String(events[0]!.atMs).padStart(13, '0');
    const key = `${eventsPrefix}${time}-${this.#node}-${randomBytes(4).toString('hex')}`;
    try {
      await this.#store.put(key, Buffer.from(JSON.stringify(events)), { durable: false });
      this.#collect();
    } catch {
      // Kept for the next time; should this put have happened after all, readers see the events twice.
      this.#waiting = [...events, ...this.#waiting].slice(-maxWaiting);
    } finally {
      this.#written = [];
      this.#writing = false;
      if (this.#waiting.length > 0 && !this.#closed)
        this.#timer ??= setTimeout(this.#flushOwned, flushMs * 4);
    }
  }
}

/**
 * Removes the oldest events. By wall clocks, as they are named: one that is far off costs old events, or keeps them longer.
 * @returns how many objects went.
 */
export async function collectEvents(
  store: ObjectStore,
  nowMs: number,
  {
    keepMs = defaultKeepMs,
    keepObjects = defaultKeepObjects,
  }: { keepMs?: number; keepObjects?: number } = {},
): Promise<number> {
  const bound = `${eventsPrefix}${String(Math.max(0, nowMs - keepMs)).padStart(13, '0')}`;
  const oldest: string[] = [];
  let objects = 0;
  // In the order of their names, which is that of time.
  for await (const { key } of listAll(store, eventsPrefix)) {
    objects++;
    if (oldest.length < removedAtOnce) oldest.push(key);
  }
  const excess = Math.max(0, objects - keepObjects);
  const removed = oldest.filter((key, i) => i < excess || key < bound);
  await store.delete(removed);
  return removed.length;
}

function boundedDetails(details: NonNullable<LogEntry['details']>): NonNullable<LogEntry['details']> {
  return Object.fromEntries(
    Object.entries(details)
      .slice(0, maxEventDetails)
      .map(([name, value]) => [name, typeof value === 'string' ? bounded(value) : value]),
  );
}

/**
 * An event as readers will find it. In place of one that they would leave out, a fault of ours, stands one that says so: an event that nobody
 * could read would be missed by nobody.
 */
function storableEvent(event: ClusterEvent): ClusterEvent {
  try {
    return check(clusterEventSchema, JSON.parse(JSON.stringify(event)), 'it');
  } catch (error) {
    const { event: name, by, process, seq } = event;
    const reason = bounded(`${bounded(name, maxName)} could not be stored: ${messageOf(error)}`);
    return { event: 'event-refused', reason, atMs: Date.now(), by, process: process!, seq: seq! };
  }
}

/** Those of one object. What is no event (damaged, or of another release) is left out: for people, half a story is better than none. */
function parseEvents(body: Uint8Array): ClusterEvent[] {
  let values: unknown;
  try {
    values = JSON.parse(Buffer.from(body).toString('utf8'));
  } catch {
    return [];
  }
  if (!Array.isArray(values)) return [];
  return values.flatMap((value: unknown) => {
    const event = v.safeParse(open(clusterEventSchema), value);
    return event.success ? [event.output] : [];
  });
}

/** Events from `sinceMs` on, in the order of what happened. At most `limit`, the newest of them. */
export async function readEvents(
  store: ObjectStore,
  { sinceMs = 0, limit = 1000 }: { sinceMs?: number; limit?: number } = {},
): Promise<ClusterEvent[]> {
  const events: ClusterEvent[] = [];
  // An object is named by its first event; the one before may still hold later ones.
  let after = `${eventsPrefix}${String(Math.max(0, sinceMs - 60_000)).padStart(13, '0')}`;
  for (;;) {
    const page = await store.list(eventsPrefix, { after, limit: maxList });
    for (const { key } of page.objects) {
      const object = await store.get(key);
      if (object === undefined) continue;
      events.push(...parseEvents(object.body));
    }
    const last = page.objects.at(-1);
    if (!page.more || last === undefined) break;
    after = last.key;
  }
  const wanted = events.filter(({ atMs }) => atMs >= sinceMs);
  return orderEvents(withoutRepeats(wanted)).slice(-limit);
}
