/**
 * Who owns a VM (docs/CHECKPOINT_FORMAT.md, "Ownership"). One record per VM, swapped by conditional put, never deleted:
 *
 * - `epoch` is the fencing number; it only rises. Epochs are safety; `lease` is liveness: a counter that its owner renews,
 *   which others watch by their own monotonic clocks (no two hosts' wall clocks are ever compared).
 * - `lineage` says which checkpoints exist for good: the last entry's epoch may add checkpoints; each entry names the
 *   checkpoint that its epoch resumed from, and of the epoch before nothing later than that counts.
 *
 * A takeover has two steps: (1) raise the epoch with `from` pending; (2) find the newest intact checkpoint, and fix it.
 * Why nothing committed is lost or duplicated: a writer puts its manifest, then reads this record, and reports success only
 * when its epoch still stands. If it does, the put came before (1), and the search in (2) sees it. If it does not, the
 * writer reports FENCED, whether or not the search saw it. A manifest that lands after (2) is not in the lineage: no
 * reader ever takes it for a checkpoint, and the collector removes it.
 */
import { isRecord } from './codec.ts';
import { findNewestIntact, type Refusal } from './checkpoint/find.ts';
import { formatId, ownerKey, vmsPrefix, type CheckpointId } from './checkpoint/keys.ts';
import { isVisible, lineageFrom, type LineageEntry } from './checkpoint/lineage.ts';
import type { Manifest } from './checkpoint/manifest.ts';
import type { CheckpointKey } from './encryption.ts';
import { isStoreError, StorageError } from './errors.ts';
import { chooseLog, type LogResume } from './log/resume.ts';
import { insist } from './insist.ts';
import { systemHost, type StorageHost } from './host.ts';
import type { ObjectStore, ObjectVersion } from './store/object-store.ts';
import { PatientStore } from './store/patient-store.ts';
import { checkedRecord, getRecord, putRecord } from './store/records.ts';

export { isVisible, type LineageEntry };

export interface OwnerRecord {
  vmId: string;
  /** `released`: given up by its owner, free to take. `deleted`: a tombstone. */
  state: 'owned' | 'released' | 'deleted';
  epoch: number;
  /** The node that holds the epoch. */
  owner: string;
  lineage: LineageEntry[];
  lease: {
    /** Rises with each renewal. */
    renewals: number;
    /** How long after a renewal the owner may run, in milliseconds. */
    durationMs: number;
  };
  /** A checkpoint that is still being restored from, lazily: the collector keeps it. */
  pinned?: CheckpointId | null;
  /** The cluster's own fields, kept as they are. */
  notes: Record<string, unknown>;
}

export interface StoredOwner {
  record: OwnerRecord;
  version: ObjectVersion;
}

/** What `raiseEpoch` gives: the right to write checkpoints under `epoch`. */
export interface Ownership {
  vmId: string;
  epoch: number;
  owner: string;
  /** The checkpoint to resume from; null: start afresh. */
  resumeFrom: CheckpointId | null;
  /** The manifests of `resumeFrom` when they were read already, so that a resume need not read them again. */
  chain: readonly Manifest[];
  /** Newer checkpoints that were refused as damaged, newest first. Say so: never silently an older one. */
  refused: Refusal[];
  stored: StoredOwner;
  /** What of the input log there is to replay, when that was asked for. */
  log?: LogResume;
  /** The last epoch before this one that may have run the VM: raises that were given up are none. Undefined: none has. */
  before?: number | undefined;
}

