/**
 * Manifests (docs/CHECKPOINT_FORMAT.md, "Manifest"): a small head (who, when, how large) and a body (state, packs, page
 * maps), two envelopes in one object, so that a list of checkpoints reads heads only. The head names the body's hash.
 */
import { hash } from 'node:crypto';
import { isRecord } from '../codec.ts';
import type { CheckpointKey } from '../encryption.ts';
import {
  envelopeVersion,
  envelopeLength,
  forkVersion,
  maxBodyBytes,
  openEnvelope,
  sealEnvelope,
} from '../envelope.ts';
import { isStorageError, StorageError } from '../errors.ts';
import type { StorageHost } from '../host.ts';
import { insist } from '../insist.ts';
import { checkSpaceShape, maxPageCount, maxSpaces } from '../snapshot.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { compareIds, formatId, manifestKey, sameId, type CheckpointId } from './keys.ts';
import type { MapSpace } from './page-map.ts';
import { isPackRef, type PackRef } from './pack.ts';

const headMagic = 'RVMH';
const bodyMagic = 'RVMB';
/** Heads are far smaller; a list reads this much of each manifest. */
const headReadBytes = 4096;

/** What writing this checkpoint did. Sizes in bytes. */
export interface WriteCounts {
  /** Pages that the snapshot listed. */
  listedPages: number;
  /** How many of these are zero pages, which are not stored. */
  zeroPages: number;
  /** How many of these have contents that were stored before and are not stored again. */
  sharedPages: number;
  /** How many of these were stored now. */
  storedPages: number;
  /** Pages of earlier checkpoints that were moved out of packs that had become small or sparse. */
  movedPages: number;
  /** Bytes of the stored and moved pages before compression. */
  rawBytes: number;
  /** Bytes of the packs written. */
  packBytes: number;
  packs: number;
}

export interface ManifestHead {
  vmId: string;
  id: CheckpointId;
  /** The checkpoint that this one continues; null for the first of a VM. */
  parent: CheckpointId | null;
  /** `full`: the page maps stand alone. `delta`: they continue the parent's. */
  map: 'full' | 'delta';
  /** Manifests to read to restore this one, itself included. */
  chainLength: number;
  createdAtMs: number;
  instructions: bigint;
  virtualTimeNs: bigint;
  spaces: MapSpace[];
  counts: WriteCounts;
  nonce: string;
  bodyBytes: number;
  bodyHash: Uint8Array;
}

export interface ManifestBody {
  description: unknown;
  cpus: unknown[];
  devices: Record<string, { version: number; state: unknown }>;
  /** The packs that this manifest's maps name: entry `n` is pack number `n + firstPack`. */
  packs: PackRef[];
  /** Runs per space, in the order of the head's spaces. */
  runs: Uint8Array[];
}

export interface Manifest {
  head: ManifestHead;
  body: ManifestBody;
}

export interface ManifestCodecOptions {
  key?: CheckpointKey | undefined;
  host: StorageHost;
}

type HeadOf = Omit<ManifestHead, 'bodyBytes' | 'bodyHash'>;

/** Encodes a manifest into its object. One that nobody could read would be the end of what it and those after it hold. */
export function encodeManifest(head: HeadOf, body: ManifestBody, options: ManifestCodecOptions): Uint8Array {
  const name = manifestKey(head.vmId, head.id);
  insist(
    isHead({ ...head, bodyBytes: 0, bodyHash: new Uint8Array(0) }),
    `${name}: its head lacks a field, or says what cannot be`,
  );
  insist(isBody(body, head), `${name}: its body lacks a field`);
  return sealManifest(head, body, options);
}

/** The same of a manifest that makes no sense. */
export function sealManifest(head: HeadOf, body: ManifestBody, options: ManifestCodecOptions): Uint8Array {
  const name = manifestKey(head.vmId, head.id);
  const sealedBody = sealEnvelope(body, {
    magic: bodyMagic,
    name,
    maxDecodedBytes: maxBodyBytes,
    version: body.packs.some((pack) => isPackRef(pack) && pack.vm !== undefined)
      ? forkVersion
      : envelopeVersion,
    ...options,
  });
  const bodyHash = new Uint8Array(hash('sha256', sealedBody, 'buffer'));
  const whole = { ...head, bodyBytes: sealedBody.length, bodyHash };
  return Buffer.concat([sealEnvelope(whole, { magic: headMagic, name, ...options }), sealedBody]);
}

/** Reads the head alone; undefined when there is no such manifest. */
export async function readManifestHead(
  store: ObjectStore,
  vmId: string,
  id: CheckpointId,
  key: CheckpointKey | undefined,
): Promise<ManifestHead | undefined> {
  const name = manifestKey(vmId, id);
  let bytes = await store.getRange(name, 0, headReadBytes);
  if (bytes === undefined) return undefined;
  const length = envelopeLength(bytes, headMagic);
  if (length !== undefined && length > bytes.length) bytes = await store.getRange(name, 0, length);
  return parseHead(vmId, id, (bytes ?? new Uint8Array(0)).subarray(0, length), key);
}

