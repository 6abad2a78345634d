// Lazy restore: the recorded working set first, then the guest runs; what it touches comes on demand, the rest in the
// background. When the store fails, the guest waits at the page that it needs, the caller is told, and it goes on when the
// store is back. Each page is delivered exactly once.
import { isStoreError, StorageError } from '../errors.ts';
import { systemHost, type StorageHost } from '../host.ts';
import type { CheckpointReader } from './reader.ts';
import type { StallEvent } from './retrier.ts';
import type { WorkingSet } from './working-set.ts';

/** Pages that arrived: `indexes.length * pageSize` bytes. Zero pages are never delivered. */
export interface PageDelivery {
  space: string;
  indexes: Uint32Array;
  bytes: Uint8Array;
}

export interface LazyRestoreOptions {
  /** Puts pages into the machine. Not called again before it returned. */
  deliver: (pages: PageDelivery) => void;
  /** Told when the store makes the restore wait, and when it goes on. */
  onStall?: (event: StallEvent) => void;
  /** Pages read together in the background. Default 512. */
  backgroundPages?: number;
  /** The recorded working set is kept to so many pages. Default 8192 (32 MiB of RAM). */
  workingSetPages?: number;
  host?: StorageHost;
}

const FIRST_PAUSE_MS = 20;
const MAX_PAUSE_MS = 1000;

interface Space {
  name: string;
  /** 1: not zero, and not delivered yet. */
  missing: Uint8Array;
  count: number;
  /** Where the background goes on. */
  cursor: number;
}

export class LazyRestore {
  readonly #reader: CheckpointReader;
  readonly #options: LazyRestoreOptions;
  readonly #host: StorageHost;
  readonly #spaces = new Map<string, Space>();
  /** Pages being read, with who reads them. */
  readonly #underWay = new Map<string, Promise<void>>();
  readonly #touched: { space: string; page: number }[] = [];
  #demands = 0;
  #wakeBackground: (() => void) | undefined;
  #stopped = false;

  constructor(reader: CheckpointReader, options: LazyRestoreOptions) {
    this.#reader = reader;
    this.#options = options;
    this.#host = options.host ?? systemHost;
    for (const { name, pageCount } of reader.spaces) {
      const missing = new Uint8Array(pageCount);
      const present = reader.present(name);
      for (const page of present) missing[page] = 1;
      this.#spaces.set(name, { name, missing, count: present.length, cursor: 0 });
    }
  }