export interface RaiseOptions {
  owner: string;
  /** Only if this is the VM's epoch now (0: no record yet); else FENCED. Default: whatever it is. */
  expectedEpoch?: number;
  /** The first epoch of a VM that has no record yet. Default 1. */
  firstEpoch?: number;
  leaseMs?: number;
  /** Resume from this checkpoint rather than the newest intact one (a person's choice: rolling back). */
  resumeFrom?: CheckpointId;
  /**
   * The history goes on from the end of the input log: what is behind the checkpoint is replayed before the machine goes live. Default
   * false: it goes on from the checkpoint, and what was logged behind it is no part of the history any more.
   */
  replayLog?: boolean;
  /** When the input log is broken in the middle: replay what is before the break. Default false: throw, and leave everything as it is. */
  acceptBrokenLog?: boolean;
  /** When checkpoints exist but none is intact: give them up. Default false: throw, and leave everything as it is. */
  startAfresh?: boolean;
  /** Take a deleted VM's name again. */
  revive?: boolean;
  /** Default: as they are. A function is given those of the very record that is replaced; what it throws leaves everything as it is. */
  notes?: Record<string, unknown> | ((before: Record<string, unknown>) => Record<string, unknown>);
  key?: CheckpointKey | undefined;
  host?: StorageHost;
}

/** Epochs that still have visible checkpoints; older ones are forgotten, and their checkpoints with them. */
const maxLineage = 256;
const maxTries = 16;

/** The record, or undefined when the VM was never owned. */
export async function readOwner(store: ObjectStore, vmId: string): Promise<StoredOwner | undefined> {
  const found = await getRecord(store, ownerKey(vmId));
  return found && { record: parseOwner(vmId, found.value), version: found.version };
}

/** The VM's epoch; 0 when it was never owned. */
export async function readEpoch(store: ObjectStore, vmId: string): Promise<number> {
  return (await readOwner(store, vmId))?.record.epoch ?? 0;
}

/**
 * Takes a VM over: raises its epoch and fixes the checkpoint to resume from. When it returns, no checkpoint of an older
 * epoch can become the newest any more. Throws when interrupted between its steps: calling again goes on from there.
 * @throws StorageError `FENCED` (another was first), `VM_DELETED`, `CHECKPOINT_DAMAGED` (none is intact),
 *   `CHECKPOINT_NOT_FOUND` (resumeFrom), `KEY_…`
 */
export async function raiseEpoch(
  store: ObjectStore,
  vmId: string,
  options: RaiseOptions,
): Promise<Ownership> {
  const host = options.host ?? systemHost;
  const patient = new PatientStore(store, host);
  const raised = await raise(patient, host, vmId, options);
  return fix(patient, host, raised, options);
}

async function raise(
  store: ObjectStore,
  host: StorageHost,
  vmId: string,
  options: RaiseOptions,
): Promise<StoredOwner> {
  for (let attempt = 0; attempt < maxTries; attempt++) {
    const current = await readOwner(store, vmId);
    const epoch = current?.record.epoch ?? (options.firstEpoch ?? 1) - 1;
    if (options.expectedEpoch !== undefined && epoch !== options.expectedEpoch)
      throw fenced(vmId, options, epoch);
    if (current?.record.state === 'deleted' && options.revive !== true)
      throw new StorageError('VM_DELETED', `${vmId}: the VM was deleted`, { hint: 'pick another name' });
    const settled = (current?.record.lineage ?? []).filter(({ from }) => from !== undefined);
    const record: OwnerRecord = {
      vmId,
      state: 'owned',
      epoch: epoch + 1,
      owner: options.owner,
      lineage: [...(current?.record.state === 'deleted' ? [] : settled), { epoch: epoch + 1 }],
      lease: { renewals: 0, durationMs: options.leaseMs ?? 0 },
      notes: notesOf(options.notes, current?.record.notes ?? {}),
    };
    try {
      return await swap(store, host, record, current);
    } catch (error) {
      // Lost to a renewal or to another's takeover: look again, unless this very epoch was asked for.
      if (!isStoreError(error, 'CONFLICT')) throw error;
    }
  }
  throw busy(vmId);
}

function notesOf(wanted: RaiseOptions['notes'], before: Record<string, unknown>): Record<string, unknown> {
  return typeof wanted === 'function' ? wanted(before) : (wanted ?? before);
}

