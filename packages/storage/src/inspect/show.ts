/** What one checkpoint is made of. Reads manifests and heads of packs, no pages. */
import { formatId, type CheckpointId } from '../checkpoint/keys.ts';
import type { WriteCounts } from '../checkpoint/manifest.ts';
import { firstPack, packBase, packZero, type PageMap } from '../checkpoint/page-map.ts';
import type { CheckpointReader } from '../checkpoint/reader.ts';
import type { PackRef } from '../checkpoint/pack.ts';

export interface SpaceSummary {
  name: string;
  pageSize: number;
  pageCount: number;
  base: string | undefined;
  zeroPages: number;
  /** As in the base image. */
  basePages: number;
  /** In packs of this VM. */
  storedPages: number;
  /** Of the stored pages, how many different ones. */
  distinctPages: number;
}

export interface CheckpointSummary {
  vmId: string;
  id: CheckpointId;
  parent: CheckpointId | null;
  map: 'full' | 'delta';
  /** The manifests it needs, oldest first. */
  chain: string[];
  createdAtMs: number;
  instructions: bigint;
  virtualTimeNs: bigint;
  description: unknown;
  cpus: number;
  /** Device names and the versions of their states. */
  devices: { name: string; version: number }[];
  spaces: SpaceSummary[];
  /** What writing it did. */
  written: WriteCounts;
  /** Sizes in bytes of all that it reaches. */
  sizes: {
    /** All spaces, zero pages included. */
    logical: number;
    /** Pages that are not zero and not in a base image. */
    present: number;
    /** Different pages among these. */
    distinct: number;
    /** The packs that hold them, whole. */
    packs: number;
    manifests: number;
  };
  ratios: {
    /** present / distinct: 1 when no two pages are equal. */
    dedup: number;
    /** Bytes before / after compression, of the packs' pages. */
    compression: number;
  };
  packCount: number;
  workingSetPages: number;
}

/** Summarises an open checkpoint. */
export async function summarizeCheckpoint(reader: CheckpointReader): Promise<CheckpointSummary> {
  const { head, chain, vmId, id } = reader;
  const { description, cpus, devices } = reader.state;
  const maps = head.spaces.map(({ name }) => reader.source(name).map);
  const spaces = maps.map(summarizeSpace);
  const packs = reachedPacks(reader, maps);
  const present = spaces.reduce((sum, space) => sum + space.storedPages * space.pageSize, 0);
  const distinct = spaces.reduce((sum, space) => sum + space.distinctPages * space.pageSize, 0);
  const raw = packs.reduce((sum, pack) => sum + pack.pages * pack.pageSize, 0);
  const data = packs.reduce((sum, pack) => sum + pack.bytes - pack.headBytes, 0);
  const set = await reader.workingSet();
  return {
    vmId,
    id,
    parent: head.parent,
    map: head.map,
    chain: chain.map((manifest) => formatId(manifest.head.id)),
    createdAtMs: head.createdAtMs,
    instructions: head.instructions,
    virtualTimeNs: head.virtualTimeNs,
    description,
    cpus: cpus.length,
    devices: Object.entries(devices).map(([name, { version }]) => ({ name, version })),
    spaces,
    written: head.counts,
    sizes: {
      logical: spaces.reduce((sum, space) => sum + space.pageCount * space.pageSize, 0),
      present,
      distinct,
      packs: packs.reduce((sum, pack) => sum + pack.bytes, 0),
      manifests: chain.reduce((sum, manifest) => sum + manifest.head.bodyBytes, 0),
    },
    ratios: { dedup: ratio(present, distinct), compression: ratio(raw, data) },
    packCount: packs.length,
    workingSetPages: Object.values(set).reduce((sum, pages) => sum + pages.length, 0),
  };
}

function summarizeSpace(map: PageMap): SpaceSummary {
  const { name, pageSize, pageCount, base } = map.space;
  const distinct = new Set<number>();
  let zeroPages = 0;
  let basePages = 0;
  for (let page = 0; page < pageCount; page++) {
    const pack = map.packs[page]!;
    if (pack === packZero) zeroPages++;
    else if (pack === packBase) basePages++;
    // Packs hold at most 4096 pages: pack and slot make one number.
    else distinct.add(pack * 65536 + map.slots[page]!);
  }
  const storedPages = pageCount - zeroPages - basePages;
  return { name, pageSize, pageCount, base, zeroPages, basePages, storedPages, distinctPages: distinct.size };
}

function reachedPacks(reader: CheckpointReader, maps: PageMap[]): PackRef[] {
  const numbers = new Set<number>();
  for (const map of maps) for (const pack of map.packs) if (pack >= firstPack) numbers.add(pack);
  return [...numbers].map((number) => reader.packRef(number));
}

function ratio(a: number, b: number): number {
  return b === 0 ? 1 : a / b;
}
