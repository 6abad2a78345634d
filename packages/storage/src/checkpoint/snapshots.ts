/**
 * Snapshots (docs/CHECKPOINT_FORMAT.md, "Snapshots"): states of a VM that a person keeps by name. Each is a fork that nobody runs, with a place
 * of its own in the store; the record `vms/VM/snapshots` names them. So retention never touches one, whatever becomes of the checkpoint that
 * it was made of; and to go back to one is to fork it onto the VM: a new checkpoint with the old content.
 *
 * The record is swapped: an entry is there before its fork is made, and ready once that is whole. Who dies between leaves an entry that is
 * not ready: it is shown to nobody, and the same request finishes it, or any other one takes its name after a while.
 */
import { isRecord } from '../codec.ts';
import { isStoreError, StorageError } from '../errors.ts';
import { newNonce, systemHost, type StorageHost } from '../host.ts';
import { deleteVm, readOwner } from '../ownership.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { PatientStore } from '../store/patient-store.ts';
import { checkedRecord, getRecord, putRecord } from '../store/records.ts';
import { forkVm, type ForkOptions } from './fork.ts';
import { formatId, snapshotsKey } from './keys.ts';

/** How many snapshots one VM may have. */
export const maxSnapshots = 256;
/** For how long, by the wall clock, a snapshot that is not ready is believed to be under way. */
const begunMs = 600_000;
const maxTries = 20;

export interface KeptSnapshot {
  name: string;
  /** Where it lies: the name of a fork in the store. Upper-case letters keep it apart from the names of VMs in a cluster. */
  vm: string;
  /** The checkpoint of its VM that it was made of, `EPOCH-SEQUENCE`. */
  checkpoint: string;
  /** By the clock of the node that took it. */
  atMs: number;
  /** The snapshot that the VM had last been at before. */
  parent: string | null;
  /** Whether the VM was last here: taken, or gone back to. */
  current: boolean;
}

interface Entry {
  name: string;
  vm: string;
  /** Which request makes it. */
  request: string;
  ready: boolean;
  checkpoint: string;
  atMs: number;
  parent: string | null;
  /** Rises with each time that the VM comes to be at one. */
  turn: number;
}

interface Place {
  vmId: string;
  host?: StorageHost;
}

/** Lower-case, as the names of VMs, and no `EPOCH-SEQUENCE`, with which it would be confused. */
export function isSnapshotName(text: string): boolean {
  return /^[a-z0-9][a-z0-9._-]{0,62}$/.test(text) && !/^\d{1,10}-\d{1,10}$/.test(text) && text !== 'latest';
}

/** The snapshots of a VM, the oldest first. */
export async function readSnapshots(store: ObjectStore, vmId: string): Promise<KeptSnapshot[]> {
  const entries = ready((await readEntries(store, vmId)).entries);
  const last = newest(entries);
  return entries.map(({ name, vm, checkpoint, atMs, parent }) => ({
    ...{ name, vm, checkpoint, atMs, parent },
    current: name === last?.name,
  }));
}

/** The snapshot of this name. Throws `CHECKPOINT_NOT_FOUND`. */
export async function requireSnapshot(store: ObjectStore, vmId: string, name: string): Promise<KeptSnapshot> {
  const found = (await readSnapshots(store, vmId)).find((each) => each.name === name);
  if (found === undefined)
    throw new StorageError('CHECKPOINT_NOT_FOUND', `${vmId} has no snapshot ${name}`, {
      hint: `\`vm snapshots ${vmId}\` shows those it has`,
    });
  return found;
}

/**
 * Keeps the newest checkpoint of a VM under a name, or that of `id`.
 * @throws StorageError `BAD_ARGUMENT` (no name for one), `FENCED` (the name is in use, or there are too many), and as `forkVm`
 */
export async function takeSnapshot(
  impatient: ObjectStore,
  vmId: string,
  { name, request, ...options }: ForkOptions & { name: string; request: string },
): Promise<KeptSnapshot> {
  const host = options.host ?? systemHost;
  const store = new PatientStore(impatient, host);
  if (!isSnapshotName(name))
    throw new StorageError('BAD_ARGUMENT', `${JSON.stringify(name)} is no name for a snapshot`, {
      hint: 'use 1 to 63 lower-case letters, digits, dots, underscores or hyphens; not EPOCH-SEQUENCE, not latest',
    });
  const place = { vmId, host };
  const vm = `Snapshot-${newNonce(host).slice(0, 16)}`;
  const known = (await readEntries(store, vmId)).entries.find((each) => each.name === name);
  if (known?.request === request && known.ready) return requireSnapshot(store, vmId, name);
  const begun = {
    name,
    vm,
    request,
    ready: false,
    checkpoint: '',
    atMs: host.wallClockMs(),
    parent: null,
    turn: 0,
  };
  const left = await update(store, place, (entries) => begin(vmId, entries, begun));
  for (const each of left) await deleteVm(store, each, { owner: options.owner, host });
  try {
    const { from } = await forkVm(store, vmId, vm, options);
    await update(store, place, (entries) => ({
      entries: entries.map((each) =>
        each.vm === vm
          ? {
              ...each,
              ...{
                ready: true,
                checkpoint: formatId(from),
                parent: newest(entries)?.name ?? null,
                turn: nextTurn(entries),
              },
            }
          : each,
      ),
      result: undefined,
    }));
    if ((await readOwner(store, vmId))?.record.state === 'deleted')
      throw new StorageError('VM_DELETED', `${vmId}: the VM was deleted meanwhile`);
  } catch (error) {
    await forget(store, place, { vm, owner: options.owner }).catch(() => undefined);
    throw error;
  }
  return requireSnapshot(store, vmId, name);
}