async function fix(
  store: ObjectStore,
  host: StorageHost,
  raised: StoredOwner,
  options: RaiseOptions,
): Promise<Ownership> {
  const { vmId, epoch } = raised.record;
  const before = raised.record.lineage.findLast(({ from }) => from !== undefined)?.epoch;
  let current = raised;
  for (let attempt = 0; attempt < maxTries; attempt++) {
    const { from, chain, refused } = await chooseResume(store, current.record, options);
    const log = await chooseReplay(store, current.record, {
      ...options,
      from: chain.at(-1)?.head.instructions,
      base: from?.epoch,
    });
    const replayed = log?.last && { epoch: log.last.epoch, ordinal: log.last.ordinal, hash: log.last.hash };
    const record = {
      ...current.record,
      lineage: lineageFrom(current.record.lineage, epoch, from, maxLineage, replayed),
      pinned: from,
    };
    try {
      const stored = await swap(store, host, record, current);
      const ownership = {
        vmId,
        epoch,
        owner: options.owner,
        resumeFrom: from,
        chain,
        refused,
        stored,
        before,
      };
      return log === undefined ? ownership : { ...ownership, log };
    } catch (error) {
      if (!isStoreError(error, 'CONFLICT')) throw error;
    }
    current = await requireEpoch(store, vmId, epoch);
  }
  throw busy(vmId);
}

/** Undefined when nothing is to be replayed: a person who rolls back wants the checkpoint as it is. */
async function chooseReplay(
  store: ObjectStore,
  { vmId, lineage }: OwnerRecord,
  options: Omit<RaiseOptions, 'resumeFrom'> & {
    resumeFrom?: CheckpointId;
    from: bigint | undefined;
    base: number | undefined;
  },
): Promise<LogResume | undefined> {
  if (options.replayLog !== true || options.resumeFrom !== undefined) return undefined;
  const last = lineage.findLast(({ from }) => from !== undefined);
  const before = last && { epoch: last.epoch, log: last.log };
  return chooseLog(store, vmId, {
    before,
    from: options.from ?? 0n,
    base: options.base,
    acceptBroken: options.acceptBrokenLog === true,
    key: options.key,
  });
}

async function chooseResume(
  store: ObjectStore,
  record: OwnerRecord,
  options: RaiseOptions,
): Promise<{ from: CheckpointId | null; chain: Manifest[]; refused: Refusal[] }> {
  const settled = record.lineage.filter(({ from }) => from !== undefined);
  const wanted = options.resumeFrom;
  const found = await findNewestIntact(store, record.vmId, settled, {
    key: options.key,
    ...(wanted === undefined ? {} : { only: wanted }),
  });
  if (wanted !== undefined && found.id === null)
    throw new StorageError(
      'CHECKPOINT_NOT_FOUND',
      `${record.vmId}: checkpoint ${formatId(wanted)} ${found.refused[0]?.reason ?? 'does not exist'}`,
    );
  const newest = found.refused[0];
  if (found.id === null && newest !== undefined && options.startAfresh !== true)
    throw new StorageError(
      'CHECKPOINT_DAMAGED',
      `${record.vmId}: no checkpoint is intact; the newest, ${formatId(newest.id)}, ${newest.reason}`,
      { hint: 'repair the store, or give the checkpoints up and start afresh' },
    );
  return { from: found.id, chain: found.chain, refused: found.refused };
}

/**
 * Moves the resume point back to an older checkpoint, when the one fixed proves damaged while it is being restored.
 * Only before this epoch's first checkpoint: call it before opening a writer.
 */
export async function moveResumePoint(
  store: ObjectStore,
  ownership: Ownership,
  to: CheckpointId,
  host: StorageHost = systemHost,
): Promise<Ownership> {
  const { vmId, epoch } = ownership;
  const stored = await changeOwned(store, host, ownership, (record) => {
    if (!isVisible(record.lineage, to) || to.epoch >= epoch)
      throw new StorageError(
        'CHECKPOINT_NOT_FOUND',
        `${vmId}: ${formatId(to)} is no checkpoint to resume from`,
      );
    return { ...record, lineage: lineageFrom(record.lineage, epoch, to, maxLineage), pinned: to };
  });
  return { ...ownership, resumeFrom: to, chain: [], stored };
}

