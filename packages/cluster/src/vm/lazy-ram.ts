/**
 * Lazy resume: the guest runs as soon as processor, devices, the recorded working set and what changed last are in. Pages that it touches before they
 * came are asked for (page channel); the rest follows in the background. What it touched meanwhile is the next resume's working set.
 */
import {
  retry,
  saveWorkingSet,
  systemHost,
  type CheckpointKey,
  type CheckpointReader,
  type MachineSnapshot,
  type ObjectStore,
  type ServedPages,
  type StorageHost,
} from '@revenant/storage';
import { maxWorkingPages } from './working-pages.ts';

const space = 'ram';
/** Below 1 MiB pages are not absent. */
const firstLazyPage = 256;
/** And of those that its last checkpoints stored: a log behind it was made by what touches them. */
const newestPages = 2048;
const newestShare = 1 / 4;
/** So many at once, for which a page that the guest waits for has to wait. */
const backgroundPages = 256;

export interface PageDelivery {
  indexes: Uint32Array;
  bytes: Uint8Array;
}

export class LazyRam implements ServedPages {
  /** All of the checkpoint but pages of RAM that come later. */
  readonly snapshot: MachineSnapshot;
  /** Pages of RAM that come later, ascending. */
  readonly absent: Uint32Array;
  readonly pageCount: number;
  readonly #reader: CheckpointReader;
  readonly #host: StorageHost;
  readonly #touched: number[] = [];
  /** The working set that it started with. */
  #before: Iterable<number> = [];
  #stopped = false;
  /** Of `absent`, the first that the background has not brought. */
  #at = 0;
  #runs = 0;

  private constructor(parts: {
    reader: CheckpointReader;
    snapshot: MachineSnapshot;
    absent: Uint32Array;
    host: StorageHost;
  }) {
    this.#reader = parts.reader;
    this.#host = parts.host;
    this.snapshot = parts.snapshot;
    this.absent = parts.absent;
    this.pageCount = parts.reader.source(space).map.space.pageCount;
  }

  /** Reads what the guest needs at once. The reader is closed by `finish` or `stop`. Undefined for a checkpoint without RAM. */
  static async open(reader: CheckpointReader, host = systemHost): Promise<LazyRam | undefined> {
    if (!reader.spaces.some(({ name }) => name === space)) return undefined;
    const set = (await reader.workingSet())[space]?.subarray(0, maxWorkingPages) ?? new Uint32Array(0);
    const present = reader.present(space);
    const newest = reader.newest(space, Math.min(newestPages, present.length * newestShare));
    const wanted = new Set([...set, ...newest]);
    const atOnce = (page: number): boolean => page < firstLazyPage || wanted.has(page);
    const spaces = await Promise.all(
      reader.spaces.map(async ({ name, pageSize, pageCount }) => {
        if (name !== space) return reader.readSpace(name, { onBase: true });
        const indexes = present.filter(atOnce);
        return {
          name,
          pageSize,
          pageCount,
          full: true,
          indexes,
          bytes: await reader.readPages(name, indexes),
        };
      }),
    );
    const lazy = new LazyRam({
      reader,
      snapshot: { ...reader.state, spaces },
      absent: present.filter((page) => !atOnce(page)),
      host,
    });
    lazy.#before = set;
    return lazy;
  }

  /** Pages that the guest touched before they came, in that order. */
  touched(pages: readonly number[]): void {
    this.#touched.push(...pages);
  }

  /** Pages that the guest waits for, and their neighbours. */
  async read(indexes: Uint32Array): Promise<Uint8Array> {
    return this.#reader.readPages(space, indexes);
  }

  /**
   * Brings everything else in, a few pages at a time: `deliver` resolves when they are in the machine. Tries on while the store
   * fails. Asked for again it goes on from where it is, for whoever asked last. False when it was stopped before its end, or asked for again.
   * @throws StorageError `CHECKPOINT_DAMAGED`
   */
  async runBackground(deliver: (pages: PageDelivery) => Promise<void>): Promise<boolean> {
    const run = ++this.#runs;
    const isOver = (): boolean => this.#stopped || run !== this.#runs;
    while (this.#at < this.absent.length && !isOver()) {
      const indexes = this.absent.slice(this.#at, this.#at + backgroundPages);
      const read = async (): Promise<Uint8Array | undefined> =>
        isOver() ? undefined : this.#reader.readPages(space, indexes);
      const bytes = await retry(read, { host: this.#host, what: 'pages of RAM', goOn: () => true });
      if (bytes === undefined || isOver()) break;
      await deliver({ indexes, bytes });
      if (!isOver()) this.#at += backgroundPages;
    }
    return !isOver();
  }

  /** After the background: records the working set. Advice only, so a store that fails now is no harm. */
  async finish(store: ObjectStore, vmId: string, key?: CheckpointKey): Promise<void> {
    // What is touched no more falls out at the end.
    const pages = new Set([...this.#touched, ...this.#before]);
    const set = Uint32Array.from([...pages].slice(0, maxWorkingPages));
    await saveWorkingSet(store, vmId, { [space]: set }, { key }).catch(() => undefined);
    await this.#reader.close();
  }

  stop(): void {
    this.#stopped = true;
  }
}
