/**
 * Kernels and images that descriptions of VMs name by the SHA-256 of their bytes. Each upload has a name of its own, HASH-UPLOAD, which never
 * comes again: so one that is being collected (blob-collector.ts) and the next one of the same bytes are two. A small one is one object; a
 * large one is cut into parts, so that a node that takes it in never holds more than a part of it: `cluster/blobs/HASH-UPLOAD`, written
 * last, is then a list of them. Which of the two it is tells the hash: bytes that have it are the blob.
 */
import { createHash, randomUUID } from 'node:crypto';
import * as v from 'valibot';
import { listAll, type ObjectStore } from '@revenant/storage';
import { ClusterError } from '../errors.ts';
import { sha256 } from '../mac.ts';
import { maxBlobBytes } from '../protocol/limits.ts';
import { open } from '../protocol/open.ts';
import { check, count } from '../protocol/schema.ts';
import type { VmSpec } from '../protocol/spec.ts';
import { keep } from './blob-notes.ts';

/** `cluster/blobs/HASH-UPLOAD`; of before uploads had names: `cluster/blobs/HASH`. */
export const blobsPrefix = 'cluster/blobs/';
/** `cluster/blob-parts/HASH-UPLOAD/N` */
export const blobPartsPrefix = 'cluster/blob-parts/';
const uploadName = /^([0-9a-f]{64})(-[0-9a-f-]{36})?$/;
const partBytes = 4 << 20;
const partsMagic = 'revenant-blob-parts';

const partsSchema = v.strictObject({
  magic: v.literal(partsMagic),
  sizeBytes: v.pipe(count, v.maxValue(maxBlobBytes)),
  upload: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}-[0-9a-f-]{36}$/)),
  parts: v.pipe(count, v.maxValue(maxBlobBytes / partBytes)),
});

const partKey = (upload: string, part: number): string =>
  `${blobPartsPrefix}${upload}/${String(part).padStart(4, '0')}`;

/** The hash of the bytes that an upload brought; undefined for what is no upload's name. */
export const hashOf = (upload: string): string | undefined => uploadName.exec(upload)?.[1];

/** Blobs that a description names. */
export function blobsOf(description: unknown): string[] {
  if (typeof description !== 'object' || description === null) return [];
  return Object.values(description).filter(
    (value): value is string => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value),
  );
}

/** Complete uploads of these bytes. */
async function uploadsOf(store: ObjectStore, hash: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { key } of listAll(store, blobsPrefix + hash)) {
    const upload = key.slice(blobsPrefix.length);
    if (hashOf(upload) === hash) found.push(upload);
  }
  return found;
}

/**
 * Whether the store has it, without reading it; should it be about to be collected, it is kept. What is to be referred to is asked for
 * with this first: it stays for as long as the collector waits.
 */
export async function hasBlob(store: ObjectStore, hash: string): Promise<boolean> {
  for (const upload of await uploadsOf(store, hash)) {
    if (!(await keep(store, upload))) continue;
    // Its note may have gone together with it since the list.
    if ((await store.getRange(blobsPrefix + upload, 0, 1)) !== undefined) return true;
  }
  return false;
}

/** Throws ClusterError `BLOB_MISSING` when a VM is to boot what the store does not have (any more). */
export async function requireBlobs(
  store: ObjectStore,
  { runtime, description }: Pick<VmSpec, 'runtime' | 'description'>,
): Promise<void> {
  // What other runtimes write into their descriptions is theirs.
  for (const hash of runtime === 'machine' ? blobsOf(description) : [])
    if (!(await hasBlob(store, hash)))
      throw new ClusterError('BLOB_MISSING', `the store has no kernel or image ${hash}`, {
        hint: 'upload it (again): what no VM refers to is collected after a while',
      });
}

/** Bytes of all blobs together. */
export async function blobBytes(store: ObjectStore): Promise<number> {
  let sum = 0;
  for (const prefix of [blobsPrefix, blobPartsPrefix])
    for await (const { sizeBytes } of listAll(store, prefix)) sum += sizeBytes;
  return sum;
}

