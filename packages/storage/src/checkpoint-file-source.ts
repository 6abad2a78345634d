/**
 * A checkpoint file that goes into a store, of any size. Opening reads it to its end and checks all of it, as `readCheckpointFile` does, but
 * keeps no page: of each only its number, and where the block that holds it is. Whoever writes the snapshot reads its pages by `read`, a few
 * megabytes at a time. The file stays open, so one that is replaced meanwhile does no harm.
 */
import { createHash } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import {
  checkOrder,
  decodeBlocks,
  decodeStateBody,
  pageBlock,
  type BlockTaker,
  type CheckpointOrigin,
  type SpacePieces,
} from './checkpoint-file-format.ts';
import { readExactly } from './checkpoint-file.ts';
import { decompressBlock } from './codec.ts';
import { StorageError } from './errors.ts';
import type { MachineSnapshot, SpaceSnapshot } from './snapshot.ts';

/** Decoded blocks kept for who asks next: as many as a writer has under way, of 1 MiB each where our own program made the file. */
const keptBlocks = 12;

/** Compressed pages of one space, in one PAGE block. */
interface PlacedBlock {
  /** Where they are in the file. */
  at: number;
  length: number;
  /** The index of its first page among all pages of its space. */
  first: number;
  pages: number;
}

class Places implements BlockTaker {
  origin: CheckpointOrigin = {};
  /** The blocks of each space. */
  readonly blocks: PlacedBlock[][] = [];
  #state: Omit<MachineSnapshot, 'spaces'> | undefined;
  #spaces: SpacePieces[] = [];

  take(tag: string, body: Uint8Array, at: number): void {
    if (tag === 'STAT') {
      if (this.#state !== undefined) throw new Error('two STAT blocks');
      const { state, spaces, origin } = decodeStateBody(body);
      this.#state = state;
      this.origin = origin;
      this.#spaces = spaces.map((shape) => ({ ...shape, pages: 0, indexes: [], bytes: [] }));
      this.blocks.push(...spaces.map(() => []));
    } else if (tag === 'PAGE') this.#takePages(body, at);
    else throw new Error(`unknown block ${JSON.stringify(tag)}`);
  }

  #takePages(body: Uint8Array, at: number): void {
    const { ordinal, indexes, pages } = pageBlock(body, this.#spaces);
    const space = this.#spaces[ordinal]!;
    checkOrder(space, indexes);
    // A block that does not decompress is found before anything is written.
    decompressBlock(pages, indexes.length * space.pageSize);
    const { length } = pages;
    this.blocks[ordinal]!.push({
      at: at + body.length - length,
      length,
      first: space.pages,
      pages: indexes.length,
    });
    space.indexes.push(indexes);
    space.pages += indexes.length;
  }

  /** Without `read`: whoever has the file adds it. */
  result(): MachineSnapshot {
    if (this.#state === undefined) throw new Error('no STAT block');
    const read = (): Promise<Uint8Array> => Promise.reject(new Error('the file is not open yet'));
    const spaces = this.#spaces.map(({ name, pageSize, pageCount, onBase, pages, indexes: pieces }) => {
      const indexes = new Uint32Array(pages);
      let at = 0;
      for (const piece of pieces) {
        indexes.set(piece, at);
        at += piece.length;
      }
      const shape = { name, pageSize, pageCount, full: true, ...(onBase === true ? { onBase } : {}) };
      return { ...shape, indexes, bytes: new Uint8Array(0), read };
    });
    return { ...this.#state, spaces };
  }
}

export class CheckpointFileSource {
  /** Its spaces have no bytes: their pages are read by `read`. */
  readonly snapshot: MachineSnapshot;
  readonly origin: CheckpointOrigin;
  readonly #path: string;
  readonly #file: FileHandle;
  /** Decoded blocks by position, the longest unused first. */
  readonly #kept = new Map<number, Promise<Uint8Array>>();

  private constructor(path: string, file: FileHandle, places: Places, snapshot: MachineSnapshot) {
    this.#path = path;
    this.#file = file;
    this.origin = places.origin;
    const spaces = snapshot.spaces.map((space, ordinal) => {
      const blocks = places.blocks[ordinal] ?? [];
      return { ...space, read: (from: number, to: number) => this.#read(space, blocks, from, to) };
    });
    this.snapshot = { ...snapshot, spaces };
  }

  /** @throws StorageError `CHECKPOINT_FILE_…`, as `readCheckpointFile` does. */
  static async open(path: string): Promise<CheckpointFileSource> {
    const file = await open(path, 'r');
    try {
      const { size } = await file.stat();
      const places = new Places();
      const read = (length: number): Promise<Uint8Array> => readExactly(file, length);
      const snapshot = await decodeBlocks({ name: path, read, size, hash: createHash('sha256') }, places);
      return new CheckpointFileSource(path, file, places, snapshot);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  async #read(
    { pageSize }: SpaceSnapshot,
    blocks: readonly PlacedBlock[],
    from: number,
    to: number,
  ): Promise<Uint8Array> {
    let [low, high] = [0, blocks.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (blocks[middle]!.first <= from) low = middle;
      else high = middle - 1;
    }
    const found = blocks[low];
    if (found?.first === from && found.pages === to - from) return this.#decoded(found, pageSize);
    const bytes = new Uint8Array((to - from) * pageSize);
    for (let page = from; page < to; low++) {
      const block = blocks[low]!;
      const [start, end] = [page - block.first, Math.min(to - block.first, block.pages)];
      const decoded = await this.#decoded(block, pageSize);
      bytes.set(decoded.subarray(start * pageSize, end * pageSize), (page - from) * pageSize);
      page = block.first + end;
    }
    return bytes;
  }

  #decoded(block: PlacedBlock, pageSize: number): Promise<Uint8Array> {
    const decoded = this.#kept.get(block.at) ?? this.#decode(block, pageSize);
    decoded.catch(() => undefined);
    this.#kept.delete(block.at);
    this.#kept.set(block.at, decoded);
    for (const key of this.#kept.keys()) {
      if (this.#kept.size <= keptBlocks) break;
      this.#kept.delete(key);
    }
    return decoded;
  }

  async #decode({ at, length, pages }: PlacedBlock, pageSize: number): Promise<Uint8Array> {
    try {
      const body = Buffer.allocUnsafe(length);
      for (let done = 0; done < length;) {
        const { bytesRead } = await this.#file.read(body, done, length - done, at + done);
        if (bytesRead === 0) throw new Error('it ends early');
        done += bytesRead;
      }
      return decompressBlock(body, pages * pageSize);
    } catch (cause) {
      throw new StorageError(
        'CHECKPOINT_FILE_DAMAGED',
        `${this.#path}: it can't be read any more: ${cause instanceof Error ? cause.message : String(cause)}`,
        { cause, hint: 'leave the file alone while it is imported' },
      );
    }
  }
}
