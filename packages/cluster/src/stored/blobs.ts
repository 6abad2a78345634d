// Kernels and images that descriptions of VMs name by the SHA-256 of their bytes. A small one is one object; a large one is cut into parts, so
// that a node that takes it in never holds more than a part of it: `cluster/blobs/SHA256` is then a list of them. Which of the two it
// is tells the hash: bytes that have it are the blob.
import { createHash, randomUUID } from 'node:crypto';
import * as v from 'valibot';
import { listAll, type ObjectStore } from '@revenant/storage';
import { ClusterError } from '../errors.ts';
import { sha256 } from '../mac.ts';
import { MAX_BLOB_BYTES } from '../protocol/limits.ts';
import { count } from '../protocol/schema.ts';

export const BLOBS_PREFIX = 'cluster/blobs/';
/** `cluster/blob-parts/SHA256-UPLOAD/N`: of one upload, so that two at once don't mix. */
export const BLOB_PARTS_PREFIX = 'cluster/blob-parts/';
const PART_BYTES = 4 << 20;
const PARTS_MAGIC = 'revenant-blob-parts';

const partsSchema = v.strictObject({
  magic: v.literal(PARTS_MAGIC),
  sizeBytes: v.pipe(count, v.maxValue(MAX_BLOB_BYTES)),
  upload: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}-[0-9a-f-]{36}$/)),
  parts: v.pipe(count, v.maxValue(MAX_BLOB_BYTES / PART_BYTES)),
});

const partKey = (upload: string, part: number): string =>
  `${BLOB_PARTS_PREFIX}${upload}/${String(part).padStart(4, '0')}`;

/** Whether the store has it, without reading it. */
export async function hasBlob(store: ObjectStore, hash: string): Promise<boolean> {
  return (await store.getRange(BLOBS_PREFIX + hash, 0, 1)) !== undefined;
}

/** Bytes of all blobs together. */
export async function blobBytes(store: ObjectStore): Promise<number> {
  let sum = 0;
  for (const prefix of [BLOBS_PREFIX, BLOB_PARTS_PREFIX])
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
  roomBytes: number = MAX_BLOB_BYTES,
): Promise<void> {
  const upload = `${hash}-${randomUUID()}`;
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
      for (let at = 0; at < piece.length; at += PART_BYTES) {
        const bytes = piece.subarray(at, at + PART_BYTES);
        digest.update(bytes);
        sizeBytes += bytes.length;
        if (sizeBytes > roomBytes) throw noRoom(roomBytes);
        waiting = Buffer.concat([waiting, bytes]);
        if (waiting.length < PART_BYTES) continue;
        await putPart(waiting.subarray(0, PART_BYTES));
        waiting = waiting.subarray(PART_BYTES);
      }
    if (digest.digest('hex') !== hash)
      throw new ClusterError('BAD_REQUEST', 'the bytes do not have this hash');
    if (keys.length === 0) return void (await store.put(BLOBS_PREFIX + hash, waiting));
    if (waiting.length > 0) await putPart(waiting);
    await store.flush();
    const parts = { magic: PARTS_MAGIC, sizeBytes, upload, parts: keys.length };
    await store.put(BLOBS_PREFIX + hash, Buffer.from(JSON.stringify(parts)));
  } catch (error) {
    await store.delete(keys).catch(() => undefined);
    throw error;
  }
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
  const object = await store.get(BLOBS_PREFIX + hash);
  if (object === undefined || sha256(object.body) === hash) return object?.body;
  const bytes = await readParts(store, hash, object.body);
  if (bytes === undefined || sha256(bytes) !== hash)
    throw new ClusterError('STORE', `the kernel or image ${hash} is damaged in the store`);
  return bytes;
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
  const parts = v.safeParse(partsSchema, said);
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