/**
 * Stores a blob as its pieces come. `roomBytes`: how much it may take.
 * @throws ClusterError `BAD_REQUEST` when the bytes do not have this hash, `NO_CAPACITY` when they are too many
 */
export async function putBlob(
  store: ObjectStore,
  hash: string,
  pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  roomBytes: number = maxBlobBytes,
): Promise<void> {
  const upload = `${hash}-${randomUUID()}`;
  const head = blobsPrefix + upload;
  const digest = createHash('sha256');
  const keys: string[] = [];
  let sizeBytes = 0;
  let waiting = Buffer.alloc(0);
  const putPart = async (bytes: Uint8Array): Promise<void> => {
    const key = partKey(upload, keys.length);
    keys.push(key);
    await store.put(key, bytes, { durable: false });
  };
  try {
    for await (const piece of pieces)
      for (let at = 0; at < piece.length; at += partBytes) {
        const bytes = piece.subarray(at, at + partBytes);
        digest.update(bytes);
        sizeBytes += bytes.length;
        if (sizeBytes > roomBytes) throw noRoom(roomBytes);
        waiting = Buffer.concat([waiting, bytes]);
        if (waiting.length < partBytes) continue;
        await putPart(waiting.subarray(0, partBytes));
        waiting = waiting.subarray(partBytes);
      }
    if (digest.digest('hex') !== hash)
      throw new ClusterError('BAD_REQUEST', 'the bytes do not have this hash');
    if (keys.length === 0) return void (await store.put(head, waiting));
    if (waiting.length > 0) await putPart(waiting);
    await store.flush();
    const said = { magic: partsMagic, sizeBytes, upload, parts: keys.length };
    const parts = check(partsSchema, said, `the parts of ${upload}`);
    await store.put(head, Buffer.from(JSON.stringify(parts)));
    if (!(await keep(store, upload)) || !(await hasParts(store, upload, keys.length)))
      throw new ClusterError('STORE', 'the upload took so long that its parts were collected', {
        hint: 'try again',
      });
  } catch (error) {
    await store.delete([head, ...keys]).catch(() => undefined);
    throw error;
  }
}

async function hasParts(store: ObjectStore, upload: string, wanted: number): Promise<boolean> {
  const { objects } = await store.list(`${blobPartsPrefix}${upload}/`, { limit: wanted });
  return objects.length === wanted;
}

function noRoom(roomBytes: number): ClusterError {
  return new ClusterError(
    'NO_CAPACITY',
    `blobs may take ${String(roomBytes)} bytes more and this one is larger`,
    {
      hint: 'raise the limit with `revenant node --limit blobsMiB=N`, or delete what is not needed',
    },
  );
}

/** Throws ClusterError `STORE` for one that is there and damaged. */
export async function readBlob(store: ObjectStore, hash: string): Promise<Uint8Array | undefined> {
  let damaged = false;
  for (const upload of await uploadsOf(store, hash)) {
    const object = await store.get(blobsPrefix + upload);
    if (object === undefined) continue;
    if (sha256(object.body) === hash) return object.body;
    const bytes = await readParts(store, hash, object.body);
    if (bytes !== undefined && sha256(bytes) === hash) return bytes;
    damaged = true;
  }
  if (damaged) throw new ClusterError('STORE', `the kernel or image ${hash} is damaged in the store`);
  return undefined;
}

async function readParts(
  store: ObjectStore,
  hash: string,
  list: Uint8Array,
): Promise<Uint8Array | undefined> {
  let said: unknown;
  try {
    said = JSON.parse(Buffer.from(list).toString('utf8'));
  } catch {
    return undefined;
  }
  const parts = v.safeParse(open(partsSchema), said);
  if (!parts.success || !parts.output.upload.startsWith(hash)) return undefined;
  const bytes = new Uint8Array(parts.output.sizeBytes);
  let at = 0;
  for (let part = 0; part < parts.output.parts; part++) {
    const object = await store.get(partKey(parts.output.upload, part));
    if (object === undefined || object.body.length > bytes.length - at) return undefined;
    bytes.set(object.body, at);
    at += object.body.length;
  }
  return at === bytes.length ? bytes : undefined;
}
