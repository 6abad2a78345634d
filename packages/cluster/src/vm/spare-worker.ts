// A worker that waits since before it was needed: loading and compiling what a guest runs on takes longer than resuming one.
import { Worker } from 'node:worker_threads';

const SPARE_AFTER_MS = 1500;

export class SpareWorker {
  #spare: Worker | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @param module what its guest will most likely run. */
  constructor(module: string | undefined) {
    this.#spare = newWorker(module);
  }

  /** The spare, whose place another takes. */
  take(module: string): Worker {
    const worker = this.#spare ?? newWorker(module);
    worker.removeAllListeners();
    this.#spare = undefined;
    // Later, so that the two don't compete while a guest is waited for.
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#spare = newWorker(module);
      // A spare that dies is no loss: the next start makes its own.
      this.#spare.on('error', () => (this.#spare = undefined));
    }, SPARE_AFTER_MS);
    return worker;
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#spare?.terminate();
  }
}

function newWorker(preload: string | undefined): Worker {
  return new Worker(new URL('./worker.ts', import.meta.url), { workerData: preload });
}
