/**
 * One hash for a whole machine, however it is stored: SHA-256 over the encoded state and, per space, the numbers and
 * SHA-256 sums of its non-zero pages.
 */
import { createHash } from 'node:crypto';
import { encodeState } from '../codec.ts';
import { isZeroPage, type MachineSnapshot, type SpaceShape } from '../snapshot.ts';
import { hashPage } from './page-codec.ts';

export class ContentHash {
  readonly #hash = createHash('sha256');

  constructor(state: Omit<MachineSnapshot, 'spaces'>) {
    const { description, cpus, devices, instructions, virtualTimeNs } = state;
    this.#hash.update(encodeState([description, cpus, devices, instructions, virtualTimeNs]));
  }

  space({ name, pageSize, pageCount }: SpaceShape): void {
    this.#hash.update(encodeState([name, pageSize, pageCount]));
  }

  /** Non-zero pages only, ascending. */
  page(index: number, pageHash: Uint8Array): void {
    const number = Buffer.alloc(4);
    number.writeUInt32LE(index);
    this.#hash.update(number).update(pageHash);
  }

  digest(): string {
    return this.#hash.digest('hex');
  }
}

/** The content hash of a full snapshot in memory. Equals `CheckpointReader.contentHash` of the same machine. */
export function snapshotHash(snapshot: MachineSnapshot): string {
  const hash = new ContentHash(snapshot);
  for (const space of snapshot.spaces) {
    hash.space(space);
    for (const [i, index] of space.indexes.entries()) {
      const page = space.bytes.subarray(i * space.pageSize, (i + 1) * space.pageSize);
      if (!isZeroPage(page)) hash.page(index, hashPage(page));
    }
  }
  return hash.digest();
}
