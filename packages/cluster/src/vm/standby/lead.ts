// A standby takes its VM over: what of the log only it has comes first in the log of its epoch, and what only the store has it does before.
import { LogReader, type CheckpointKey, type ObjectStore, type ReadEntry } from '@revenant/storage';
import type { Owned } from '../epochs.ts';
import { openBatch } from '../log-batch.ts';
import { ownState } from '../own-state.ts';
import type { Handed } from '../session-outputs.ts';
import type { Standby } from './standby-vm.ts';

export interface Lead {
  handed: Handed;
  /** Its machine goes live there; and how many entries it did not have and read from the store. */
  liveFrom: bigint;
  nextInput: bigint;
  read: number;
  /** The cut of which the newest checkpoint is; undefined: it does not know which pages changed since. */
  since: number | undefined;
}

/**
 * What a standby goes on with under an epoch that was raised above the one that it followed. Undefined: it can't, as others had the VM in
 * between, or the newest checkpoint is behind all that it knows.
 * @throws StorageError `LOG_DAMAGED`, StoreError
 */
export async function leadOf(
  store: ObjectStore,
  standby: Standby,
  { ownership }: Owned,
  key: CheckpointKey | undefined,
): Promise<Lead | undefined> {
  const { log, chain, before } = ownership;
  const { copy } = standby;
  const newest = chain.at(-1);
  if (before !== standby.epoch || newest === undefined) return undefined;
  const own = ownState(newest.body.devices);
  const { last } = log ?? {};
  // Where what the store has ends: its log, or a checkpoint that is newer.
  const end =
    last === undefined
      ? { to: newest.head.instructions, nextInput: BigInt(own.nextInput) }
      : { to: last.to, nextInput: last.nextInput };
  const read = await readMissing(store, standby, ownership, { end, key });
  if (Number(end.nextInput) > copy.next || end.to > copy.mark) return undefined;
  const handed = {
    ...{ logTo: end.to, nextInput: end.nextInput },
    seed: copy.from(end.nextInput).map(({ count, payload }) => ({ count, payload })),
    again: standby.said,
  };
  // One that began later than the newest checkpoint knows of no change before itself.
  const since = own.nextInput >= standby.base ? own.nextInput : undefined;
  return { handed, liveFrom: copy.mark, nextInput: BigInt(copy.next), read, since };
}

async function readMissing(
  store: ObjectStore,
  { copy, thread, ...standby }: Standby,
  { vmId, log }: Owned['ownership'],
  { end, key }: { end: { to: bigint; nextInput: bigint }; key: CheckpointKey | undefined },
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
  await thread.ask('further', { entries: opened, to: copy.mark });
  return fresh.length;
}
