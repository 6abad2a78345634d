/** A checkpoint as one self-contained file: reading and writing it on Node. The format itself is checkpoint-file-format.ts. */
import { createHash } from 'node:crypto';
import { open, rename, unlink, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { asBuffer } from './codec.ts';
import {
  checkpointFileBlocks,
  decodeBlocks,
  FileDecoder,
  fileHeader,
  type CheckpointOrigin,
} from './checkpoint-file-format.ts';
import { StorageError } from './errors.ts';
import { checkSnapshot, type MachineSnapshot } from './snapshot.ts';

export {
  checkpointFileBlocks,
  checkpointFileMagic,
  checkpointFileVersion,
  type CheckpointOrigin,
} from './checkpoint-file-format.ts';

/**
 * Encodes a full snapshot, block by block, so that a large one never is in memory twice.
 * @param snapshot every space must have `full: true`.
 * @throws StorageError `SNAPSHOT_INVALID`
 */
export function* encodeCheckpointFile(
  snapshot: MachineSnapshot,
  origin: CheckpointOrigin = {},
): Generator<Uint8Array, void> {
  checkSnapshot(snapshot);
  const partial = snapshot.spaces.find((space) => !space.full);
  if (partial !== undefined)
    throw new StorageError('SNAPSHOT_INVALID', `space ${partial.name} is a delta; a file needs every page`, {
      hint: 'take a full snapshot before saving to a file',
    });
  const blocks = checkpointFileBlocks;
  const hash = createHash('sha256');
  const hashed = (bytes: Uint8Array): Uint8Array => {
    hash.update(bytes);
    return bytes;
  };
  yield hashed(fileHeader(snapshot.spaces.some(({ onBase }) => onBase === true) ? 2 : 1));
  yield hashed(blocks.state(snapshot, snapshot.spaces, origin));
  for (const [ordinal, space] of snapshot.spaces.entries()) {
    for (const block of blocks.pages(ordinal, space)) yield hashed(block);
  }
  yield hashed(blocks.done());
  yield hash.digest();
}

/** Writes a full snapshot to `path`: to a temporary file beside it, synced, then renamed over it. */
export async function writeCheckpointFile(
  path: string,
  snapshot: MachineSnapshot,
  origin: CheckpointOrigin = {},
): Promise<void> {
  await writeFileAtomically(path, encodeCheckpointFile(snapshot, origin));
}

/** Writes pieces to a temporary file beside `path`, syncs it, and renames it to `path`: there is a whole file or none. */
export async function writeFileAtomically(
  path: string,
  pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<void> {
  const temporary = `${path}.partial-${String(process.pid)}`;
  const file = await open(temporary, 'w', 0o600);
  try {
    for await (const bytes of pieces) await writeAll(file, bytes);
    await file.sync();
  } catch (error) {
    await file.close();
    await unlink(temporary);
    throw error;
  }
  await file.close();
  await rename(temporary, path);
  const folder = await open(dirname(path), 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, at, bytes.length - at);
    at += bytesWritten;
  }
}

/** Reads a file made by `writeCheckpointFile`. Every space comes back with `full: true`. */
export async function readCheckpointFile(path: string): Promise<MachineSnapshot> {
  return (await readCheckpointFileWithOrigin(path)).snapshot;
}

/** As `readCheckpointFile`, with what the file says of its origin. */
export async function readCheckpointFileWithOrigin(
  path: string,
): Promise<{ snapshot: MachineSnapshot; origin: CheckpointOrigin }> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const decoder = new FileDecoder();
    const bytes = {
      name: path,
      read: (length: number) => readExactly(file, length),
      size,
      hash: createHash('sha256'),
    };
    const snapshot = await decodeBlocks(bytes, decoder);
    return { snapshot, origin: decoder.origin };
  } finally {
    await file.close();
  }
}

/** Up to `length` bytes from where the file stands; fewer at its end. */
export async function readExactly(file: FileHandle, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(length);
  let at = 0;
  while (at < length) {
    const { bytesRead } = await file.read(bytes, at, length - at);
    if (bytesRead === 0) break;
    at += bytesRead;
  }
  return bytes.subarray(0, at);
}

/** As `readCheckpointFile`, from bytes in memory. `name` is used in messages. */
export async function decodeCheckpointFile(bytes: Uint8Array, name = 'checkpoint'): Promise<MachineSnapshot> {
  let at = 0;
  const whole = asBuffer(bytes);
  const read = (length: number): Promise<Buffer> => {
    const piece = whole.subarray(at, at + length);
    at += piece.length;
    return Promise.resolve(piece);
  };
  return decodeBlocks({ name, read, size: bytes.length, hash: createHash('sha256') }, new FileDecoder());
}