/** Reads a whole manifest; undefined when there is none. What seems damaged is read again before it is believed. */
export async function readManifest(
  store: ObjectStore,
  vmId: string,
  id: CheckpointId,
  key: CheckpointKey | undefined,
): Promise<Manifest | undefined> {
  const read = async (): Promise<Manifest | undefined> => {
    const object = await store.get(manifestKey(vmId, id));
    return object && decodeManifest(vmId, id, object.body, key);
  };
  try {
    return await read();
  } catch (error) {
    if (!isStorageError(error, 'CHECKPOINT_DAMAGED')) throw error;
    return read();
  }
}

/** Decodes a manifest object. Throws `CHECKPOINT_DAMAGED`, `CHECKPOINT_NEWER`, `KEY_NEEDED`, `KEY_WRONG`. */
export function decodeManifest(
  vmId: string,
  id: CheckpointId,
  bytes: Uint8Array,
  key: CheckpointKey | undefined,
): Manifest {
  const name = manifestKey(vmId, id);
  const length = envelopeLength(bytes, headMagic);
  const head = parseHead(vmId, id, bytes.subarray(0, length), key);
  const sealedBody = bytes.subarray(length);
  if (!hash('sha256', sealedBody, 'buffer').equals(head.bodyHash))
    throw new StorageError('CHECKPOINT_DAMAGED', `${name}: its body does not match its head`);
  const value = openEnvelope(sealedBody, { magic: bodyMagic, name, key, maxDecodedBytes: maxBodyBytes });
  return { head, body: parseBody(name, value, head) };
}

function isId(value: unknown): value is CheckpointId {
  return isRecord(value) && Number.isInteger(value['epoch']) && Number.isInteger(value['sequence']);
}

/** Throws `CHECKPOINT_DAMAGED` for spaces that no writer makes: a page map takes memory for every page that a space claims to have. */
function checkMapSpaces(name: string, spaces: readonly MapSpace[]): void {
  try {
    for (const space of spaces) checkSpaceShape(space);
  } catch (cause) {
    throw new StorageError('CHECKPOINT_DAMAGED', `${name}: a space of it is impossible`, { cause });
  }
  const pages = spaces.reduce((sum, { pageCount }) => sum + pageCount, 0);
  const names = new Set(spaces.map((space) => space.name));
  if (spaces.length > maxSpaces || names.size < spaces.length || pages > maxPageCount)
    throw new StorageError('CHECKPOINT_DAMAGED', `${name}: its spaces are impossible`);
}

/** Whether it has all fields, and what it says of its parent can be. Asked of what is written and of what is read. */
function isHead(value: unknown): value is ManifestHead {
  const head = value as ManifestHead;
  return (
    isRecord(value) &&
    isId(head.id) &&
    (head.parent === null || (isId(head.parent) && compareIds(head.parent, head.id) < 0)) &&
    (head.map === 'full' ? head.chainLength === 1 : head.map === 'delta' && head.parent !== null) &&
    [head.chainLength, head.createdAtMs, head.bodyBytes].every((each) => Number.isSafeInteger(each)) &&
    [head.instructions, head.virtualTimeNs].every((each) => typeof each === 'bigint') &&
    isRecord(head.counts) &&
    Object.values(head.counts).every((each) => Number.isSafeInteger(each)) &&
    Array.isArray(head.spaces) &&
    head.spaces.every(isRecord) &&
    typeof head.nonce === 'string' &&
    head.bodyHash instanceof Uint8Array
  );
}

function isBody(value: unknown, { spaces }: Pick<ManifestHead, 'spaces'>): value is ManifestBody {
  const body = value as ManifestBody;
  return (
    isRecord(value) &&
    Array.isArray(body.cpus) &&
    isRecord(body.devices) &&
    Array.isArray(body.packs) &&
    body.packs.every(isPackRef) &&
    Array.isArray(body.runs) &&
    body.runs.length === spaces.length &&
    body.runs.every((runs) => runs instanceof Uint8Array)
  );
}

function parseHead(
  vmId: string,
  id: CheckpointId,
  bytes: Uint8Array,
  key: CheckpointKey | undefined,
): ManifestHead {
  const name = manifestKey(vmId, id);
  const head = openEnvelope(bytes, { magic: headMagic, name, key });
  if (!isHead(head)) throw new StorageError('CHECKPOINT_DAMAGED', `${name}: its head lacks a field`);
  if (head.vmId !== vmId || !sameId(head.id, id))
    throw new StorageError(
      'CHECKPOINT_DAMAGED',
      `${name}: it is the manifest of ${head.vmId} ${formatId(head.id)}, stored under a wrong name`,
    );
  checkMapSpaces(name, head.spaces);
  return head;
}

function parseBody(name: string, value: unknown, head: ManifestHead): ManifestBody {
  if (!isBody(value, head)) throw new StorageError('CHECKPOINT_DAMAGED', `${name}: its body lacks a field`);
  return value;
}