  /** Pages still missing, over all spaces. */
  get missingPages(): number {
    let count = 0;
    for (const space of this.#spaces.values()) count += space.count;
    return count;
  }

  /** True when the page is not zero and not delivered yet: the guest must not see it. */
  isMissing(space: string, page: number): boolean {
    return this.#spaces.get(space)?.missing[page] === 1;
  }

  /** The missing pages of a space, ascending. */
  missing(space: string): Uint32Array {
    const { missing } = this.#space(space);
    const pages: number[] = [];
    for (let page = missing.indexOf(1); page >= 0; page = missing.indexOf(1, page + 1)) pages.push(page);
    return Uint32Array.from(pages);
  }

  /** Delivers the recorded working set. After this the guest may run. Returns the number of pages. */
  async loadWorkingSet(): Promise<number> {
    const set = await this.#insist('the working set', () => this.#reader.workingSet());
    let count = 0;
    for (const [name, pages] of Object.entries(set)) {
      const space = this.#spaces.get(name);
      if (space === undefined) continue;
      const wanted = pages.filter((page) => space.missing[page] === 1);
      await this.#fetch(space, wanted);
      for (const page of wanted) this.#touched.push({ space: name, page });
      count += wanted.length;
    }
    return count;
  }

  /**
   * Delivers pages that the guest touches, before anything else. Returns when none of them is missing any more; while
   * the store fails, it tries on.
   * @throws StorageError `CHECKPOINT_DAMAGED`, naming the object.
   */
  async demand(space: string, pages: readonly number[]): Promise<void> {
    this.#demands++;
    try {
      const from = this.#space(space);
      const wanted = pages.filter((page) => from.missing[page] === 1);
      for (const page of wanted) this.#touched.push({ space, page });
      await this.#fetch(from, Uint32Array.from(wanted));
    } finally {
      this.#demands--;
      if (this.#demands === 0) this.#wakeBackground?.();
    }
  }

  /** The page is overwritten as a whole, or no longer needed: it will not be delivered. */
  discard(space: string, page: number): void {
    const from = this.#space(space);
    if (from.missing[page] === 1) this.#settle(from, page);
  }

  /** Delivers everything else, giving way to demands. Resolves when nothing is missing, or after `stop`. */
  async runBackground(): Promise<void> {
    for (const space of this.#spaces.values()) {
      while (space.count > 0 && !this.#stopped) {
        if (this.#demands > 0) await new Promise<void>((wake) => (this.#wakeBackground = wake));
        const pages = this.#nextPages(space);
        if (pages.length === 0) space.cursor = 0;
        await this.#fetch(space, pages);
      }
    }
  }

  /** Ends the background after the request under way. */
  stop(): void {
    this.#stopped = true;
    this.#wakeBackground?.();
  }

  /** What to record for the next resume: the pages touched in this one, first touch first. */
  recordedWorkingSet(): WorkingSet {
    const lists = new Map<string, number[]>();
    for (const { space, page } of this.#touched.slice(0, this.#options.workingSetPages ?? 8192)) {
      const list = lists.get(space) ?? [];
      lists.set(space, list);
      list.push(page);
    }
    return Object.fromEntries([...lists].map(([space, pages]) => [space, Uint32Array.from(new Set(pages))]));
  }

  #space(name: string): Space {
    const space = this.#spaces.get(name);
    if (space === undefined) throw new StorageError('BAD_ARGUMENT', `the checkpoint has no space ${name}`);
    return space;
  }

  #nextPages(space: Space): Uint32Array {
    const pages: number[] = [];
    const limit = this.#options.backgroundPages ?? 512;
    let page = space.missing.indexOf(1, space.cursor);
    for (; page >= 0 && pages.length < limit; page = space.missing.indexOf(1, page + 1)) pages.push(page);
    space.cursor = (pages.at(-1) ?? space.missing.length) + 1;
    return Uint32Array.from(pages);
  }

  async #fetch(space: Space, pages: Uint32Array): Promise<void> {
    const waits = new Set<Promise<void>>();
    const own: number[] = [];
    for (const page of pages) {
      const other = this.#underWay.get(`${space.name}/${String(page)}`);
      if (other === undefined) own.push(page);
      else waits.add(other);
    }
    if (own.length > 0) waits.add(this.#read(space, Uint32Array.from(new Set(own).values()).sort()));
    await Promise.all(waits);
  }

  #read(space: Space, pages: Uint32Array): Promise<void> {
    const keys = Array.from(pages, (page) => `${space.name}/${String(page)}`);
    const work = this.#insist(`pages of ${space.name}`, () => this.#reader.readPages(space.name, pages))
      .then((bytes) => {
        this.#deliver(space, pages, bytes);
      })
      .finally(() => {
        for (const key of keys) this.#underWay.delete(key);
      });
    for (const key of keys) this.#underWay.set(key, work);
    return work;
  }

  #deliver(space: Space, pages: Uint32Array, bytes: Uint8Array): void {
    const pageSize = bytes.length / pages.length;
    // Discarded while it was on its way: the guest's own contents are newer.
    const kept = [...pages.keys()].filter((i) => space.missing[pages[i]!] === 1);
    let delivery: PageDelivery = { space: space.name, indexes: pages, bytes };
    if (kept.length < pages.length) {
      const some = new Uint8Array(kept.length * pageSize);
      for (const [k, i] of kept.entries())
        some.set(bytes.subarray(i * pageSize, (i + 1) * pageSize), k * pageSize);
      delivery = { space: space.name, indexes: Uint32Array.from(kept, (i) => pages[i]!), bytes: some };
    }
    if (kept.length > 0) this.#options.deliver(delivery);
    for (const i of kept) this.#settle(space, pages[i]!);
  }

  #settle(space: Space, page: number): void {
    space.missing[page] = 0;
    space.count--;
  }

  /** Tries until the store answers. Damage is no failure of the store, and is thrown. */
  async #insist<T>(what: string, work: () => Promise<T>): Promise<T> {
    let failedAt: number | undefined;
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 2, MAX_PAUSE_MS)) {
      try {
        const result = await work();
        if (failedAt !== undefined) this.#tell('resumed', what, '', failedAt);
        return result;
      } catch (error) {
        if (!isStoreError(error) || !error.retryable || this.#stopped) throw error;
        failedAt ??= this.#host.monotonicMs();
        this.#tell('stalled', what, error.message, failedAt);
        await this.#host.sleep(pause);
      }
    }
  }

  #tell(kind: StallEvent['kind'], what: string, reason: string, failedAt: number): void {
    this.#options.onStall?.({ kind, what, reason, forMs: this.#host.monotonicMs() - failedAt });
  }
}
