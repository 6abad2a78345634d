/**
 * Which packs to empty. A checkpoint a second makes packs of a few pages, and of an old pack few pages stay in use: a
 * restore would fetch thousands of objects. With each full page map, some of these pages are written together anew.
 */
import { firstPack, type PageMap } from './page-map.ts';
import type { PackRef } from './pack.ts';

/** Smaller packs are worth merging. */
const smallBytes = 512 << 10;
/** Packs of which less than this share of the pages is used are worth emptying. */
const sparseShare = 0.25;
/** Below this many candidates there is little to gain. */
const minPacks = 8;
/** Pages moved at one time, in bytes. */
const maxMovedBytes = 16 << 20;

/** Numbers of the packs to empty, the least used first; none when it is not worth it. `refs`: only these may be. */
export function choosePacks(maps: readonly PageMap[], refs: ReadonlyMap<number, PackRef>): Set<number> {
  const used = new Map<number, number>();
  for (const map of maps)
    for (const pack of map.packs) if (pack >= firstPack) used.set(pack, (used.get(pack) ?? 0) + 1);
  const candidates = [...used]
    .map(([number, pages]) => ({ number, pages, ref: refs.get(number) }))
    .filter(
      ({ pages, ref }) =>
        // Pages that a fork shares with other VMs stay where they are.
        ref !== undefined &&
        ref.vm === undefined &&
        (ref.bytes < smallBytes || pages < sparseShare * ref.pages),
    )
    .sort((a, b) => a.pages - b.pages);
  const chosen = new Set<number>();
  let bytes = 0;
  for (const { number, pages, ref } of candidates) {
    bytes += pages * ref!.pageSize;
    if (bytes > maxMovedBytes) break;
    chosen.add(number);
  }
  return chosen.size < minPacks ? new Set() : chosen;
}

/** The pages of a map that are in these packs, ascending. */
export function pagesIn(map: PageMap, packs: ReadonlySet<number>): Uint32Array {
  const pages: number[] = [];
  for (let page = 0; page < map.packs.length; page++) if (packs.has(map.packs[page]!)) pages.push(page);
  return Uint32Array.from(pages);
}
