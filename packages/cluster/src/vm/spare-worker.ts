// A worker that waits since before it was needed: loading and compiling what a guest runs on takes longer than resuming one.
import { Worker } from 'node:worker_threads';

const SPARE_AFTER_MS = 1500;

export class SpareWorker {
  #spare: Worker | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  /** @param module what its guest will most likely run. */
  constructor(module: string | undefined) {
    this.#keep(module);
  }

  /**
   * The spare, whose place another takes. Who takes it listens to it before its next turn of the event loop: an error that nobody hears
   * would end this process.
   */
  take(module: string): Worker {
    const worker = this.#spare ?? newWorker(module);
    worker.removeAllListeners();
    this.#spare = undefined;
    // Later, so that the two don't compete while a guest is waited for.
    if (!this.#closed)
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined;
        this.#keep(module);
      }, SPARE_AFTER_MS);
    return worker;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    const spare = this.#spare;
    this.#spare = undefined;
    await spare?.terminate();
  }

  /** A spare that can't be made or dies is no loss: the next start makes its own, and its failure is that guest's. */
  #keep(module: string | undefined): void {
    let worker: Worker;
    try {
      worker = newWorker(module);
    } catch {
      return;
    }
    const forget = (): void => {
      if (this.#spare === worker) this.#spare = undefined;
    };
    worker.on('error', forget);
    worker.on('exit', forget);
    this.#spare = worker;
  }
}

function newWorker(preload: string | undefined): Worker {
  return new Worker(new URL('./worker.ts', import.meta.url), { workerData: preload });
}
