/**
 * Pages for a thread that can't wait for promises: a guest in the middle of a disk request. The thread asks over a port and sleeps
 * on shared memory (Atomics.wait) until the thread that has the store has put the pages there. One request at a time; pages beside
 * the one asked for come along. While the store fails the guest's thread sleeps on, and the serving side says so.
 */
import type { MessagePort } from 'node:worker_threads';
import { StorageError, type StorageErrorCode } from '../errors.ts';
import { systemHost, type StorageHost } from '../host.ts';
import { retry, type StallEvent } from '../retry.ts';

/** Words at the head of the shared memory. */
const Word = { state: 0, length: 1 } as const;
const State = { asked: 0, answered: 1, failed: 2 } as const;
const headBytes = 16;
/** Pages fetched together: 64 KiB of a disk. */
const groupPages = 16;
const defaultCacheBytes = 16 << 20;

/** What the serving side reads from: a `PageSource`, for example of a base image. */
export interface ServedPages {
  read(indexes: Uint32Array): Promise<Uint8Array>;
}

interface PageRequest {
  source: string;
  first: number;
  count: number;
}

/** What goes to the other thread (`port` in the transfer list). */
export interface PageChannelEnds {
  memory: SharedArrayBuffer;
  port: MessagePort;
  pageSize: number;
  /** Pages of each source. */
  sources: Record<string, number>;
}

export interface PageServerOptions {
  port: MessagePort;
  memory: SharedArrayBuffer;
  sources: ReadonlyMap<string, ServedPages>;
  /** Told when the store makes the guest wait, and when it goes on. */
  onStall?: (event: StallEvent) => void;
  host?: StorageHost;
}

/** Shared memory for a channel of pages of `pageSize` bytes. */
export function pageChannelMemory(pageSize: number): SharedArrayBuffer {
  return new SharedArrayBuffer(headBytes + groupPages * pageSize);
}

/** The side that has the store. Ends with `close`, or when the port does. */
export class PageServer {
  readonly #options: PageServerOptions;
  readonly #host: StorageHost;
  #closed = false;
  /** True while a guest sleeps for a page: it is alive, but shows no sign of life. */
  waiting = false;

  constructor(options: PageServerOptions) {
    this.#options = options;
    this.#host = options.host ?? systemHost;
    options.port.on('message', (request: PageRequest) => {
      void this.#serve(request);
    });
    options.port.on('close', () => (this.#closed = true));
  }

  close(): void {
    this.#closed = true;
    this.#options.port.close();
  }

  async #serve({ source, first, count }: PageRequest): Promise<void> {
    this.waiting = true;
    try {
      const pages = this.#options.sources.get(source);
      if (pages === undefined) throw new StorageError('BAD_ARGUMENT', `no pages are called ${source}`);
      const indexes = Uint32Array.from({ length: count }, (_, i) => first + i);
      this.#answer(State.answered, await this.#insist(source, () => pages.read(indexes)));
    } catch (error) {
      const code = error instanceof StorageError ? error.code : 'CHECKPOINT_DAMAGED';
      const message = error instanceof Error ? error.message : String(error);
      this.#answer(State.failed, new TextEncoder().encode(`${code}\n${message}`));
    } finally {
      this.waiting = false;
    }
  }

  #answer(state: number, bytes: Uint8Array): void {
    const { memory } = this.#options;
    const words = new Int32Array(memory, 0, headBytes / 4);
    const room = memory.byteLength - headBytes;
    new Uint8Array(memory, headBytes).set(bytes.subarray(0, room));
    words[Word.length] = Math.min(bytes.length, room);
    Atomics.store(words, Word.state, state);
    Atomics.notify(words, Word.state);
  }

  /** Tries until the store answers or the channel is closed. Damage is no failure of the store. */
  async #insist<T>(what: string, work: () => Promise<T>): Promise<T> {
    const { onStall } = this.#options;
    return retry(work, { host: this.#host, what, onStall, goOn: () => !this.#closed });
  }
}

/** The guest's side. */
export class PageClient {
  readonly #ends: PageChannelEnds;
  readonly #words: Int32Array;
  readonly #maxPages: number;
  /** `source/page` → page, the longest unused first. */
  readonly #cache = new Map<string, Uint8Array>();

  constructor(ends: PageChannelEnds, options: { cacheBytes?: number } = {}) {
    this.#ends = ends;
    this.#words = new Int32Array(ends.memory, 0, headBytes / 4);
    this.#maxPages = Math.max(
      groupPages,
      Math.floor((options.cacheBytes ?? defaultCacheBytes) / ends.pageSize),
    );
  }

  /** Pages of a source; of one that is not known, none. */
  pageCount(source: string): number {
    return this.#ends.sources[source] ?? 0;
  }

  /**
   * One page, waiting for it if need be; undefined beyond the end of the source. Not to be changed.
   * @throws StorageError with the code of what went wrong at the other side, `CHECKPOINT_DAMAGED` for one.
   */
  page(source: string, page: number): Uint8Array | undefined {
    const pageCount = this.pageCount(source);
    if (page >= pageCount) return undefined;
    const key = `${source}/${String(page)}`;
    const known = this.#cache.get(key);
    if (known !== undefined) {
      this.#cache.delete(key);
      this.#cache.set(key, known);
      return known;
    }
    const first = page - (page % groupPages);
    this.#fetch(source, first, Math.min(groupPages, pageCount - first));
    return this.#cache.get(key);
  }

  #fetch(source: string, first: number, count: number): void {
    const { memory, port, pageSize } = this.#ends;
    Atomics.store(this.#words, Word.state, State.asked);
    port.postMessage({ source, first, count } satisfies PageRequest);
    Atomics.wait(this.#words, Word.state, State.asked);
    const bytes = new Uint8Array(memory, headBytes, this.#words[Word.length]);
    if (Atomics.load(this.#words, Word.state) === State.failed) {
      const [code, ...message] = new TextDecoder().decode(bytes.slice()).split('\n');
      throw new StorageError(code as StorageErrorCode, message.join(' '));
    }
    for (let i = 0; i < count; i++)
      this.#cache.set(`${source}/${String(first + i)}`, bytes.slice(i * pageSize, (i + 1) * pageSize));
    for (const key of this.#cache.keys()) {
      if (this.#cache.size <= this.#maxPages) break;
      this.#cache.delete(key);
    }
  }
}
