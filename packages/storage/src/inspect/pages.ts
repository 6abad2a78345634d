/** The data of a page map: per page, what it is compared with the checkpoint before. */
import { packBase, packZero } from '../checkpoint/page-map.ts';
import type { CheckpointReader } from '../checkpoint/reader.ts';

export const pageZero = 0;
/** As in the checkpoint compared with. */
export const pageUnchanged = 1;
/** Changed since. */
export const pageChanged = 2;
/** The same contents as another page of the space, or as the base image. */
export const pageShared = 3;

export interface PageKinds {
  space: string;
  pageSize: number;
  /** One of the PAGE_ constants per page. */
  kinds: Uint8Array;
  /** How many of each kind, by constant. */
  totals: [zero: number, unchanged: number, changed: number, shared: number];
}

/**
 * Classifies the pages of a space. Zero comes before changed, changed before shared.
 * @param before the checkpoint to compare with; without it every page counts as changed unless it is shared.
 */
export async function classifyPages(
  reader: CheckpointReader,
  space: string,
  before?: CheckpointReader,
): Promise<PageKinds> {
  const source = reader.source(space);
  const { pageSize, pageCount } = source.map.space;
  const old = before?.spaces.some(({ name }) => name === space) === true ? before.source(space) : undefined;
  const hashes: (string | undefined)[] = [];
  const seen = new Map<string, number>();
  for (let page = 0; page < pageCount; page++) {
    const hash = text(await source.hashOf(page));
    hashes.push(hash);
    if (hash !== undefined) seen.set(hash, (seen.get(hash) ?? 0) + 1);
  }
  const kinds = new Uint8Array(pageCount);
  const totals: PageKinds['totals'] = [0, 0, 0, 0];
  for (let page = 0; page < pageCount; page++) {
    const hash = hashes[page];
    const shared = hash !== undefined && ((seen.get(hash) ?? 0) > 1 || source.isBase(page));
    const changed = old === undefined ? !shared : text(await old.hashOf(page)) !== hash;
    const kind = hash === undefined ? pageZero : changed ? pageChanged : shared ? pageShared : pageUnchanged;
    kinds[page] = kind;
    totals[kind]++;
  }
  return { space, pageSize, kinds, totals };
}

/** As in the checkpoint compared with it was not zero, and is now. Of `placePages` only. */
export const pageCleared = 4;

/**
 * Classifies the pages of a space by where they are stored: reads no hash and no page, so it takes milliseconds for gigabytes. Shared are pages
 * of the base image only.
 * @param before a checkpoint of the same VM to compare with; without it nothing counts as changed
 */
export function placePages(reader: CheckpointReader, space: string, before?: CheckpointReader): Uint8Array {
  const { packs } = reader.source(space).map;
  const kinds = new Uint8Array(packs.length);
  for (let page = 0; page < packs.length; page++) {
    const pack = packs[page]!;
    kinds[page] = pack === packZero ? pageZero : pack === packBase ? pageShared : pageUnchanged;
  }
  if (before?.spaces.some(({ name }) => name === space) === true)
    for (const page of reader.changed(space, before))
      kinds[page] = kinds[page] === pageZero ? pageCleared : pageChanged;
  return kinds;
}

function text(hash: Uint8Array | undefined): string | undefined {
  return hash && Buffer.from(hash).toString('latin1');
}