/** Lets the collector have the resume point: call it when every page of it is in the machine. */
export async function unpinResumePoint(
  store: ObjectStore,
  ownership: Ownership,
  host: StorageHost = systemHost,
): Promise<Ownership> {
  const stored = await changeOwned(store, host, ownership, (record) => ({ ...record, pinned: null }));
  return { ...ownership, stored };
}

/**
 * Renews the lease (and replaces the notes when given).
 * @throws StorageError `FENCED` when the epoch no longer stands.
 */
export async function renewLease(
  store: ObjectStore,
  ownership: Ownership,
  options: { notes?: Record<string, unknown>; durationMs?: number; host?: StorageHost } = {},
): Promise<Ownership> {
  const host = options.host ?? systemHost;
  const change = ({ lease, notes, ...record }: OwnerRecord): OwnerRecord => ({
    ...record,
    lease: { renewals: lease.renewals + 1, durationMs: options.durationMs ?? lease.durationMs },
    notes: options.notes ?? notes,
  });
  const stored = await changeOwned(store, host, ownership, change, ownership.stored);
  // The manifests were for the resume; that is over, or will read them again.
  return { ...ownership, chain: [], stored };
}

/** Gives the VM up: the epoch stays, its owner no longer writes. Anyone may raise it at once. */
export async function releaseOwnership(
  store: ObjectStore,
  ownership: Ownership,
  host: StorageHost = systemHost,
): Promise<void> {
  await changeOwned(store, host, ownership, (record) => ({ ...record, state: 'released' }));
}

/**
 * Deletes a VM for good: a tombstone with a raised epoch, so that a running owner is fenced. Objects go at the next collection.
 * @param options `expectedEpoch`: only over this one. Throws `FENCED` when the VM is at another: it may be one made anew under the name.
 */
export async function deleteVm(
  store: ObjectStore,
  vmId: string,
  options: { owner: string; expectedEpoch?: number; host?: StorageHost },
): Promise<void> {
  for (let attempt = 0; attempt < maxTries; attempt++) {
    const current = await readOwner(store, vmId);
    if (current?.record.state === 'deleted') return;
    const before = current?.record.epoch ?? 0;
    if (options.expectedEpoch !== undefined && before !== options.expectedEpoch)
      throw fenced(vmId, options, before);
    const epoch = before + 1;
    const record: OwnerRecord = {
      vmId,
      state: 'deleted',
      epoch,
      owner: options.owner,
      lineage: [{ epoch, from: null }],
      lease: { renewals: 0, durationMs: 0 },
      notes: {},
    };
    try {
      await swap(store, options.host ?? systemHost, record, current);
      return;
    } catch (error) {
      if (!isStoreError(error, 'CONFLICT')) throw error;
    }
  }
  throw busy(vmId);
}

/** Names of all VMs that have a record or objects, deleted ones included. */
export async function listVms(store: ObjectStore): Promise<string[]> {
  const names: string[] = [];
  let after = vmsPrefix;
  for (;;) {
    const { objects } = await store.list(vmsPrefix, { after, limit: 1 });
    const name = objects[0]?.key.slice(vmsPrefix.length).split('/')[0];
    if (name === undefined) return names;
    names.push(name);
    // '~' sorts after every character of a key: skips the rest of this VM.
    after = `${vmsPrefix}${name}/~`;
  }
}

/** Throws FENCED unless `epoch` still stands and its owner still holds it. */
export async function requireEpoch(store: ObjectStore, vmId: string, epoch: number): Promise<StoredOwner> {
  const current = await readOwner(store, vmId);
  if (current?.record.epoch !== epoch || current.record.state !== 'owned')
    throw new StorageError(
      'FENCED',
      `${vmId}: epoch ${String(epoch)} is over: ` +
        (current === undefined
          ? 'its record is gone'
          : `the VM is ${current.record.state} by ${current.record.owner} in epoch ${String(current.record.epoch)}`),
    );
  return current;
}

