/**
 * Keeps a VM's place in the store small: the node that runs it removes, now and then, the checkpoints that the retention policy does not
 * keep. While pages of the resume point are still missing, that is pinned in the owner record; it is let go when the last one is in.
 */
import {
  collectGarbage,
  defaultRetention,
  isStorageError,
  isStoreError,
  readOwner,
  unpinResumePoint,
  type CheckpointKey,
  type KnownManifest,
  type ObjectStore,
  type Ownership,
  type RetentionPolicy,
} from '@revenant/storage';
import type { LogEntry } from '../decisions/types.ts';

const collectMs = 60_000;
const firstPart = 20;
/** The least time between two collections for a store that stays full. */
const hurryMs = 5000;

export interface HousekeepingOptions {
  store: ObjectStore;
  ownership: Ownership;
  key: CheckpointKey | undefined;
  policy: RetentionPolicy;
  /** Between two collections. */
  everyMs: number;
  log: (entry: LogEntry) => void;
  /** Something was removed. */
  onRemoved: () => void;
}

export class Housekeeping {
  /** What was removed so far. */
  readonly removed = { checkpoints: 0, bytes: 0 };
  readonly #options: HousekeepingOptions;
  readonly #remembered = new Map<string, KnownManifest>();
  #pinned: boolean;
  #resident = false;
  #nextAt: number;
  #beganAt = -Infinity;
  #busy = false;
  #failing = false;

  constructor(options: HousekeepingOptions, now: number) {
    this.#options = options;
    this.#pinned = options.ownership.resumeFrom !== null;
    // Sooner at first: a VM that is moved often would never be looked after.
    this.#nextAt = now + options.everyMs / firstPart;
  }

  /** Every page of the resume point is in the machine. */
  resident(): void {
    this.#resident = true;
  }

  /** The store is full: what may go is to go at once. */
  hurry(now: number): void {
    this.#nextAt = Math.min(this.#nextAt, Math.max(now, this.#beganAt + hurryMs));
  }

  /** To be asked now and then; works in the background when it is time. */
  look(now: number): void {
    if (this.#busy || now < this.#nextAt) return;
    this.#nextAt = now + this.#options.everyMs;
    this.#beganAt = now;
    this.#busy = true;
    void this.#work().finally(() => (this.#busy = false));
  }

  async #work(): Promise<void> {
    const { store, ownership, key, policy } = this.#options;
    try {
      if (this.#pinned && this.#resident) {
        await unpinResumePoint(store, ownership);
        this.#pinned = false;
      }
      const { vmId } = ownership;
      const report = await collectGarbage(store, vmId, { policy, key, remembered: this.#remembered });
      this.removed.checkpoints += report.removed.length;
      this.removed.bytes += report.removedBytes;
      if (report.removed.length > 0 || report.removedSegments > 0) this.#options.onRemoved();
      this.#failing = false;
    } catch (error) {
      // Nothing depends on it: the next round tries again. An owner that was fenced learns so from its next checkpoint.
      if (!isStoreError(error) && !isStorageError(error)) throw error;
      if (!this.#failing && !isStorageError(error, 'FENCED')) this.#tell(error.message);
      this.#failing = true;
    }
  }

  #tell(reason: string): void {
    this.#options.log({ event: 'checkpoints-not-collected', vm: this.#options.ownership.vmId, reason });
  }
}

/** The housekeeping of a VM that starts on this node. */
export function housekeepingFor(
  host: {
    node: string;
    store: ObjectStore;
    log: (entry: LogEntry) => void;
    key?: CheckpointKey | undefined;
    retention?: RetentionPolicy | undefined;
    collectMs?: number;
  },
  ownership: Ownership,
  now: number,
  onRemoved: () => void,
): Housekeeping {
  const { node, store, key, retention: policy = defaultRetention, collectMs: everyMs = collectMs } = host;
  const log = (entry: LogEntry): void => host.log({ node, ...entry });
  return new Housekeeping({ store, ownership, key, policy, everyMs, log, onRemoved }, now);
}

/** After a VM was deleted: its objects go, but for its tombstone. What remains of a failure goes with `revenant checkpoint gc`. */
export async function removeDeleted(
  store: ObjectStore,
  vmId: string,
  key: CheckpointKey | undefined,
): Promise<void> {
  try {
    const { parents = [] } = await collectGarbage(store, vmId, { key });
    // A parent that was deleted earlier kept what this VM, its fork, began with.
    for (const parent of parents)
      if ((await readOwner(store, parent))?.record.state === 'deleted') await collectGarbage(store, parent);
  } catch (error) {
    if (!isStoreError(error) && !isStorageError(error)) throw error;
  }
}
