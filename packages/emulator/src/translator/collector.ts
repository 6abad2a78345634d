/** Gathers the blocks of a region: those that have been decoded, so executed, and can be reached from its entries. */
import type { HandlerSlot } from '../cpu/decode-tables.ts';
import { Block, Record } from '../cpu/layout.ts';
import { readBlock } from './decoded.ts';
import type { DecodedBlock } from './decoded.ts';
import { connect, returnSite, successors } from './graph.ts';
import type { RegionGraph } from './graph.ts';

/** Bound of one region. */
export const maxInstructions = 600;

export class Collector {
  private readonly core: { blockAt(host: number, key: number): number };
  private readonly view: DataView;
  private readonly slots: ReadonlyMap<number, HandlerSlot>;
  private readonly blocks = new Map<number, DecodedBlock>();
  private readonly entries: number[] = [];
  private readonly excluded: ReadonlySet<number>;
  instructions = 0;

  constructor(
    core: { blockAt(host: number, key: number): number },
    view: DataView,
    slots: ReadonlyMap<number, HandlerSlot>,
    excluded: ReadonlySet<number>,
  ) {
    this.core = core;
    this.view = view;
    this.slots = slots;
    this.excluded = excluded;
  }

  /** Adds an entry, given by its first record, and what can be reached from it. False when there is no room for it. */
  add(entry: number): boolean {
    const header = this.view.getUint32(entry + Record.block, true);
    const page = this.view.getUint32(header + Block.host, true) & ~4095;
    const key = this.view.getInt32(header + Block.key, true);
    const place = this.view.getUint16(entry + Record.pageOffset, true);
    const open = [place];
    for (let at = open.shift(); at !== undefined; at = open.shift()) {
      if (at < 0 || at >= 4096 || this.blocks.has(at)) continue;
      const record = this.core.blockAt((page + at) >>> 0, key);
      const block =
        record === 0 || this.excluded.has(record) ? undefined : readBlock(this.view, record, this.slots, 0);
      if (block === undefined || this.instructions + block.instructions.length > maxInstructions) continue;
      this.blocks.set(at, block);
      this.instructions += block.instructions.length;
      const site = returnSite(block);
      open.push(...successors(block), ...(site === undefined ? [] : [site]));
    }
    if (!this.blocks.has(place)) return false;
    if (!this.entries.includes(place)) this.entries.push(place);
    return true;
  }

  /** Whether one of its blocks, given by their first records, has been reached. */
  meets(records: ReadonlySet<number>): boolean {
    return [...this.blocks.values()].some(({ first }) => records.has(first));
  }

  /** The region; blocks that have been entered from elsewhere so many times become entries too. Undefined without any block. */
  graph(warm: number): RegionGraph | undefined {
    if (this.entries.length === 0) return undefined;
    for (const { place, header } of this.blocks.values()) {
      const isWarm = this.view.getUint32(header + Block.entered, true) >= warm;
      if (isWarm && !this.entries.includes(place)) this.entries.push(place);
    }
    return connect(this.blocks, this.entries);
  }
}
