/**
 * Keeps the working set of a VM in the store: the pages of RAM that its guest came by of late. Whoever takes the VM over brings these first, and the guest
 * waits for few. Advice only: what fails here is tried again.
 */
import { readWorkingSet, saveWorkingSet, type CheckpointKey, type ObjectStore } from '@revenant/storage';

/** Of 4 KiB: 8 MiB, for which whoever goes on waits. */
export const maxWorkingPages = 2048;
const firstMs = 5000;
const everyMs = 15_000;
/** The set is stored again when this share of what was used is new. */
const freshShare = 1 / 16;
const space = 'ram';

export interface WorkingPagesOptions {
  store: ObjectStore;
  vmId: string;
  key?: CheckpointKey | undefined;
  /** Pages that the guest came by since it was last asked. */
  ask: () => Promise<Uint32Array>;
}

/** What was used lately and before, then what only lately, then what only before. */
export function merged(lately: Uint32Array, before: Uint32Array): Uint32Array {
  const [late, early] = [new Set(lately), new Set(before)];
  const both = lately.filter((page) => early.has(page));
  const fresh = lately.filter((page) => !early.has(page));
  const left = before.filter((page) => !late.has(page));
  return Uint32Array.from([...both, ...fresh, ...left].slice(0, maxWorkingPages));
}

export class WorkingPages {
  readonly #options: WorkingPagesOptions;
  #stored: Uint32Array | undefined;
  #nextAt: number;
  #busy = false;

  constructor(options: WorkingPagesOptions, now: number) {
    this.#options = options;
    this.#nextAt = now + firstMs;
  }

  /** To be asked now and then; works in the background when it is time. */
  look(now: number): void {
    if (this.#busy || now < this.#nextAt) return;
    this.#nextAt = now + everyMs;
    this.#busy = true;
    void this.#work()
      .catch(() => undefined)
      .finally(() => (this.#busy = false));
  }

  async #work(): Promise<void> {
    const { store, vmId, key, ask } = this.#options;
    const lately = await ask();
    const before = (this.#stored ??= (await readWorkingSet(store, vmId, key))[space] ?? new Uint32Array(0));
    const known = new Set(before);
    const fresh = lately.filter((page) => !known.has(page)).length;
    if (fresh === 0 || fresh < lately.length * freshShare) return;
    const set = merged(lately, before);
    await saveWorkingSet(store, vmId, { [space]: set }, { key });
    this.#stored = set;
  }
}
