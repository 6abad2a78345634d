/** A guest in a thread of its own, whose checkpoints this thread writes to a store: as a node of the cluster does it. */
import { MessageChannel, Worker } from 'node:worker_threads';
import {
  CheckpointWriter,
  FileStore,
  openCheckpoint,
  PagePool,
  pageChannelMemory,
  PageServer,
  raiseEpoch,
  type MachineSnapshot,
  type WrittenCheckpoint,
} from '@revenant/storage';
import { LazyRam } from '../../packages/cluster/src/vm/lazy-ram.ts';
import type { FromGuest, Phase, ToGuest } from './checkpoint-guest.ts';

/** What checkpoints cost at one interval under one load. */
export interface Cost {
  memoryMiB: number;
  load: string;
  intervalMs: number;
  pausesMs: number[];
  pages: number[];
  /** Bytes stored for each checkpoint: packs and manifest. */
  bytes: number[];
  /** Of all writes: pages' bytes, and how long they took. */
  rawBytes: number;
  writeMs: number;
  /** Instructions a ms of the thread's processor time, and of the wall clock, as part of those without checkpoints just before and after. */
  threadSpeeds: number[];
  wallSpeeds: number[];
}

export interface Restore {
  memoryMiB: number;
  /** From opening the checkpoint to the first instruction, and to the last page. */
  firstInstructionMs: number;
  residentMs: number;
  pages: number;
  atOnce: number;
}

const vm = 'bench';
const pageSize = 4096;

function newWorker(): Worker {
  return new Worker(new URL('./checkpoint-guest.ts', import.meta.url));
}

/** The next message of a kind. */
function next<T extends FromGuest['type']>(
  worker: Worker,
  type: T,
): Promise<Extract<FromGuest, { type: T }>> {
  return new Promise((resolve, reject) => {
    const heard = (message: FromGuest): void => {
      if (message.type !== type) return;
      worker.off('message', heard);
      worker.off('error', reject);
      resolve(message as Extract<FromGuest, { type: T }>);
    };
    worker.on('message', heard);
    worker.once('error', reject);
  });
}

export class GuestThread {
  readonly #memoryMiB: number;
  readonly #worker: Worker;
  readonly #store: FileStore;
  readonly #pool: PagePool;
  readonly #writer: CheckpointWriter;
  #cost: Cost | undefined;
  #writing: Promise<WrittenCheckpoint> | undefined;

