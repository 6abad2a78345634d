/** Reads every page of a checkpoint and checks it. */
import { isStorageError, isStoreError } from '../errors.ts';
import type { CheckpointReader } from './reader.ts';

export interface VerifyProgress {
  donePages: number;
  totalPages: number;
}

export interface VerifyReport {
  intact: boolean;
  pages: number;
  /** One line for each object found damaged. */
  damaged: string[];
  /** SHA-256 over state and pages; undefined when damaged. */
  contentHash: string | undefined;
}

const pagesAtOnce = 1024;

/**
 * Verifies every page that is not zero. Damage is reported, not thrown.
 * @throws StoreError when the store fails; `KEY_NEEDED`, `KEY_WRONG`.
 */
export async function verifyCheckpoint(
  reader: CheckpointReader,
  options: { onProgress?: (progress: VerifyProgress) => void } = {},
): Promise<VerifyReport> {
  const present = reader.spaces.map(({ name }) => ({ name, pages: reader.present(name) }));
  const totalPages = present.reduce((sum, { pages }) => sum + pages.length, 0);
  const damaged = new Set<string>();
  let donePages = 0;
  for (const { name, pages } of present) {
    for (let at = 0; at < pages.length; at += pagesAtOnce) {
      const some = pages.subarray(at, at + pagesAtOnce);
      for (const message of await check(reader, name, some)) damaged.add(message);
      donePages += some.length;
      options.onProgress?.({ donePages, totalPages });
    }
  }
  const intact = damaged.size === 0;
  return {
    intact,
    pages: totalPages,
    damaged: [...damaged],
    contentHash: intact ? await reader.contentHash() : undefined,
  };
}

async function check(reader: CheckpointReader, space: string, pages: Uint32Array): Promise<string[]> {
  const message = await tryRead(reader, space, pages);
  if (message === undefined) return [];
  if (pages.length === 1) return [message];
  // Halve until each damaged object is named.
  const middle = pages.length >> 1;
  return [
    ...(await check(reader, space, pages.subarray(0, middle))),
    ...(await check(reader, space, pages.subarray(middle))),
  ];
}

async function tryRead(
  reader: CheckpointReader,
  space: string,
  pages: Uint32Array,
): Promise<string | undefined> {
  try {
    await reader.readPages(space, pages);
    return undefined;
  } catch (error) {
    if (isStorageError(error, 'CHECKPOINT_DAMAGED') || isStoreError(error, 'DAMAGED')) return error.message;
    throw error;
  }
}
