/**
 * Checkpoints that somebody looks into through this node: opened once, kept for a minute after the last question, a few at most. Meanwhile
 * the collectors leave them alone.
 */
import {
  formatId,
  isStorageError,
  openCheckpoint,
  PagePool,
  parseId,
  type CheckpointKey,
  type CheckpointReader,
  type Hold,
  type ObjectStore,
} from '@revenant/storage';
import { ClusterError, messageOf } from '../errors.ts';
import { owned } from '../owned.ts';

const maxOpen = 8;
const idleMs = 60_000;
/** Decoded pages that each keeps. */
const cacheBytes = 8 << 20;

interface Open {
  reader: CheckpointReader;
  hold: Hold | undefined;
  timer: NodeJS.Timeout;
}

export class OpenCheckpoints {
  readonly #store: ObjectStore;
  readonly #key: CheckpointKey | undefined;
  #pool: PagePool | undefined;
  readonly #open = new Map<string, Open>();

  constructor(store: ObjectStore, key: CheckpointKey | undefined) {
    this.#store = store;
    this.#key = key;
  }

  /**
   * @param which `EPOCH-SEQUENCE`, or `latest`
   * @throws ClusterError `NOT_FOUND` when there is none, `CONFLICT` when it is damaged
   */
  async get(vmId: string, which: string): Promise<CheckpointReader> {
    const known = this.#open.get(`${vmId}@${which}`);
    if (known !== undefined) {
      known.timer.refresh();
      return known.reader;
    }
    this.#pool ??= new PagePool();
    const options = { key: this.#key, pool: this.#pool, cacheBytes: cacheBytes };
    const named = which === 'latest' ? {} : { id: parseId(which) };
    let reader: CheckpointReader;
    let hold: Hold | undefined;
    try {
      reader = await openCheckpoint(this.#store, vmId, { ...options, ...named });
      hold = await reader.hold('open at a page');
    } catch (error) {
      throw refusal(error);
    }
    this.#keep(`${vmId}@${formatId(reader.id)}`, reader, hold);
    return reader;
  }

  async close(): Promise<void> {
    for (const name of [...this.#open.keys()]) this.#forget(name);
    await this.#pool?.close();
  }

  #keep(name: string, reader: CheckpointReader, hold: Hold | undefined): void {
    this.#forget(name);
    for (const oldest of this.#open.keys()) {
      if (this.#open.size < maxOpen) break;
      this.#forget(oldest);
    }
    const timer = setTimeout(
      owned(
        () => this.#forget(name),
        () => this.#open.delete(name),
      ),
      idleMs,
    );
    timer.unref();
    this.#open.set(name, { reader, hold, timer });
  }

  /** Readers share the pool and hold nothing else that has to be closed. */
  #forget(name: string): void {
    const open = this.#open.get(name);
    clearTimeout(open?.timer);
    this.#open.delete(name);
    // A hold that can't be given back ends by itself.
    void open?.hold?.release().catch(() => undefined);
  }
}

function refusal(error: unknown): unknown {
  if (!isStorageError(error)) return error;
  const code = error.code === 'CHECKPOINT_NOT_FOUND' ? 'NOT_FOUND' : 'CONFLICT';
  return new ClusterError(code, messageOf(error), {
    cause: error,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
  });
}
