/**
 * The manifest of a base image, and what may become of it. It is only ever put under conditions, so that of those who import, refer to and
 * collect an image one comes first:
 *
 *   absent → there      imported; the importer looked at the beginning, and its packs are no use to it when something came between
 *   gone → there        imported again
 *   there → there       somebody is about to refer to it (`keepBaseImage`): a new nonce, so that who wanted to collect it starts afresh
 *   there → gone        collected (collect-bases.ts): a mark of a few bytes that stays
 *   absent, gone → gone packs that nobody published are about to be deleted: whoever wrote them can't publish them any more
 */
import { isRecord } from '../codec.ts';
import type { CheckpointKey } from '../encryption.ts';
import { maxBodyBytes, openEnvelope, sealEnvelope } from '../envelope.ts';
import { isStoreError, StorageError } from '../errors.ts';
import { insist } from '../insist.ts';
import { newNonce, systemHost, type StorageHost } from '../host.ts';
import { checkSpaceShape } from '../snapshot.ts';
import type { ObjectStore, ObjectVersion } from '../store/object-store.ts';
import { basePrefix } from './keys.ts';
import { isPackRef, type PackRef } from './pack.ts';

const magic = 'RVBI';
const maxTries = 8;

export interface BaseImageInfo {
  name: string;
  pageSize: number;
  pageCount: number;
  /** SHA-256 of the whole image, hexadecimal. */
  contentHash: string;
  packBytes: number;
}

export interface BaseManifest {
  info: BaseImageInfo;
  packs: PackRef[];
  runs: Uint8Array;
}

/** `version`: of the object that says so. */
export type BaseState =
  | { state: 'absent'; version: undefined }
  | { state: 'gone'; version: ObjectVersion }
  | { state: 'there'; version: ObjectVersion; manifest: BaseManifest };

interface BaseOptions {
  key?: CheckpointKey | undefined;
  host?: StorageHost;
}

const manifestName = (name: string): string => `${basePrefix(name)}manifest`;
const sealing = (name: string): { magic: string; name: string; maxDecodedBytes: number } => ({
  magic: magic,
  name: manifestName(name),
  maxDecodedBytes: maxBodyBytes,
});

/** Throws StorageError `CHECKPOINT_DAMAGED`, `KEY_NEEDED`, `KEY_WRONG`, `CHECKPOINT_NEWER`. */
export async function readBaseState(
  store: ObjectStore,
  name: string,
  key: CheckpointKey | undefined,
): Promise<BaseState> {
  const object = await store.get(manifestName(name));
  if (object === undefined) return { state: 'absent', version: undefined };
  const { version } = object;
  const value = openEnvelope(object.body, { ...sealing(name), key });
  if (isRecord(value) && value['gone'] === true && value['name'] === name) return { state: 'gone', version };
  const base = value as BaseImageInfo & { packs: PackRef[]; runs: Uint8Array };
  if (!isManifestOf(name, value))
    throw new StorageError('CHECKPOINT_DAMAGED', `${manifestName(name)}: it lacks a field`);
  const { pageSize, pageCount, contentHash, packBytes, packs, runs } = base;
  checkSpaceShape({ name: 'base', pageSize, pageCount });
  const info = { name, pageSize, pageCount, contentHash, packBytes };
  return { state: 'there', version, manifest: { info, packs, runs } };
}

/** Asked of what is written and of what is read. */
function isManifestOf(name: string, value: unknown): boolean {
  const base = value as BaseImageInfo & { packs: PackRef[]; runs: Uint8Array };
  return (
    isRecord(value) &&
    Array.isArray(base.packs) &&
    base.packs.every(isPackRef) &&
    base.runs instanceof Uint8Array &&
    base.name === name
  );
}

/** Puts a manifest over what was seen. Throws StoreError `CONFLICT` when that is not so any more. */
export async function putBaseManifest(
  store: ObjectStore,
  { info, packs, runs }: BaseManifest,
  over: ObjectVersion | undefined,
  { key, host = systemHost }: BaseOptions,
): Promise<void> {
  const value = { ...info, packs, runs, nonce: newNonce(host) };
  insist(isManifestOf(info.name, value), `the manifest of the base image ${info.name} lacks a field`);
  checkSpaceShape({ ...info, name: 'base' });
  const body = sealEnvelope(value, { ...sealing(info.name), key, host });
  await store.put(manifestName(info.name), body, under(over));
}

/** Marks an image as gone, over what was seen. False when that is not so any more. */
export async function putGone(
  store: ObjectStore,
  name: string,
  over: ObjectVersion | undefined,
  host: StorageHost,
): Promise<boolean> {
  // Not encrypted: it holds nothing that the object's name does not show already.
  const body = sealEnvelope({ name, gone: true, nonce: newNonce(host) }, { ...sealing(name), host });
  try {
    await store.put(manifestName(name), body, under(over));
    return true;
  } catch (error) {
    if (isStoreError(error, 'CONFLICT')) return false;
    throw error;
  }
}

const under = (over: ObjectVersion | undefined): { ifAbsent: true } | { ifVersion: ObjectVersion } =>
  over === undefined ? { ifAbsent: true } : { ifVersion: over };

/**
 * For who is about to refer to a base image: whether it is there, and then it stays for as long as the collector waits.
 * @throws StorageError as `readBaseState` does
 */
export async function keepBaseImage(
  store: ObjectStore,
  name: string,
  options: BaseOptions = {},
): Promise<boolean> {
  for (let tries = 0; tries < maxTries; tries++) {
    const found = await readBaseState(store, name, options.key);
    if (found.state !== 'there') return false;
    try {
      await putBaseManifest(store, found.manifest, found.version, options);
      return true;
    } catch (error) {
      // Others refer to it at the same time, or it goes.
      if (!isStoreError(error, 'CONFLICT')) throw error;
    }
  }
  throw new StorageError('CHECKPOINT_DAMAGED', `${manifestName(name)} changes too fast`, { retryable: true });
}