/**
 * Changes the record of a VM that is owned under an epoch, however often it is changed meanwhile; `current`: what it was last.
 * @throws StorageError `FENCED` when the epoch no longer stands.
 */
async function changeOwned(
  store: ObjectStore,
  host: StorageHost,
  { vmId, epoch }: Pick<Ownership, 'vmId' | 'epoch'>,
  change: (record: OwnerRecord) => OwnerRecord,
  current?: StoredOwner,
): Promise<StoredOwner> {
  let before = current;
  for (let attempt = 0; attempt < maxTries; attempt++) {
    before ??= await requireEpoch(store, vmId, epoch);
    try {
      return await swap(store, host, change(before.record), before);
    } catch (error) {
      if (!isStoreError(error, 'CONFLICT')) throw error;
    }
    before = undefined;
  }
  throw busy(vmId);
}

async function swap(
  store: ObjectStore,
  host: StorageHost,
  record: OwnerRecord,
  before: StoredOwner | undefined,
): Promise<StoredOwner> {
  insist(
    before === undefined || record.epoch >= before.record.epoch,
    `the epoch of ${record.vmId} would fall from ${String(before?.record.epoch)} to ${String(record.epoch)}`,
  );
  const key = ownerKey(record.vmId);
  const value = checkedRecord(key, { ...record }, (each) => isOwner(record.vmId, each as OwnerRecord));
  const stored = await putRecord(store, host, key, value, before?.version);
  return { record, version: stored.version };
}

const isOwner = (vmId: string, record: OwnerRecord): boolean =>
  record.vmId === vmId &&
  Number.isInteger(record.epoch) &&
  Array.isArray(record.lineage) &&
  record.lineage.every(isLineageEntry) &&
  // Ascending, and the last is the epoch's own.
  record.lineage.every(({ epoch }, i) => epoch < (record.lineage[i + 1]?.epoch ?? record.epoch + 1)) &&
  record.lineage.at(-1)?.epoch === record.epoch &&
  isRecord(record.lease);

function parseOwner(vmId: string, value: Record<string, unknown>): OwnerRecord {
  const { nonce: _nonce, ...rest } = value;
  const record = rest as unknown as OwnerRecord;
  if (!isOwner(vmId, record))
    throw new StorageError('CHECKPOINT_DAMAGED', `${ownerKey(vmId)}: the record lacks a field`);
  // An absent `from` comes back absent; anything else is null or an id.
  const lineage = record.lineage.map((entry) => (entry.from === undefined ? { epoch: entry.epoch } : entry));
  return { ...record, lineage };
}

function isLineageEntry(entry: unknown): entry is LineageEntry {
  if (!isRecord(entry) || !Number.isInteger(entry['epoch'])) return false;
  const { from } = entry;
  const isId = isRecord(from) && Number.isInteger(from['epoch']) && Number.isInteger(from['sequence']);
  return (
    (from === undefined || from === null || isId) &&
    (entry['log'] === undefined || isSegmentRef(entry['log']))
  );
}

function isSegmentRef(value: unknown): boolean {
  if (!isRecord(value) || !(value['hash'] instanceof Uint8Array)) return false;
  return Number.isInteger(value['epoch']) && Number.isInteger(value['ordinal']);
}

function fenced(vmId: string, options: Pick<RaiseOptions, 'expectedEpoch'>, epoch: number): StorageError {
  return new StorageError(
    'FENCED',
    `${vmId}: its epoch is ${String(epoch)}, not ${String(options.expectedEpoch)}: another was first`,
  );
}

function busy(vmId: string): StorageError {
  return new StorageError('FENCED', `${vmId}: its record changes too fast to be taken`, { retryable: true });
}
