/**
 * Copies of checkpoints in another store (docs/CHECKPOINT_FORMAT.md, "Copies"): a backup, and the way back. A copy is an ordinary
 * checkpoint, the next one of a VM there. Which pages that VM's newest checkpoint has already is told by their hashes, which are in the heads of packs:
 * so of two copies of one VM the second brings what changed between them, whatever was collected meanwhile where it came from.
 */
import type { CheckpointKey } from '../encryption.ts';
import { isStorageError, StorageError } from '../errors.ts';
import { systemHost, withClockAt, type StorageHost } from '../host.ts';
import { deleteVm, raiseEpoch, readOwner, releaseOwnership, type Ownership } from '../ownership.ts';
import type { MachineSnapshot, SpaceSnapshot } from '../snapshot.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { keepBaseImage, putBaseManifest, readBaseState } from './base-manifest.ts';
import { basePrefix, type CheckpointId } from './keys.ts';
import { PackReader } from './pack-reader.ts';
import type { PagePool } from './page-pool.ts';
import { CheckpointReader } from './reader.ts';
import { verifyCheckpoint } from './verify.ts';
import { CheckpointWriter } from './writer.ts';

export interface CopyOptions {
  /** Who copies, for the owner record: what another has under the name is left alone. */
  owner: string;
  key?: CheckpointKey | undefined;
  pool: PagePool;
  host?: StorageHost;
  /** The state of the copy from that of the checkpoint; default: the same. */
  change?: (state: Omit<MachineSnapshot, 'spaces'>) => Omit<MachineSnapshot, 'spaces'>;
  /** Read each page of the copy back. Default: compare the hashes that were stored with it. */
  readBack?: boolean;
}

export interface Copy {
  id: CheckpointId;
  /** Pages that the newest one before did not have. */
  copiedPages: number;
  /** All that the checkpoint has. */
  totalPages: number;
  /** How many bytes were stored for it. */
  storedBytes: number;
}

/**
 * Copies an open checkpoint into another store, as the next one of the VM `vmId` there, which nobody owns afterwards. The base images below it must
 * be there (`copyBaseImages`). It keeps the time at which it was made.
 * @throws StorageError `FENCED` when the name is another's there; `CHECKPOINT_DAMAGED` when a page can't be read, or the copy is not what was
 *   copied: then there is no copy; StoreError
 */
export async function copyCheckpoint(
  reader: CheckpointReader,
  store: ObjectStore,
  vmId: string,
  options: CopyOptions,
): Promise<Copy> {
  const { owner, key, host = systemHost } = options;
  const before = (await readOwner(store, vmId))?.record;
  if (before !== undefined && before.state !== 'deleted' && before.owner !== owner)
    throw new StorageError('FENCED', `there is a VM ${vmId} in ${store.url}, and it is no ${owner}`, {
      hint: 'choose another name',
    });
  const hold = await reader.hold(`a ${owner}`);
  try {
    const expectedEpoch = before?.epoch ?? 0;
    const ownership = await raiseEpoch(store, vmId, { owner, expectedEpoch, revive: true, key, host });
    try {
      const copy = await write(reader, store, ownership, options);
      await releaseOwnership(store, ownership, host);
      return copy;
    } catch (error) {
      if (!isStorageError(error, 'FENCED')) await undo(store, ownership, options).catch(() => undefined);
      throw error;
    }
  } finally {
    await hold?.release();
  }
}

/** The VM is what it was: what was written of the copy is no part of its history. */
async function undo(
  store: ObjectStore,
  { vmId, resumeFrom, epoch }: Ownership,
  { owner, key, host = systemHost }: CopyOptions,
): Promise<void> {
  if (resumeFrom === null) return deleteVm(store, vmId, { owner, expectedEpoch: epoch, host });
  const again = await raiseEpoch(store, vmId, { owner, expectedEpoch: epoch, resumeFrom, key, host });
  await releaseOwnership(store, again, host);
}

