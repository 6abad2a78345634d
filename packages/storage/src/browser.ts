/** `@revenant/storage/browser`: checkpoint files in a tab. Imports nothing of Node; bundlers resolve `#lz4` by the `browser` condition. */
import { decodeBlocks, FileDecoder, type CheckpointOrigin } from './checkpoint-file-format.ts';
import type { MachineSnapshot } from './snapshot.ts';

export type { CheckpointOrigin } from './checkpoint-file-format.ts';
export { StorageError, type StorageErrorCode } from './errors.ts';
export { decodeLz4Block, encodeLz4Block } from './lz4-block.ts';
export type { MachineSnapshot, SpaceSnapshot } from './snapshot.ts';

/**
 * The machine in a checkpoint file, checked to its last byte, as `readCheckpointFile` gives it on Node.
 * @param name for messages.
 * @throws StorageError `CHECKPOINT_FILE_FOREIGN`, `CHECKPOINT_FILE_NEWER`, `CHECKPOINT_FILE_DAMAGED`
 */
export async function openCheckpointBytes(
  bytes: Uint8Array<ArrayBuffer>,
  name = 'checkpoint',
): Promise<{ snapshot: MachineSnapshot; origin: CheckpointOrigin }> {
  let at = 0;
  let hashed = 0;
  const read = (length: number): Promise<Uint8Array> => {
    const piece = bytes.subarray(at, at + length);
    at += piece.length;
    return Promise.resolve(piece);
  };
  // A browser hashes at once only: what is hashed is always the beginning of the file.
  const hash = {
    update: (piece: Uint8Array): void => void (hashed += piece.length),
    digest: async (): Promise<Uint8Array> =>
      new Uint8Array(await crypto.subtle.digest('SHA-256', bytes.subarray(0, hashed))),
  };
  const decoder = new FileDecoder();
  const snapshot = await decodeBlocks({ name, read, size: bytes.length, hash }, decoder);
  return { snapshot, origin: decoder.origin };
}
