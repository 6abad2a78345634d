/** From a store into a single file and back. */
import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { CheckpointFileSource } from '../checkpoint-file-source.ts';
import { checkpointFileBlocks, writeFileAtomically } from '../checkpoint-file.ts';
import { systemHost, withClockAt } from '../host.ts';
import { raiseEpoch, type Ownership } from '../ownership.ts';
import { MemoryStore } from '../store/memory-store.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { formatId, parseId } from './keys.ts';
import { CheckpointReader, type ReadOptions } from './reader.ts';
import { CheckpointWriter, type WriterOptions, type WrittenCheckpoint } from './writer.ts';

/** Pages read and written together. */
const pagesAtOnce = 1024;

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
  const blocks = checkpointFileBlocks;
  const hash = createHash('sha256');
  const hashed = (bytes: Uint8Array): Uint8Array => {
    hash.update(bytes);
    return bytes;
  };
  yield hashed(blocks.header());
  const { createdAtMs } = reader.head;
  const origin = { createdAtMs, vmId: reader.vmId, checkpoint: formatId(reader.id) };
  yield hashed(blocks.state(reader.state, reader.spaces, origin));
  const present = reader.spaces.map(({ name }) => reader.present(name));
  const totalPages = present.reduce((sum, pages) => sum + pages.length, 0);
  let donePages = 0;
  for (const [ordinal, shape] of reader.spaces.entries()) {
    const pages = present[ordinal]!;
    for (let at = 0; at < pages.length; at += pagesAtOnce) {
      const indexes = pages.subarray(at, at + pagesAtOnce);
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

/**
 * Writes a single file as the next checkpoint of a VM, in memory that does not grow with its pages. It keeps the time at which it was made, where
 * the file says it.
 */
export async function importCheckpointFile(
  store: ObjectStore,
  ownership: Ownership,
  { snapshot, origin }: CheckpointFileSource,
  options: WriterOptions = {},
): Promise<WrittenCheckpoint> {
  const host = options.host ?? systemHost;
  const then = origin.createdAtMs === undefined ? host : withClockAt(origin.createdAtMs, host);
  const writer = await CheckpointWriter.open(store, ownership, { ...options, host: then });
  try {
    return await writer.write(snapshot);
  } finally {
    await writer.close();
  }
}

/**
 * Opens a single file to look into it, under the name and number that it was exported with. Of a file that does not say them (one that
 * was saved from a running guest, or by an older program) the file's name stands for the VM, and its time for the checkpoint's.
 */
export async function openCheckpointFile(path: string, options: ReadOptions = {}): Promise<CheckpointReader> {
  const source = await CheckpointFileSource.open(path);
  try {
    return await openSource(path, source, options);
  } finally {
    await source.close();
  }
}

/** All that is in memory is what the file has, compressed. */
async function openSource(
  path: string,
  { snapshot, origin }: CheckpointFileSource,
  options: ReadOptions,
): Promise<CheckpointReader> {
  const store = new MemoryStore(`file:${path}`);
  const host = withClockAt(origin.createdAtMs ?? (await stat(path)).mtimeMs, options.host ?? systemHost);
  const vmId = origin.vmId ?? nameFrom(path);
  const id = origin.checkpoint === undefined ? { epoch: 1, sequence: 1 } : parseId(origin.checkpoint);
  // Nobody else sees this store: its owner record may begin at any epoch.
  const ownership = await raiseEpoch(store, vmId, { owner: 'a file', host, firstEpoch: id.epoch });
  const writer = await CheckpointWriter.open(store, ownership, {
    ...options,
    host,
    firstSequence: id.sequence,
  });
  const written = await writer.write(snapshot);
  await writer.close();
  return CheckpointReader.load(store, vmId, written.id, options);
}

function nameFrom(path: string): string {
  const name = basename(path)
    .replaceAll(/[^A-Za-z0-9._-]/g, '_')
    .replace(/^[^A-Za-z0-9]+/, '')
    .slice(0, 63);
  return name === '' ? 'file' : name;
}