/** The entries with one that is begun, and the forks that nobody will finish. Throws `FENCED`. */
function begin(vmId: string, entries: Entry[], begun: Entry): { entries: Entry[]; result: string[] } {
  const isLeft = (each: Entry): boolean =>
    !each.ready && (each.request === begun.request || Math.abs(begun.atMs - each.atMs) > begunMs);
  const kept = entries.filter((each) => !isLeft(each));
  if (kept.some(({ name }) => name === begun.name))
    throw new StorageError('FENCED', `${vmId} has a snapshot ${begun.name} already`, {
      hint: 'take another name, or delete that one first',
    });
  if (kept.length >= maxSnapshots)
    throw new StorageError('FENCED', `${vmId} has ${String(maxSnapshots)} snapshots already`, {
      hint: 'delete some first',
    });
  return { entries: [...kept, begun], result: entries.filter(isLeft).map(({ vm }) => vm) };
}

/**
 * Takes a VM that nobody owns back to a snapshot: from now on that is its newest checkpoint.
 * @throws StorageError as `requireSnapshot` and `forkVm`
 */
export async function revertToSnapshot(
  impatient: ObjectStore,
  vmId: string,
  { name, ...options }: ForkOptions & { name: string },
): Promise<KeptSnapshot> {
  const host = options.host ?? systemHost;
  const store = new PatientStore(impatient, host);
  const { vm } = await requireSnapshot(store, vmId, name);
  await forkVm(store, vm, vmId, { ...options, replaces: true });
  await update(store, { vmId, host }, (entries) => ({
    entries: entries.map((each) => (each.name === name ? { ...each, turn: nextTurn(entries) } : each)),
    result: undefined,
  }));
  return requireSnapshot(store, vmId, name);
}

/**
 * Gives a snapshot up. What was taken behind it comes behind the one before it.
 * @returns its place in the store, deleted: its objects go with the next collection of it
 */
export async function dropSnapshot(
  store: ObjectStore,
  vmId: string,
  { name, owner, host }: { name: string; owner: string; host?: StorageHost },
): Promise<string> {
  const { vm } = await requireSnapshot(store, vmId, name);
  await forget(store, { vmId, ...(host === undefined ? {} : { host }) }, { vm, owner });
  return vm;
}

/** The places of all of a VM's, ready or not. */
export async function snapshotPlaces(store: ObjectStore, vmId: string): Promise<string[]> {
  return (await readEntries(store, vmId)).entries.map(({ vm }) => vm);
}

/** Gives up those of a VM that was deleted, by their places. */
export async function dropPlaces(
  store: ObjectStore,
  vmId: string,
  { places, owner, host }: { places: readonly string[]; owner: string; host?: StorageHost | undefined },
): Promise<void> {
  const place = { vmId, ...(host === undefined ? {} : { host }) };
  for (const vm of places) await forget(store, place, { vm, owner });
}

/** Tombstone first: an entry that is there names everything that there may be. */
async function forget(
  store: ObjectStore,
  place: Place,
  { vm, owner }: { vm: string; owner: string },
): Promise<void> {
  await deleteVm(store, vm, { owner, ...(place.host === undefined ? {} : { host: place.host }) });
  await update(store, place, (entries) => {
    const gone = entries.find((each) => each.vm === vm);
    const rest = entries
      .filter((each) => each.vm !== vm)
      .map((each) =>
        gone !== undefined && each.parent === gone.name ? { ...each, parent: gone.parent } : each,
      );
    return { entries: rest, result: undefined };
  });
}

const ready = (entries: readonly Entry[]): Entry[] => entries.filter((each) => each.ready);
const nextTurn = (entries: readonly Entry[]): number => Math.max(0, ...entries.map(({ turn }) => turn)) + 1;

function newest(entries: readonly Entry[]): Entry | undefined {
  return ready(entries).reduce<Entry | undefined>(
    (last, each) => (last === undefined || each.turn > last.turn ? each : last),
    undefined,
  );
}

async function update<T>(
  store: ObjectStore,
  { vmId, host = systemHost }: Place,
  change: (entries: Entry[]) => { entries: Entry[]; result: T },
): Promise<T> {
  for (let tries = 0; tries < maxTries; tries++) {
    const { entries, version } = await readEntries(store, vmId);
    const changed = change(entries);
    const key = snapshotsKey(vmId);
    try {
      await putRecord(
        store,
        host,
        key,
        checkedRecord(key, { entries: changed.entries }, isSnapshots),
        version,
      );
      return changed.result;
    } catch (error) {
      if (!isStoreError(error, 'CONFLICT')) throw error;
    }
  }
  throw new StorageError('FENCED', `${vmId}: its snapshots change too fast`, { retryable: true });
}

async function readEntries(
  store: ObjectStore,
  vmId: string,
): Promise<{ entries: Entry[]; version: Parameters<typeof putRecord>[4] }> {
  const found = await getRecord(store, snapshotsKey(vmId));
  if (found === undefined) return { entries: [], version: undefined };
  const { value, version } = found;
  if (!isSnapshots(value))
    throw new StorageError('CHECKPOINT_DAMAGED', `${snapshotsKey(vmId)}: the record lacks a field`);
  return { entries: value.entries, version };
}

const isSnapshots = (value: unknown): value is { entries: Entry[] } =>
  isRecord(value) && Array.isArray(value['entries']) && value['entries'].every(isEntry);

function isEntry(value: unknown): value is Entry {
  if (!isRecord(value)) return false;
  const { name, vm, request, ready: whole, checkpoint, atMs, parent, turn } = value;
  return (
    [name, vm, request, checkpoint].every((each) => typeof each === 'string') &&
    [atMs, turn].every((each) => Number.isFinite(each)) &&
    typeof whole === 'boolean' &&
    (parent === null || typeof parent === 'string')
  );
}
