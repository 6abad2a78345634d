/** A checkpoint's manifests from the last full one on, and the page maps they add up to. */
import type { CheckpointKey } from '../encryption.ts';
import { StorageError } from '../errors.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { formatId, manifestKey, type CheckpointId } from './keys.ts';
import { readManifest, type Manifest } from './manifest.ts';
import { applyRuns, firstPack, PageMap } from './page-map.ts';
import type { PackRef } from './pack.ts';

/** No chain that we write is longer; longer ones are refused. */
export const maxChain = 1024;
/** How many bytes the page maps and pack tables of one chain may take. A disk of a terabyte, its pages in the worst order, needs less. */
const maxChainBytes = 2 ** 32;
/** About what one entry of a pack table takes. */
const packRefBytes = 256;
/** Manifests asked for at the same time. */
const maxReadAhead = 32;

/** The manifests that a checkpoint needs, the full one first. Throws `CHECKPOINT_NOT_FOUND`, `CHECKPOINT_DAMAGED`, … */
export async function loadChain(
  store: ObjectStore,
  vmId: string,
  id: CheckpointId,
  key: CheckpointKey | undefined,
): Promise<Manifest[]> {
  const chain: Manifest[] = [];
  const ahead = new Map<string, Promise<Manifest | undefined>>();
  let next: CheckpointId | null = id;
  let bytes = 0;
  while (next !== null) {
    const at: CheckpointId = next;
    const manifest = await (ahead.get(formatId(at)) ?? readManifest(store, vmId, at, key));
    if (manifest === undefined)
      throw chain.length === 0
        ? new StorageError('CHECKPOINT_NOT_FOUND', `${vmId}: there is no checkpoint ${formatId(at)}`)
        : new StorageError(
            'CHECKPOINT_DAMAGED',
            `${manifestKey(vmId, id)}: it needs checkpoint ${formatId(at)}, which is missing`,
          );
    chain.unshift(manifest);
    bytes += manifest.body.runs.reduce(
      (sum, runs) => sum + runs.length,
      manifest.body.packs.length * packRefBytes,
    );
    if (bytes > maxChainBytes)
      throw new StorageError('CHECKPOINT_DAMAGED', `${manifestKey(vmId, id)}: its chain is too large`);
    if (manifest.head.map === 'full') return chain;
    next = manifest.head.parent;
    if (chain.length >= maxChain) break;
    // Most often the parents are the sequences before: ask for all of them at once rather than one after another.
    if (next !== null && !ahead.has(formatId(next)))
      readAhead(store, vmId, next, manifest.head.chainLength - 1, key, ahead);
  }
  throw new StorageError('CHECKPOINT_DAMAGED', `${manifestKey(vmId, id)}: its chain has no full page map`);
}

function readAhead(
  store: ObjectStore,
  vmId: string,
  from: CheckpointId,
  count: number,
  key: CheckpointKey | undefined,
  ahead: Map<string, Promise<Manifest | undefined>>,
): void {
  for (let k = 0; k < Math.min(count, maxReadAhead) && from.sequence - k > 0; k++) {
    const id = { epoch: from.epoch, sequence: from.sequence - k };
    const reading = readManifest(store, vmId, id, key);
    // Manifests that turn out not to be needed may fail to load: nobody waits for them.
    reading.catch(() => undefined);
    ahead.set(formatId(id), reading);
  }
}

/** Page maps by space, and the packs they name (index 0 and 1 are unused: see page-map.ts). */
export interface PageMaps {
  maps: PageMap[];
  /** Pack number in the maps → pack. */
  packs: Map<number, PackRef>;
}

/** Adds up the maps of a chain. Throws `CHECKPOINT_DAMAGED` when they do not fit together. */
export function buildMaps(chain: readonly Manifest[]): PageMaps {
  const numbers = new Map<string, number>();
  const packs = new Map<number, PackRef>();
  let maps = new Map<string, PageMap>();
  for (const { head, body } of chain) {
    const own = body.packs.map((pack) => {
      const number = numbers.get(pack.name) ?? numbers.size + firstPack;
      numbers.set(pack.name, number);
      packs.set(number, pack);
      return number;
    });
    const now = new Map<string, PageMap>();
    for (const [i, space] of head.spaces.entries()) {
      const before = head.map === 'full' ? undefined : maps.get(space.name);
      const continues =
        before?.space.pageCount === space.pageCount && before.space.pageSize === space.pageSize;
      const map = continues ? before : new PageMap(space);
      try {
        applyRuns(map, body.runs[i]!, (number) => own[number - firstPack]);
      } catch (cause) {
        const name = manifestKey(head.vmId, head.id);
        throw new StorageError('CHECKPOINT_DAMAGED', `${name}: its page map is inconsistent`, { cause });
      }
      now.set(space.name, map);
    }
    maps = now;
  }
  return { maps: [...maps.values()], packs };
}
