// From a store into a single file and back.
import { createHash } from 'node:crypto';
import { CHECKPOINT_FILE_BLOCKS, readCheckpointFile, writeFileAtomically } from '../checkpoint-file.ts';
import type { Ownership } from '../ownership.ts';
import type { ObjectStore } from '../store/object-store.ts';
import type { CheckpointReader } from './reader.ts';
import { CheckpointWriter, type WriterOptions, type WrittenCheckpoint } from './writer.ts';

/** Pages read and written together. */
const PAGES_AT_ONCE = 1024;

export interface ExportProgress {
  donePages: number;
  totalPages: number;
}

/**
 * Writes an open checkpoint to a single file, base images included, a few pages at a time.
 * @throws StorageError `CHECKPOINT_DAMAGED` when a page is: then nothing is left at `path`.
 */
export async function exportCheckpointFile(
  reader: CheckpointReader,
  path: string,
  options: { onProgress?: (progress: ExportProgress) => void } = {},
): Promise<void> {
  const hold = await reader.hold('an export');
  try {
    await writeFileAtomically(path, encode(reader, options.onProgress));
  } finally {
    await hold?.release();
  }
}

async function* encode(
  reader: CheckpointReader,
  onProgress: ((progress: ExportProgress) => void) | undefined,
): AsyncGenerator<Uint8Array, void> {
  const blocks = CHECKPOINT_FILE_BLOCKS;
  const hash = createHash('sha256');
  const hashed = (bytes: Uint8Array): Uint8Array => {
    hash.update(bytes);
    return bytes;
  };
  yield hashed(blocks.header());
  yield hashed(blocks.state(reader.state, reader.spaces));
  const present = reader.spaces.map(({ name }) => reader.present(name));
  const totalPages = present.reduce((sum, pages) => sum + pages.length, 0);
  let donePages = 0;
  for (const [ordinal, shape] of reader.spaces.entries()) {
    const pages = present[ordinal]!;
    for (let at = 0; at < pages.length; at += PAGES_AT_ONCE) {
      const indexes = pages.subarray(at, at + PAGES_AT_ONCE);
      const bytes = await reader.readPages(shape.name, indexes);
      for (const block of blocks.pages(ordinal, { ...shape, full: true, indexes, bytes }))
        yield hashed(block);
      donePages += indexes.length;
      onProgress?.({ donePages, totalPages });
    }
  }
  yield hashed(blocks.done());
  yield hash.digest();
}

/** Reads a single file and writes it as the next checkpoint of a VM. */
export async function importCheckpointFile(
  store: ObjectStore,
  ownership: Ownership,
  path: string,
  options: WriterOptions = {},
): Promise<WrittenCheckpoint> {
  const snapshot = await readCheckpointFile(path);
  const writer = await CheckpointWriter.open(store, ownership, options);
  try {
    return await writer.write(snapshot);
  } finally {
    await writer.close();
  }
}