  private constructor(parts: {
    memoryMiB: number;
    worker: Worker;
    store: FileStore;
    pool: PagePool;
    writer: CheckpointWriter;
  }) {
    this.#memoryMiB = parts.memoryMiB;
    this.#worker = parts.worker;
    this.#store = parts.store;
    this.#pool = parts.pool;
    this.#writer = parts.writer;
    this.#worker.on('message', (message: FromGuest) => {
      if (message.type === 'snapshot') this.#writing = this.#write(message.snapshot);
    });
  }

  static async boot(options: { image: string; memoryMiB: number; storePath: string }): Promise<GuestThread> {
    const { image, memoryMiB, storePath } = options;
    const store = await FileStore.open(storePath);
    const pool = new PagePool();
    const writer = await CheckpointWriter.open(store, await raiseEpoch(store, vm, { owner: 'bench' }), {
      pool,
    });
    const worker = newWorker();
    const guest = new GuestThread({ memoryMiB, worker, store, pool, writer });
    await guest.#ask({ type: 'boot', image, memoryBytes: memoryMiB * 2 ** 20 }, 'done');
    return guest;
  }

  #ask<T extends FromGuest['type']>(message: ToGuest, answer: T): Promise<Extract<FromGuest, { type: T }>> {
    const answered = next(this.#worker, answer);
    this.#worker.postMessage(message);
    return answered;
  }

  async command(line: string): Promise<void> {
    await this.#ask({ type: 'command', line }, 'done');
  }

  async phase(intervalMs: number | undefined, durationMs: number): Promise<Phase> {
    const { phase } = await this.#ask({ type: 'phase', intervalMs, durationMs }, 'phase');
    await this.#writing;
    return phase;
  }

  async #write(snapshot: MachineSnapshot): Promise<WrittenCheckpoint> {
    const began = performance.now();
    const written = await this.#writer.write(snapshot);
    if (this.#cost !== undefined) {
      this.#cost.bytes.push(written.counts.packBytes + written.manifestBytes);
      this.#cost.rawBytes += written.counts.rawBytes;
      this.#cost.writeMs += performance.now() - began;
    }
    const buffers = snapshot.spaces
      .map(({ bytes }) => bytes.buffer)
      .filter((buffer) => buffer instanceof SharedArrayBuffer);
    this.#worker.postMessage({ type: 'written', buffers } satisfies ToGuest);
    return written;
  }

  /** The whole machine, once: what later ones are the changes of. */
  async firstCheckpoint(): Promise<void> {
    await this.phase(1, 100);
  }

  newCost(load: string, intervalMs: number): Cost {
    return {
      memoryMiB: this.#memoryMiB,
      load,
      intervalMs,
      pausesMs: [],
      pages: [],
      bytes: [],
      rawBytes: 0,
      writeMs: 0,
      threadSpeeds: [],
      wallSpeeds: [],
    };
  }

  /** Takes checkpoints for a while; what they cost goes into `cost`, but for the speeds. */
  async measure(cost: Cost, durationMs: number): Promise<Phase> {
    // What changed while no checkpoints were taken belongs to none.
    await this.phase(1, 50);
    this.#cost = cost;
    const phase = await this.phase(cost.intervalMs, durationMs);
    this.#cost = undefined;
    cost.pausesMs.push(...phase.pausesMs);
    cost.pages.push(...phase.pages);
    return phase;
  }

  line({ memoryMiB, load, intervalMs, pausesMs, pages }: Cost): string {
    const longest = Math.max(...pausesMs, 0).toFixed(1);
    return `${String(memoryMiB)} MiB ${load} ${String(intervalMs)} ms: ${String(pages.length)} checkpoints, longest pause ${longest} ms`;
  }

  /** Goes on from the newest checkpoint in another thread, which waits since before, as a node's spare does. */
  async restore(): Promise<Restore> {
    const worker = newWorker();
    const prepared = next(worker, 'done');
    worker.postMessage({ type: 'prepare' } satisfies ToGuest);
    await prepared;
    const began = performance.now();
    const reader = await openCheckpoint(this.#store, vm, { pool: this.#pool });
    const lazy = await LazyRam.open(reader);
    if (lazy === undefined) throw new Error('the checkpoint has no RAM');
    const { port1, port2 } = new MessageChannel();
    const memory = pageChannelMemory(pageSize);
    const server = new PageServer({ port: port1, memory, sources: new Map([['ram', lazy]]) });
    const first = next(worker, 'first');
    const pages = { memory, port: port2, pageSize, sources: { ram: lazy.pageCount } };
    worker.postMessage(
      { type: 'restore', snapshot: lazy.snapshot, absent: lazy.absent, pages } satisfies ToGuest,
      [port2],
    );
    await first;
    const firstInstructionMs = performance.now() - began;
    await lazy.runBackground(async ({ indexes, bytes }) => {
      const delivered = next(worker, 'delivered');
      worker.postMessage({ type: 'deliver', indexes, bytes } satisfies ToGuest);
      lazy.touched((await delivered).touched);
    });
    const residentMs = performance.now() - began;
    await lazy.finish(this.#store, vm);
    server.close();
    await worker.terminate();
    const ram = lazy.snapshot.spaces.find(({ name }) => name === 'ram');
    const atOnce = ram?.indexes.length ?? 0;
    return {
      memoryMiB: this.#memoryMiB,
      firstInstructionMs,
      residentMs,
      pages: lazy.absent.length + atOnce,
      atOnce,
    };
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
    await this.#writer.close();
    await this.#pool.close();
    await this.#store.close();
  }
}

/** How fast the guest was in a phase with checkpoints, beside the phases without around it. */
export function addSpeeds(cost: Cost, phase: Phase, alone: readonly Phase[]): void {
  const total = (of: (each: Phase) => number): number => alone.reduce((sum, each) => sum + of(each), 0);
  const instructions = total((each) => each.instructions);
  const perThreadMs = instructions / total((each) => each.threadMs);
  const perMs = instructions / total((each) => each.elapsedMs);
  cost.threadSpeeds.push(phase.instructions / phase.threadMs / perThreadMs);
  cost.wallSpeeds.push(phase.instructions / phase.elapsedMs / perMs);
}
