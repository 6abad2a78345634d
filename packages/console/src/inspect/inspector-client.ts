/**
 * The page's side of the worker that looks into checkpoints. It is started at once: the node that has its script may be gone when the first
 * question is asked.
 */
import type { FromInspector, QuestionKind, Questions, ToInspector } from './messages.ts';

type Progress = (done: number, of: number) => void;

interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
  progress: Progress;
}

export class InspectorClient {
  readonly #read: (path: string) => Promise<Uint8Array<ArrayBuffer>>;
  #worker: Worker | undefined;
  readonly #waiting = new Map<number, Waiting>();
  #questions = 0;

  /** @param read gives what a node has at a path */
  constructor(read: (path: string) => Promise<Uint8Array<ArrayBuffer>>) {
    this.#read = read;
    this.#started();
  }

  /** Rejects with an Error in words for people. */
  ask<K extends QuestionKind>(
    kind: K,
    about: Questions[K]['with'],
    progress: Progress = () => undefined,
  ): Promise<Questions[K]['answer']> {
    const id = ++this.#questions;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as (value: unknown) => void, reject, progress });
      this.#started().postMessage({ id, kind, about } as ToInspector);
    });
  }

  close(): void {
    this.#worker?.terminate();
  }

  async #answer(worker: Worker, { read, path }: { read: number; path: string }): Promise<void> {
    try {
      const bytes = await this.#read(path);
      worker.postMessage({ read, bytes } satisfies ToInspector, [bytes.buffer]);
    } catch (error) {
      const words = error instanceof Error ? error.message : String(error);
      worker.postMessage({ read, error: words } satisfies ToInspector);
    }
  }

  #started(): Worker {
    if (this.#worker !== undefined) return this.#worker;
    const worker = new Worker(new URL('./inspect-worker.ts', import.meta.url), { type: 'module' });
    this.#worker = worker;
    worker.addEventListener('message', ({ data }: MessageEvent<FromInspector>) => {
      if ('read' in data) return void this.#answer(worker, data);
      const waiting = this.#waiting.get(data.id);
      if ('done' in data) return waiting?.progress(data.done, data.of);
      this.#waiting.delete(data.id);
      if ('error' in data) waiting?.reject(new Error(data.error));
      else waiting?.resolve(data.answer);
    });
    worker.addEventListener('error', (event) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(event.message || 'its worker ended'));
      this.#waiting.clear();
      this.#worker = undefined;
    });
    return worker;
  }
}
