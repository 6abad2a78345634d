/**
 * Workers that wait since before they were needed: loading and compiling what a guest runs on takes longer than resuming one. A node that
 * runs many VMs keeps more of them, as it will be given as many of another's when that one dies.
 */
import { Worker } from 'node:worker_threads';
import { loadEngineModules } from '@revenant/emulator/host-node';
import { freeShare } from '../node/memory.ts';
import { threadFile } from './thread-files.ts';
import { maxHeapMiB } from './thread-memory.ts';
import { owned } from '../owned.ts';

/** Spares are made again only when none was taken for so long: their making would compete with guests that somebody waits for. */
const spareAfterMs = 1500;
/** Each takes some 35 MB, which a guest's thread takes anyhow: of a cluster of three each gets half of what one that dies has run. */
const maxSpares = 12;
const vmsPerSpare = 2;
/** A host with less of its memory free keeps one only. */
const minFreeShare = 0.1;

export interface SpareOptions {
  /** What its guest will most likely run. */
  module: string | undefined;
  /** How many VMs run here. */
  vms: () => number;
  /** Whether somebody waits for a guest that is being made. */
  isAwaited?: () => boolean;
  /** Whether the host has little memory left. */
  isShort?: () => boolean;
}

export class SpareWorkers {
  readonly #options: Required<SpareOptions>;
  readonly #spares: Worker[] = [];
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: SpareOptions) {
    this.#options = {
      isAwaited: () => false,
      isShort: () => freeShare() < minFreeShare,
      ...options,
    };
    this.#fill();
  }

  /** How many spares wait now. */
  get count(): number {
    return this.#spares.length;
  }

  /**
   * A spare, whose place another takes later. Who takes it listens to it before its next turn of the event loop: an error that nobody hears
   * would end this process.
   */
  take(module: string): Worker {
    const worker = this.#spares.shift() ?? newWorker(module);
    worker.removeAllListeners();
    this.#fillLater();
    return worker;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await Promise.all(this.#spares.splice(0).map((spare) => spare.terminate()));
  }

  #fillLater(): void {
    clearTimeout(this.#timer);
    if (this.#closed) return;
    this.#timer = setTimeout(
      owned(
        () => this.#fill(),
        () => undefined,
      ),
      spareAfterMs,
    );
  }

  /** Makes spares, one at a time. If one can't be made or dies, nothing is lost: the next start makes a thread of its own and meets the failure itself. */
  #fill(): void {
    const { module, vms, isAwaited, isShort } = this.#options;
    const wanted = isShort() ? 1 : Math.min(maxSpares, 1 + Math.floor(vms() / vmsPerSpare));
    if (this.#spares.length >= wanted) return;
    if (isAwaited()) return this.#fillLater();
    let worker: Worker;
    try {
      worker = newWorker(module);
    } catch {
      return;
    }
    const forget = (): void => {
      const at = this.#spares.indexOf(worker);
      if (at >= 0) this.#spares.splice(at, 1);
    };
    worker.on('error', forget);
    worker.on('exit', forget);
    this.#spares.push(worker);
    this.#fillLater();
  }
}

function newWorker(preload: string | undefined): Worker {
  // Once for all of this node's guests: V8 compiles the processor anew in each thread that does not get it from here.
  loadEngineModules();
  const worker = new URL('./worker.ts', import.meta.url);
  return new Worker(new URL(threadFile(worker.href)), {
    workerData: preload,
    resourceLimits: { maxOldGenerationSizeMb: maxHeapMiB },
  });
}