async function write(
  reader: CheckpointReader,
  store: ObjectStore,
  ownership: Ownership,
  { key, pool, host = systemHost, change, readBack = false }: CopyOptions,
): Promise<Copy> {
  const { vmId, resumeFrom } = ownership;
  const newest =
    resumeFrom === null ? undefined : await CheckpointReader.resume(store, ownership, { key, pool });
  const spaces: SpaceSnapshot[] = [];
  const bases: Record<string, string> = {};
  for (const { name, base } of reader.head.spaces) {
    if (base !== undefined) bases[name] = base;
    spaces.push(await spaceOf(reader, name, newest));
  }
  const state = change?.(reader.state) ?? reader.state;
  const then = withClockAt(reader.head.createdAtMs, host);
  const writer = await CheckpointWriter.open(store, ownership, { key, pool, bases, host: then });
  const written = await writer.write({ ...state, spaces });
  await writer.close();
  const copy = await CheckpointReader.load(store, vmId, written.id, { key, pool });
  await requireAlike(reader, copy, readBack);
  return {
    id: written.id,
    copiedPages: spaces.reduce((sum, { indexes }) => sum + indexes.length, 0),
    totalPages: reader.spaces.reduce((sum, { name }) => sum + reader.present(name).length, 0),
    storedBytes: written.counts.packBytes + written.manifestBytes,
  };
}

/** The pages of a space that `newest` lacks; all of them when it has no such space. */
async function spaceOf(
  reader: CheckpointReader,
  name: string,
  newest: CheckpointReader | undefined,
): Promise<SpaceSnapshot> {
  const source = reader.source(name);
  const { pageSize, pageCount, base } = source.map.space;
  const there = newest?.head.spaces.find((each) => each.name === name);
  const same = there?.pageSize === pageSize && there.pageCount === pageCount && there.base === base;
  const indexes = same && newest !== undefined ? await differing(reader, newest, name) : source.differing();
  return {
    ...{ name, pageSize, pageCount, full: !same, indexes, bytes: new Uint8Array(0) },
    ...(!same && base !== undefined ? { onBase: true } : {}),
    read: (from, to) => source.read(indexes.subarray(from, to)),
  };
}

/** Pages of which two checkpoints of any stores have different contents, ascending. */
async function differing(one: CheckpointReader, other: CheckpointReader, name: string): Promise<Uint32Array> {
  const [here, there] = [one.source(name), other.source(name)];
  const pages: number[] = [];
  for (let page = 0; page < here.map.packs.length; page++) {
    const [mine, its] = [await here.hashOf(page), await there.hashOf(page)];
    const same = mine === undefined || its === undefined ? mine === its : Buffer.compare(mine, its) === 0;
    if (!same) pages.push(page);
  }
  return Uint32Array.from(pages);
}

async function requireAlike(
  reader: CheckpointReader,
  copy: CheckpointReader,
  readBack: boolean,
): Promise<void> {
  const damaged = readBack ? (await verifyCheckpoint(copy)).damaged[0] : undefined;
  let differs: string | undefined;
  for (const { name } of reader.spaces)
    if (differs === undefined && (await differing(reader, copy, name)).length > 0) differs = name;
  if (damaged === undefined && differs === undefined) return;
  throw new StorageError(
    'CHECKPOINT_DAMAGED',
    `the copy of ${reader.vmId} is not what was copied: ${damaged ?? `${String(differs)} differs`}`,
    { hint: 'check the target store, and copy again' },
  );
}

/** Copies the base images that an open checkpoint lies on, as they are stored. They keep their names, and are read with the same key. */
export async function copyBaseImages(
  reader: CheckpointReader,
  from: ObjectStore,
  to: ObjectStore,
  options: { pool: PagePool; key?: CheckpointKey | undefined; host?: StorageHost },
): Promise<void> {
  const { pool, key: masterKey } = options;
  for (const name of new Set(reader.head.spaces.flatMap(({ base }) => base ?? []))) {
    if (await keepBaseImage(to, name, options)) continue;
    const source = await readBaseState(from, name, options.key);
    if (source.state !== 'there')
      throw new StorageError('CHECKPOINT_DAMAGED', `base image ${name} is missing from ${from.url}`);
    // What stands there is seen before there is a pack that a collector could take for dead.
    const { state, version } = await readBaseState(to, name, options.key);
    const prefix = `${basePrefix(name)}packs/`;
    const copied = new PackReader({ store: to, prefix, pool, key: masterKey, cacheBytes: 0 });
    for (const pack of source.manifest.packs) {
      const key = prefix + pack.name;
      const object = await from.get(key);
      if (object === undefined)
        throw new StorageError('CHECKPOINT_DAMAGED', `${key} is missing from ${from.url}`);
      await to.put(key, object.body, { durable: false });
      // A damaged page is found here, not when the only other copy is gone.
      await copied.read(
        pack,
        Array.from({ length: pack.pages }, (_, slot) => slot),
        true,
      );
    }
    await to.flush();
    await putBaseManifest(to, source.manifest, state === 'gone' ? version : undefined, options);
  }
}
