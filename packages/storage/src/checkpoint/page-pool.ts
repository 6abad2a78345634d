/**
 * Hashing and compression off the caller's thread. Bounded: at most `maxInFlightBytes` of pages wait or are worked on;
 * callers wait for room. Without threads the same work is done at once on the caller's thread (simulation, small tools).
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { insist } from '../insist.ts';
import { decodePages, encodePages, isWhole, type EncodedPages, type StoredPages } from './page-codec.ts';

export interface PagePoolOptions {
  /** Threads; 0 works on the caller's thread. Default: one less than the processors, at most 4, at least 1. */
  threads?: number;
  /** Bytes of pages under way. Default 16 MiB. */
  maxInFlightBytes?: number;
}

interface Waiting {
  bytes: number;
  start: () => void;
}

interface Job {
  resolve: (result: unknown) => void;
  reject: (error: Error) => void;
}

class Thread {
  readonly worker: Worker;
  readonly jobs = new Map<number, Job>();

  constructor(failed: (thread: Thread) => void) {
    this.worker = new Worker(new URL('./page-worker.ts', import.meta.url));
    this.worker.unref();
    this.worker.on('message', (reply: { id: number; result?: unknown; error?: string }) => {
      const job = this.jobs.get(reply.id);
      this.jobs.delete(reply.id);
      // Only a thread with work keeps the process alive.
      if (this.jobs.size === 0) this.worker.unref();
      if (reply.error === undefined) job?.resolve(reply.result);
      else job?.reject(new Error(reply.error));
    });
    const fail = (error: Error): void => {
      failed(this);
      for (const job of this.jobs.values()) job.reject(error);
      this.jobs.clear();
    };
    this.worker.on('error', fail);
    this.worker.on('exit', () => {
      fail(new Error('the compression thread ended'));
    });
  }
}

export class PagePool {
  readonly #threadCount: number;
  readonly #maxInFlight: number;
  readonly #threads: Thread[] = [];
  readonly #waiting: Waiting[] = [];
  #inFlight = 0;
  #next = 0;

  constructor(options: PagePoolOptions = {}) {
    this.#threadCount = options.threads ?? Math.max(1, Math.min(4, availableParallelism() - 1));
    this.#maxInFlight = options.maxInFlightBytes ?? 16 << 20;
  }

  /** Hashes and compresses whole pages. The bytes may be reused once the promise settled. */
  async encode(bytes: Uint8Array, pageSize: number): Promise<EncodedPages> {
    if (this.#threadCount === 0) return encodePages(bytes, pageSize);
    // A view would be sent with all the memory behind it: send a copy of just these pages, or the view when it is shared.
    const shared = bytes.buffer instanceof SharedArrayBuffer;
    const sent = shared ? bytes : new Uint8Array(bytes);
    const moved = shared ? [] : [sent.buffer as ArrayBuffer];
    const [length, job] = [bytes.length, { kind: 'encode', bytes: sent, pageSize }];
    const encoded = (await this.#run(job, length, moved)) as EncodedPages;
    // A page that is missing here would be a page of zeros in the checkpoint.
    insist(isWhole(encoded, length / pageSize, pageSize), 'a thread gave back other pages than it was given');
    return encoded;
  }

  /** Decodes and verifies stored pages. */
  async decode(stored: StoredPages): Promise<{ bytes: Uint8Array; bad: number[] }> {
    // A few pages cost less than the way to another thread.
    if (this.#threadCount === 0 || stored.lengths.length <= 8) return decodePages(stored);
    const size = stored.lengths.length * stored.pageSize;
    const data = new Uint8Array(stored.data);
    const decoded = (await this.#run({ kind: 'decode', ...stored, data }, size, [data.buffer])) as {
      bytes: Uint8Array;
      bad: number[];
    };
    insist(decoded.bytes.length === size, 'a thread gave back other pages than it was given');
    return decoded;
  }

  /** Ends the threads. Work under way fails. */
  async close(): Promise<void> {
    await Promise.all(this.#threads.splice(0).map((thread) => thread.worker.terminate()));
  }

  async #run(job: object, bytes: number, moved: ArrayBuffer[]): Promise<unknown> {
    await this.#admit(bytes);
    try {
      return await this.#post(job, moved);
    } finally {
      this.#inFlight -= bytes;
      while (this.#waiting.length > 0 && this.#fits(this.#waiting[0]!.bytes)) {
        const next = this.#waiting.shift()!;
        this.#inFlight += next.bytes;
        next.start();
      }
    }
  }

  #fits(bytes: number): boolean {
    return this.#inFlight === 0 || this.#inFlight + bytes <= this.#maxInFlight;
  }

  async #admit(bytes: number): Promise<void> {
    if (this.#waiting.length === 0 && this.#fits(bytes)) {
      this.#inFlight += bytes;
      return;
    }
    await new Promise<void>((start) => this.#waiting.push({ bytes, start }));
  }

  #post(job: object, moved: ArrayBuffer[]): Promise<unknown> {
    const thread = this.#idlest();
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      thread.jobs.set(id, { resolve, reject });
      thread.worker.ref();
      thread.worker.postMessage({ id, ...job }, moved);
    });
  }

  #idlest(): Thread {
    const idle = this.#threads.find((thread) => thread.jobs.size === 0);
    if (idle !== undefined) return idle;
    if (this.#threads.length < this.#threadCount) {
      const made = new Thread((failed) => {
        const at = this.#threads.indexOf(failed);
        if (at >= 0) this.#threads.splice(at, 1);
      });
      this.#threads.push(made);
      return made;
    }
    return this.#threads.reduce((a, b) => (b.jobs.size < a.jobs.size ? b : a));
  }
}
