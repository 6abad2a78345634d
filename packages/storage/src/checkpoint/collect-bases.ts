/**
 * Collects base images that nothing refers to, and packs of imports that were cut off (docs/CHECKPOINT_FORMAT.md, "Base images"). Safe beside
 * imports, whoever begins to refer to an image (`keepBaseImage`), other collectors, and when any of them ends at any moment:
 *
 *  1. An image goes when one and the same manifest stood for `graceMs`, by the clock of the process that looks, and then nothing refers to it:
 *     neither what the caller knows of nor any checkpoint of any VM. Its manifest is swapped for the mark `gone`; only then its packs
 *     are deleted. Who began to refer to it in time has swapped the manifest before.
 *  2. Packs that no manifest names go when nothing came to their import for `graceMs`. The mark is put anew first, so that their importer, should
 *     it still be there, can't publish them. Names of packs never come again, so a deletion that was held up hits nothing new.
 */
import type { CheckpointKey } from '../encryption.ts';
import { isStorageError } from '../errors.ts';
import { systemHost, type StorageHost } from '../host.ts';
import { listAll, type ObjectStore } from '../store/object-store.ts';
import { putGone, readBaseState, type BaseState } from './base-manifest.ts';
import { listManifests } from './find.ts';
import { basesPrefix, vmsPrefix } from './keys.ts';
import { readManifestHead } from './manifest.ts';

const baseKey = /^bases\/([^/]+)\/(?:manifest|packs\/[^/-]+-([^/]+))$/;

export interface BaseCollectorOptions {
  store: ObjectStore;
  key?: CheckpointKey | undefined;
  host?: StorageHost;
  /** A monotonic clock. */
  nowMs: () => number;
  graceMs: number;
}

export interface BaseReport {
  /** Images, and imports that were cut off, that are gone. */
  removed: number;
  bytes: number;
}

interface Packs {
  keys: string[];
  bytes: number;
}

interface Sight {
  what: string;
  sinceMs: number;
}

export class BaseCollector {
  readonly #options: BaseCollectorOptions;
  readonly #host: StorageHost;
  /** Manifests and imports as they were first seen, by this process. */
  #sights = new Map<string, Sight>();

  constructor(options: BaseCollectorOptions) {
    this.#options = options;
    this.#host = options.host ?? systemHost;
  }

  /**
   * One round. What was begun is gone on with by the next.
   * @param referredTo names that something refers to beside checkpoints; asked again before anything goes.
   * @throws StoreError; StorageError when a checkpoint can't be read: what it lies on is not known then, and no image goes.
   */
  async collect(referredTo: () => Promise<ReadonlySet<string>>): Promise<BaseReport> {
    const { store } = this.#options;
    const report: BaseReport = { removed: 0, bytes: 0 };
    const images = await this.#list();
    const wanted = await referredTo();
    const before = this.#sights;
    this.#sights = new Map();
    for (const [name, imports] of images) {
      if (wanted.has(name) && imports.size < 2) continue;
      const found = await this.#read(name);
      // Its manifest can't be read, so nobody can say which packs belong to it.
      if (found === undefined) continue;
      const live = found.state === 'there' ? importOf(found.manifest.packs[0]?.name ?? '') : undefined;
      const stale: Packs[] = [];
      for (const [nonce, packs] of imports)
        if (nonce !== live && this.#isOld(before, `${name}/${nonce}`, String(packs.keys.length)))
          stale.push(packs);
      if (
        stale.length > 0 &&
        (found.state === 'there' || (await putGone(store, name, found.version, this.#host)))
      )
        for (const packs of stale) await this.#delete(packs, report);
      if (found.state !== 'there' || wanted.has(name) || !this.#isOld(before, name, found.version)) continue;
      if ((await this.#allReferredTo(referredTo)).has(name)) continue;
      if (await putGone(store, name, found.version, this.#host))
        await this.#delete(imports.get(live ?? '') ?? { keys: [], bytes: 0 }, report);
    }
    return report;
  }

  /** Undefined for one that is damaged, or sealed with another key. */
  async #read(name: string): Promise<BaseState | undefined> {
    try {
      return await readBaseState(this.#options.store, name, this.#options.key);
    } catch (error) {
      if (isStorageError(error)) return undefined;
      throw error;
    }
  }

  /** By image, its packs by the import that wrote them. */
  async #list(): Promise<Map<string, Map<string, Packs>>> {
    const images = new Map<string, Map<string, Packs>>();
    for await (const { key, sizeBytes } of listAll(this.#options.store, basesPrefix)) {
      const [, name, nonce] = baseKey.exec(key) ?? [];
      if (name === undefined) continue;
      const imports = images.get(name) ?? new Map<string, Packs>();
      images.set(name, imports);
      if (nonce === undefined) continue;
      const packs = imports.get(nonce) ?? { keys: [], bytes: 0 };
      packs.keys.push(key);
      packs.bytes += sizeBytes;
      imports.set(nonce, packs);
    }
    return images;
  }

  #isOld(before: ReadonlyMap<string, Sight>, which: string, what: string): boolean {
    const { nowMs, graceMs } = this.#options;
    const known = before.get(which);
    const sight = known?.what === what ? known : { what, sinceMs: nowMs() };
    this.#sights.set(which, sight);
    return nowMs() - sight.sinceMs >= graceMs;
  }

  async #allReferredTo(referredTo: () => Promise<ReadonlySet<string>>): Promise<Set<string>> {
    const { store, key } = this.#options;
    // Checkpoints first: one that is made meanwhile is of a VM that the caller knows of.
    const names = await basesOfCheckpoints(store, key);
    for (const name of await referredTo()) names.add(name);
    return names;
  }

  async #delete({ keys, bytes }: Packs, report: BaseReport): Promise<void> {
    await this.#options.store.delete(keys);
    report.removed++;
    report.bytes += bytes;
  }
}

/** Which import of an image wrote a pack. */
function importOf(pack: string): string {
  return pack.slice(pack.indexOf('-') + 1);
}

/** Names of all base images that any checkpoint of any VM lies on. */
async function basesOfCheckpoints(store: ObjectStore, key: CheckpointKey | undefined): Promise<Set<string>> {
  const names = new Set<string>();
  for (const vmId of await vmsOf(store))
    for (const id of await listManifests(store, vmId)) {
      // A pack that is gone was collected meanwhile.
      const head = await readManifestHead(store, vmId, id, key);
      for (const { base } of head?.spaces ?? []) if (base !== undefined) names.add(base);
    }
  return names;
}

async function vmsOf(store: ObjectStore): Promise<string[]> {
  const vms: string[] = [];
  for (let after = vmsPrefix; ;) {
    const [first] = (await store.list(vmsPrefix, { after, limit: 1 })).objects;
    if (first === undefined) return vms;
    const vmId = first.key.slice(vmsPrefix.length).split('/')[0]!;
    vms.push(vmId);
    // Behind everything of this VM: no part of a key has a character above `~`.
    after = `${vmsPrefix}${vmId}/~`;
  }
}
