/**
 * The order of events that several nodes wrote. No clock of one host says what came before what on another; what does is
 *   - the number of an event among those of its process,
 *   - the epoch of a VM: what was done under one came before what was done under the next,
 *   - the term: what a master decided came before what the next one did.
 * Between events that none of these relates, the nodes' clocks serve, as a person expects it, and decide nothing else.
 */
import type { ClusterEvent } from '../protocol/api.ts';

/** What one process wrote, in its order, with the first that is not given out yet. */
interface Stream {
  events: ClusterEvent[];
  next: number;
}

/** Ranks in which lower numbers come first: epochs of one VM, or terms. */
class Ranks {
  readonly #left = new Map<string, Map<number, number>>();

  add(name: string, rank: number, count: number): void {
    const ranks = this.#left.get(name) ?? new Map<number, number>();
    this.#left.set(name, ranks);
    const left = (ranks.get(rank) ?? 0) + count;
    if (left === 0) ranks.delete(rank);
    else ranks.set(rank, left);
  }

  /** True while something of a lower rank is still to come. */
  waits(name: string, rank: number): boolean {
    for (const other of this.#left.get(name)?.keys() ?? []) if (other < rank) return true;
    return false;
  }
}

function rankOf({ vm, epoch, details }: ClusterEvent): [name: string, rank: number] | undefined {
  if (vm !== undefined && epoch !== undefined) return [`vm ${vm}`, epoch];
  const term = details?.['term'];
  return typeof term === 'number' ? ['term', term] : undefined;
}

export function orderEvents(events: readonly ClusterEvent[]): ClusterEvent[] {
  const streams = streamsOf(events);
  const ranks = new Ranks();
  const count = (event: ClusterEvent, by: number): void => {
    const rank = rankOf(event);
    if (rank !== undefined) ranks.add(...rank, by);
  };
  for (const event of events) count(event, 1);
  const ordered: ClusterEvent[] = [];
  while (ordered.length < events.length) {
    let first: Stream | undefined;
    let stuck: Stream | undefined;
    for (const stream of streams) {
      const head = stream.events[stream.next];
      if (head === undefined) continue;
      if (stuck === undefined || earlier(head, stuck)) stuck = stream;
      const rank = rankOf(head);
      if (rank !== undefined && ranks.waits(...rank)) continue;
      if (first === undefined || earlier(head, first)) first = stream;
    }
    // Each waits for another only when events contradict each other: then the clocks are all there is.
    const chosen = (first ?? stuck)!;
    const event = chosen.events[chosen.next++]!;
    count(event, -1);
    ordered.push(event);
  }
  return ordered;
}

/** By process; events of older versions by the node that wrote them and its clock. */
function streamsOf(events: readonly ClusterEvent[]): Stream[] {
  const streams = new Map<string, ClusterEvent[]>();
  for (const event of events) {
    const name = `${event.by} ${event.process ?? ''}`;
    const stream = streams.get(name);
    if (stream === undefined) streams.set(name, [event]);
    else stream.push(event);
  }
  for (const stream of streams.values())
    stream.sort((a, b) => (a.seq ?? 0) - (b.seq ?? 0) || a.atMs - b.atMs);
  return [...streams.values()].map((stream) => ({ events: stream, next: 0 }));
}

const earlier = (event: ClusterEvent, { events, next }: Stream): boolean => event.atMs < events[next]!.atMs;
