/**
 * Holds: "somebody reads this checkpoint; collectors keep it". An export or a verification reads for minutes what a retention policy
 * would remove meanwhile (docs/CHECKPOINT_FORMAT.md, "Collection").
 *
 * Why neither order of a hold and a collection loses it: the holder puts its hold, then reads the collectors' notes; a collector puts
 * its note, then reads the holds. So either the collector sees the hold and stops, or the holder sees the note and is refused. A holder
 * renews its hold; one that was killed is no longer believed after a while, by the wall clock: should two hosts' clocks be that far
 * apart, the reader finds a pack missing and says so; nothing is lost.
 */
import { isRecord } from '../codec.ts';
import { isStorageError, isStoreError, StorageError } from '../errors.ts';
import { newNonce, systemHost, type StorageHost } from '../host.ts';
import { readOwner } from '../ownership.ts';
import { listAll, type ObjectStore } from '../store/object-store.ts';
import { checkedRecord, getRecord, replaceRecord } from '../store/records.ts';
import { readCondemned } from './find.ts';
import { formatId, holdsPrefix, isIdText, parseId, sameId, type CheckpointId } from './keys.ts';
import { isResumePointAfter } from './lineage.ts';

const renewMs = 60_000;
/** Ten renewals missed: its holder is gone. */
const believedMs = 600_000;

export interface Hold {
  /** Lets the collectors have it again. */
  release(): Promise<void>;
}

export interface FoundHold {
  key: string;
  id: CheckpointId;
  /** Why the checkpoint is held, in words for people. */
  purpose: string;
  /** False: its holder has not renewed it for long. */
  alive: boolean;
}

/**
 * Keeps a checkpoint from being collected until it is released.
 * @returns undefined when the store may not be written to: then it is read without a hold, as from an old copy.
 * @throws StorageError `CHECKPOINT_NOT_FOUND` when a collector is removing it.
 */
export async function holdCheckpoint(
  store: ObjectStore,
  vmId: string,
  id: CheckpointId,
  options: { purpose: string; host?: StorageHost },
): Promise<Hold | undefined> {
  const { purpose, host = systemHost } = options;
  const key = `${holdsPrefix(vmId)}${newNonce(host)}`;
  const put = (): Promise<void> =>
    replaceRecord(
      store,
      host,
      key,
      checkedRecord(key, { id: formatId(id), purpose, renewedAtMs: host.wallClockMs() }, isHold),
    );
  try {
    await put();
  } catch (error) {
    if (isStoreError(error, 'ACCESS_DENIED')) return undefined;
    throw error;
  }
  const over = new AbortController();
  const renewing = renew(put, host, over.signal);
  const release = async (): Promise<void> => {
    over.abort();
    await renewing;
    await store.delete([key]);
  };
  try {
    const lineage = (await readOwner(store, vmId))?.record.lineage ?? [];
    const condemned = (await readCondemned(store, vmId)).some(
      ({ epoch, ids }) => ids.some((each) => sameId(each, id)) && !isResumePointAfter(lineage, id, epoch),
    );
    if (condemned)
      throw new StorageError(
        'CHECKPOINT_NOT_FOUND',
        `${vmId}: checkpoint ${formatId(id)} is being removed by a collector`,
        { hint: 'take a newer one' },
      );
    return { release };
  } catch (error) {
    await release();
    throw error;
  }
}

async function renew(put: () => Promise<void>, host: StorageHost, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    // Rejects when it is released.
    await host.sleep(renewMs, signal).catch(() => undefined);
    if (signal.aborted) return;
    // A store that fails for a moment is asked again at the next turn, long before the hold is no longer believed.
    await put().catch(() => undefined);
  }
}

/** The holds on a VM's checkpoints. */
export async function readHolds(store: ObjectStore, vmId: string, nowMs: number): Promise<FoundHold[]> {
  const holds: FoundHold[] = [];
  for await (const { key } of listAll(store, holdsPrefix(vmId))) {
    const hold = await readHold(store, key, nowMs);
    if (hold !== undefined) holds.push(hold);
  }
  return holds;
}

/** Undefined for one that was released since, or says nothing that can be understood. */
async function readHold(store: ObjectStore, key: string, nowMs: number): Promise<FoundHold | undefined> {
  try {
    const value = (await getRecord(store, key))?.value;
    if (!isHold(value)) return undefined;
    const { id, purpose, renewedAtMs } = value;
    return { key, id: parseId(id), purpose, alive: Math.abs(nowMs - renewedAtMs) < believedMs };
  } catch (error) {
    if (isStorageError(error, 'CHECKPOINT_DAMAGED')) return undefined;
    throw error;
  }
}

/** Asked of what is written and of what is read. */
const isHold = (value: unknown): value is { id: string; purpose: string; renewedAtMs: number } =>
  isRecord(value) &&
  isIdText(value['id']) &&
  typeof value['purpose'] === 'string' &&
  Number.isFinite(value['renewedAtMs']);
