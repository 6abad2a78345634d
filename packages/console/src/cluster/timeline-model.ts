/** What a VM's timeline shows: who had it when, what happened, and its checkpoints; pure, from what the cluster tells. */
import type { ClusterEvent, ListedCheckpoint } from '@revenant/cluster/protocol';
import type { Tone } from './text.ts';

/** One epoch: an owner, from its first sign to the next one's. */
export interface Span {
  epoch: number;
  /** Empty where no event tells. */
  node: string;
  fromMs: number;
  toMs: number;
}

export interface Moment {
  checkpoint: ListedCheckpoint;
  atMs: number;
}

const bad = /fail|lost|hung|dead|damaged|broken|torn|refused|panicked|unreadable|stretched|not-/;
const moving = /moving|rebalancing|handing-over|prepared|assigned|resuming|given-up/;
const ended = /stopping|powered-off|stays|waits|suspended|reset|stood-still/;

export function toneOf({ event }: Pick<ClusterEvent, 'event'>): Tone {
  if (bad.test(event)) return 'bad';
  if (ended.test(event)) return 'warn';
  return moving.test(event) ? 'accent' : 'quiet';
}

/** Those that can be gone to, in order of time. */
export function momentsOf(checkpoints: readonly ListedCheckpoint[]): Moment[] {
  return checkpoints
    .flatMap((checkpoint) => (checkpoint.atMs === undefined ? [] : [{ checkpoint, atMs: checkpoint.atMs }]))
    .sort((a, b) => a.atMs - b.atMs);
}

/** In order; each ends where the next begins, the last one now. */
export function spansOf(
  checkpoints: readonly ListedCheckpoint[],
  events: readonly ClusterEvent[],
  nowMs: number,
): Span[] {
  const found = new Map<number, { fromMs: number; node: string }>();
  const seen = (epoch: number, atMs: number, node: string): void => {
    const known = found.get(epoch);
    found.set(epoch, {
      fromMs: Math.min(known?.fromMs ?? atMs, atMs),
      node: known?.node === undefined || known.node === '' ? node : known.node,
    });
  };
  for (const { epoch, atMs, counts } of checkpoints) if (atMs !== undefined && counts) seen(epoch, atMs, '');
  for (const { epoch, atMs, by } of events) if (epoch !== undefined && epoch > 0) seen(epoch, atMs, by);
  const spans = [...found].map(([epoch, span]) => ({ epoch, ...span })).sort((a, b) => a.epoch - b.epoch);
  return spans.map(({ epoch, node, fromMs }, n) => ({
    epoch,
    node,
    fromMs,
    toMs: Math.max(fromMs, spans[n + 1]?.fromMs ?? nowMs),
  }));
}

/** The moment nearest to a time; undefined when there is none. */
export function nearest(moments: readonly Moment[], atMs: number): Moment | undefined {
  let found: Moment | undefined;
  for (const moment of moments)
    if (found === undefined || Math.abs(moment.atMs - atMs) < Math.abs(found.atMs - atMs)) found = moment;
  return found;
}

/** Steps of the axis that give at most `most` labels. */
export function axisSteps(fromMs: number, toMs: number, most: number): number[] {
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 43_200, 86_400];
  const stepMs = 1000 * (steps.find((step) => (toMs - fromMs) / 1000 / step <= most) ?? 7 * 86_400);
  const first = Math.ceil(fromMs / stepMs) * stepMs;
  return Array.from(
    { length: Math.max(0, Math.floor((toMs - first) / stepMs) + 1) },
    (_, n) => first + n * stepMs,
  );
}

/** What is replayed: from a checkpoint to a moment of the guest's own time. */
export interface Stretch {
  /** Id of the checkpoint. */
  from: string;
  toMs: number;
}

/**
 * The guest's own time at a moment of the nodes' clocks, as the checkpoints around it tell; undefined when none does. Behind the last one it is
 * taken to run as fast as that clock.
 */
export function virtualMsAt(moments: readonly Moment[], atMs: number): number | undefined {
  const known = moments.flatMap(({ atMs: at, checkpoint: { virtualMs } }) =>
    virtualMs === undefined ? [] : [{ at, virtualMs }],
  );
  const before = known.findLast(({ at }) => at <= atMs) ?? known[0];
  if (before === undefined) return undefined;
  const after = known.find(({ at }) => at > before.at);
  if (after === undefined) return before.virtualMs + Math.max(0, atMs - before.at);
  const part = Math.max(0, Math.min(1, (atMs - before.at) / (after.at - before.at)));
  return before.virtualMs + part * (after.virtualMs - before.virtualMs);
}

/** From the checkpoint nearest to where a drag began to where it ended; undefined where that is not later, or nothing tells. */
export function stretchOf(
  moments: readonly Moment[],
  { fromMs, toMs }: { fromMs: number; toMs: number },
): Stretch | undefined {
  const from = nearest(moments, fromMs);
  const virtualMs = virtualMsAt(moments, toMs);
  if (from === undefined || virtualMs === undefined || toMs <= from.atMs) return undefined;
  return { from: from.checkpoint.id, toMs: virtualMs };
}
