/**
 * A standby takes its VM over: what of the log only it has comes first in the log of its epoch, and what only the store has it does before.
 */
import {
  isStoreError,
  LogReader,
  LogWriter,
  type CheckpointKey,
  type LogPosition,
  type ObjectStore,
  type ReadEntry,
} from '@revenant/storage';
import type { Owned } from '../epochs.ts';
import { openBatch } from '../log-batch.ts';
import { ownState } from '../../stored/own-state.ts';
import type { LogCopy } from './copy.ts';
import type { Handed, Lead } from './handed.ts';
import { ownNote } from './owner-note.ts';
import type { Standby } from './standby-vm.ts';

/** Where what the store has ends. */
export interface StoreEnd {
  to: bigint;
  nextInput: bigint;
}

/** Whether what a standby holds is the life of the VM up to now. `before`: the last epoch that may have run it. `noted`: see `notedFor`. */
export function isOfLife(
  followed: number,
  { before, noted }: { before: number | undefined; noted: number | undefined },
): boolean {
  // Epochs in between were this session's own, and did not run it: the note would not be there any more.
  return before === followed || noted === followed;
}

/** What of a copy comes next in the log; undefined: the store's log has more than the copy. */
export function seedOf(
  copy: LogCopy,
  end: StoreEnd,
): Pick<Handed, 'seed' | 'logTo' | 'nextInput' | 'gap'> | undefined {
  if (Number(end.nextInput) > copy.next || end.to > copy.mark) return undefined;
  const held = copy.from(end.nextInput);
  const seed = held.map(({ count, payload }) => ({ count, payload }));
  // Less is in the store than its owner was told: a damaged last segment was left out.
  if (end.nextInput + BigInt(seed.length) !== BigInt(copy.next))
    return { logTo: copy.mark, nextInput: BigInt(copy.next), seed: [], gap: true };
  return { logTo: end.to, nextInput: end.nextInput, seed, gap: false };
}

/**
 * What a standby goes on with under an epoch that was raised above the one that it followed. `stored`: the store has more than it does.
 * `foreign`: others had the VM in between.
 * @throws StorageError `LOG_DAMAGED`, StoreError
 */
export async function leadOf(
  store: ObjectStore,
  standby: Standby,
  { ownership }: Owned,
  key: CheckpointKey | undefined,
): Promise<Lead | 'stored' | 'foreign'> {
  const { log, chain, before } = ownership;
  const { copy } = standby;
  const newest = chain.at(-1);
  const noted = ownNote(ownership);
  if (newest === undefined || !isOfLife(standby.epoch, { before, noted })) return 'foreign';
  const own = ownState(newest.body.devices);
  const { last } = log ?? {};
  // Its log, or a checkpoint that is newer.
  const end =
    last === undefined
      ? { to: newest.head.instructions, nextInput: BigInt(own.nextInput) }
      : { to: last.to, nextInput: last.nextInput };
  const read = await readMissing(store, standby, ownership, { end, key });
  const seed = seedOf(copy, end);
  if (seed === undefined) return 'stored';
  const handed = { ...seed, again: standby.said };
  // One that began later than the newest checkpoint knows of no change before itself.
  const since = own.nextInput >= standby.base ? own.nextInput : undefined;
  return { handed, liveFrom: copy.mark, nextInput: BigInt(copy.next), read, since };
}

/**
 * Whether this session told an owner of the VM that it holds more than it does now, with what the store has: the one that it followed, or the one
 * whose epoch the owner record notes. What it told that one is gone when it led the VM since, and ended before the store had it.
 */
export function holdsLess(
  { promised, epoch, copy }: Pick<Standby, 'promised' | 'epoch' | 'copy'>,
  noted: number | undefined,
): boolean {
  if (promised === undefined || (promised.epoch !== epoch && promised.epoch !== noted)) return false;
  return copy.next < promised.next || copy.mark < promised.mark;
}

async function readMissing(
  store: ObjectStore,
  { copy, thread, ...standby }: Standby,
  { vmId, log }: Owned['ownership'],
  { end, key }: { end: StoreEnd; key: CheckpointKey | undefined },
): Promise<number> {
  const { last, path, torn } = log ?? {};
  const hasAll = Number(end.nextInput) <= copy.next && end.to <= copy.mark;
  if (hasAll || last === undefined || path === undefined) return 0;
  const reader = new LogReader({ store, vmId, path, last, torn, options: { after: copy.mark, key } });
  const entries: ReadEntry[] = [];
  for await (const entry of reader.entries()) entries.push(entry);
  const fresh = copy.read(entries, last.to);
  const opened = fresh.map(({ payload, input }) => {
    const { log: inputs, places } = openBatch(payload);
    Object.assign(standby.places, places);
    return { log: inputs, next: Number(input) + 1 };
  });
  await thread?.ask('further', { entries: opened, to: copy.mark });
  return fresh.length;
}

/** What an ordinary takeover replays where a standby's machine is no use, and what it holds is: the store's log, and that. */
export function replayWith(
  { logged }: Owned,
  { handed, liveFrom }: Lead,
): { entries: readonly ReadEntry[]; to: bigint } {
  const held = handed.seed.map((entry, i) => ({ ...entry, input: handed.nextInput + BigInt(i) }));
  return { entries: [...(logged?.entries ?? []), ...held], to: liveFrom };
}

/**
 * Puts what only a standby had into the log of the epoch, for whoever has the VM next.
 * @returns whether all of it is durable
 */
export async function publish(
  store: ObjectStore,
  { ownership }: Owned,
  { handed, liveFrom }: Lead,
  key: CheckpointKey | undefined,
): Promise<boolean> {
  const previous: LogPosition | undefined = ownership.log?.last;
  const { logTo: from, nextInput, seed } = handed;
  const writer = new LogWriter(store, ownership, { key, from, nextInput, previous });
  for (const entry of seed) while (writer.append(entry) === 'full') await writer.flush();
  writer.mark(liveFrom);
  await writer.close();
  const { durable, error } = writer.status;
  return error === undefined && durable.count >= liveFrom;
}

/** Whether it may be read, or written, in a moment. */
export const isOfMoment = (error: unknown): boolean => isStoreError(error) && error.retryable;
