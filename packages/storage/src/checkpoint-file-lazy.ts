/**
 * A checkpoint file whose RAM is read when it is needed. Opening reads the file to its end and checks it as `readCheckpointFile` does,
 * but decompresses only what a machine needs to go on: state, small spaces, low RAM. Invariant: no page is handed out of a file whose
 * checksum was not right when it was opened; the file stays open, so one that is replaced meanwhile does no harm.
 */
import { createHash } from 'node:crypto';
import { readSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import {
  checkOrder,
  decodeBlocks,
  decodeStateBody,
  joinPieces,
  pageBlock,
  type BlockTaker,
  type SpacePieces,
} from './checkpoint-file-format.ts';
import { readExactly } from './checkpoint-file.ts';
import { decompressBlock } from './codec.ts';
import { StorageError } from './errors.ts';
import type { MachineSnapshot } from './snapshot.ts';

/** Decoded blocks kept for the next page: 4 MiB. */
const keptBlocks = 4;

/** Pages that come later, in one PAGE block; and where its compressed pages are in the file. */
interface LateBlock {
  at: number;
  length: number;
  pageSize: number;
  /** All of its pages, ascending. */
  indexes: Uint32Array;
}

export interface LateOptions {
  /** The space whose pages come later, and the first of these. */
  space: string;
  firstPage: number;
}

class Indexer implements BlockTaker {
  readonly blocks: LateBlock[] = [];
  readonly #late: LateOptions;
  #state: Omit<MachineSnapshot, 'spaces'> | undefined;
  #spaces: SpacePieces[] = [];

  constructor(late: LateOptions) {
    this.#late = late;
  }

  take(tag: string, body: Uint8Array, at: number): void {
    if (tag === 'STAT') {
      if (this.#state !== undefined) throw new Error('two STAT blocks');
      const { state, spaces } = decodeStateBody(body);
      this.#state = state;
      this.#spaces = spaces.map((shape) => ({ ...shape, pages: 0, indexes: [], bytes: [] }));
    } else if (tag === 'PAGE') this.#takePages(body, at);
    else throw new Error(`unknown block ${JSON.stringify(tag)}`);
  }

  #takePages(body: Uint8Array, at: number): void {
    const { ordinal, indexes, pages } = pageBlock(body, this.#spaces);
    const space = this.#spaces[ordinal]!;
    const { pageSize, name } = space;
    const isLate = (page: number): boolean => name === this.#late.space && page >= this.#late.firstPage;
    if (indexes.some(isLate)) {
      const before = this.blocks.at(-1)?.indexes.at(-1) ?? -1;
      if (indexes.some((page, i) => page <= (indexes[i - 1] ?? before) || page >= space.pageCount))
        throw new Error('pages are out of order');
      const { length } = pages;
      this.blocks.push({ at: at + body.length - length, length, pageSize, indexes });
    }
    const early = indexes.filter((page) => !isLate(page));
    if (early.length === 0) return;
    checkOrder(space, early);
    // Pages ascend, so those that are needed at once are the first of their block.
    const bytes = decompressBlock(pages, indexes.length * pageSize);
    space.bytes.push(bytes.subarray(0, early.length * pageSize));
    space.indexes.push(early);
    space.pages += early.length;
  }

  result(): MachineSnapshot {
    if (this.#state === undefined) throw new Error('no STAT block');
    return { ...this.#state, spaces: this.#spaces.map(joinPieces) };
  }
}

export class LateCheckpointFile {
  /** All but the pages that come later. */
  readonly snapshot: MachineSnapshot;
  /** Numbers of the pages that come later, ascending. */
  readonly late: Uint32Array;
  readonly #path: string;
  readonly #file: FileHandle;
  readonly #blocks: readonly LateBlock[];
  readonly #firstPage: number;
  /** Decoded blocks by position, the longest unused first. */
  readonly #kept = new Map<number, Uint8Array>();

  private constructor(parts: {
    path: string;
    file: FileHandle;
    snapshot: MachineSnapshot;
    blocks: readonly LateBlock[];
    firstPage: number;
  }) {
    this.#path = parts.path;
    this.#file = parts.file;
    this.#blocks = parts.blocks;
    this.#firstPage = parts.firstPage;
    this.snapshot = parts.snapshot;
    this.late = Uint32Array.from(parts.blocks.flatMap(({ indexes }) => [...this.#lateOf(indexes)]));
  }

  /** @throws StorageError `CHECKPOINT_FILE_…`, as `readCheckpointFile` does. */
  static async open(path: string, late: LateOptions): Promise<LateCheckpointFile> {
    const file = await open(path, 'r');
    try {
      const { size } = await file.stat();
      const indexer = new Indexer(late);
      const read = (length: number): Promise<Uint8Array> => readExactly(file, length);
      const snapshot = await decodeBlocks({ name: path, read, size, hash: createHash('sha256') }, indexer);
      return new LateCheckpointFile({
        path,
        file,
        snapshot,
        blocks: indexer.blocks,
        firstPage: late.firstPage,
      });
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  #lateOf(indexes: Uint32Array): Uint32Array {
    const from = indexes.findIndex((page) => page >= this.#firstPage);
    return from < 0 ? new Uint32Array(0) : indexes.subarray(from);
  }

  /**
   * One of the pages that come later; undefined for any other. At once: for a guest in the middle of an instruction.
   * @throws StorageError `CHECKPOINT_FILE_DAMAGED` when the file changed or can't be read any more.
   */
  page(page: number): Uint8Array | undefined {
    let [low, high] = [0, this.#blocks.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#blocks[middle]?.indexes.at(-1) ?? 0) < page) low = middle + 1;
      else high = middle;
    }
    const block = this.#blocks[low];
    const slot = page < this.#firstPage || block === undefined ? -1 : block.indexes.indexOf(page);
    if (block === undefined || slot < 0) return undefined;
    return this.#decode(block).subarray(slot * block.pageSize, (slot + 1) * block.pageSize);
  }

  /** All of the pages that come later, some at a time. */
  *pieces(): Generator<{ indexes: Uint32Array; bytes: Uint8Array }, void> {
    for (const block of this.#blocks) {
      const indexes = this.#lateOf(block.indexes);
      const skipped = block.indexes.length - indexes.length;
      yield { indexes, bytes: this.#decode(block).subarray(skipped * block.pageSize) };
    }
  }

  #decode(block: LateBlock): Uint8Array {
    const { at, length, pageSize, indexes } = block;
    let bytes = this.#kept.get(at);
    this.#kept.delete(at);
    try {
      bytes ??= decompressBlock(this.#read(at, length), indexes.length * pageSize);
    } catch (cause) {
      throw new StorageError(
        'CHECKPOINT_FILE_DAMAGED',
        `${this.#path}: it can't be read any more: ${cause instanceof Error ? cause.message : String(cause)}`,
        { cause, hint: 'leave the file alone while its guest starts' },
      );
    }
    this.#kept.set(at, bytes);
    for (const key of this.#kept.keys()) {
      if (this.#kept.size <= keptBlocks) break;
      this.#kept.delete(key);
    }
    return bytes;
  }

  #read(at: number, length: number): Buffer {
    const body = Buffer.allocUnsafe(length);
    for (let done = 0; done < length;) {
      const count = readSync(this.#file.fd, body, done, length - done, at + done);
      if (count === 0) throw new Error('it ends early');
      done += count;
    }
    return body;
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}
