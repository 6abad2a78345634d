/**
 * Gathers the blocks of a region: those that have been decoded, so executed, and can be reached from its entries, which lie in one page;
 * of other pages, where control often comes from elsewhere.
 */
import type { HandlerSlot } from '../cpu/decode-tables.ts';
import { Block, Cpu, Machine, ModeKey, Record, Region, Tlb, recordBytes } from '../cpu/layout.ts';
import { readBlock } from './decoded.ts';
import type { DecodedBlock } from './decoded.ts';
import { connect, pageOf, returnSite, successors } from './graph.ts';
import type { RegionGraph } from './graph.ts';

/** Bound of the instructions of one region. */
export const maxInstructions = 600;
/** Of those, outside of the page of its entries. */
const maxOutside = 200;

/** How often a block, given by its header, was entered from elsewhere. */
function heatOf(view: DataView, header: number): number {
  return view.getUint32(header + recordBytes + Record.heat, true);
}

interface CollectorOptions {
  core: { blockAt(host: number, key: number): number };
  view: DataView;
  slots: ReadonlyMap<number, HandlerSlot>;
  /** First records of blocks that belong to other regions of the page. */
  excluded: ReadonlySet<number>;
  /** The vCPU that is at an entry: pages are where its TLB says. */
  cpu: number;
  /** Entries from elsewhere that make a block worth an entry, or worth being reached from another page. */
  warm: number;
}

export class Collector {
  readonly #options: CollectorOptions;
  readonly #blocks = new Map<number, DecodedBlock>();
  readonly #entries: number[] = [];
  /** Places in other pages that the page goes on to. */
  readonly #outside: number[] = [];
  /** Places that a block of the same page goes on to. */
  readonly #reachedInside = new Set<number>();
  #key = 0;
  /** In the page of the entries. */
  instructions = 0;
  #instructionsOutside = 0;

  constructor(options: CollectorOptions) {
    this.#options = options;
  }

  /** Adds an entry, given by its first record, and what can be reached from it in its page, as far as there is room. */
  add(entry: number): void {
    const { view } = this.#options;
    this.#key = view.getInt32(view.getUint32(entry + Record.block, true) + Block.key, true);
    const place = view.getUint16(entry + Record.pageOffset, true);
    const open = [place];
    for (let at = open.shift(); at !== undefined; at = open.shift()) {
      if (pageOf(at) !== 0) this.#outside.push(at);
      else open.push(...this.#take(at, 0));
    }
    if (this.#blocks.has(place) && !this.#entries.includes(place)) this.#entries.push(place);
  }

  /** Adds the blocks of the page that have been entered often enough from elsewhere: targets of indirect jumps, functions. */
  addWarm(hostPage: number): void {
    const { view, warm, excluded } = this.#options;
    const machine = (field: number): number => view.getUint32(Region.machine + field, true);
    const found: { first: number; heat: number }[] = [];
    const index = (hostPage - machine(Machine.backingBase)) >>> 12;
    let header = view.getUint32(machine(Machine.blockHeads) + index * 4, true);
    for (; header !== 0; header = view.getUint32(header + Block.pageNext, true)) {
      const heat = heatOf(view, header);
      const first = header + 2 * recordBytes;
      const isOurs = view.getInt32(header + Block.key, true) === this.#key && !excluded.has(first);
      if (heat >= warm && isOurs) found.push({ first, heat });
    }
    found.sort((a, b) => b.heat - a.heat);
    for (const { first } of found) this.add(first);
  }

  /** Adds what the page calls and jumps to in others. */
  addCalled(): void {
    const open = this.#outside;
    for (let at = open.shift(); at !== undefined; at = open.shift())
      open.push(...this.#take(at, this.#options.warm));
  }

  /** Takes the block at a place, entered so often from elsewhere at least, into the region; the places behind it. */
  #take(place: number, warm: number): number[] {
    const { core, view, slots, excluded } = this.#options;
    const page = pageOf(place);
    const hostPage = this.#blocks.has(place) ? 0 : this.#hostOf(page);
    const record = hostPage === 0 ? 0 : core.blockAt(hostPage + (place & 4095), this.#key);
    if (record === 0 || excluded.has(record)) return [];
    const block = readBlock(view, record, slots, page);
    if (block === undefined || !this.#hasRoom(page, block.instructions.length)) return [];
    const isReachedFromItsPage = warm === 0 || this.#reachedInside.has(place);
    if (!isReachedFromItsPage && heatOf(view, block.header) < warm) return [];
    this.#blocks.set(place, block);
    const site = returnSite(block);
    const next = [...successors(block), ...(site === undefined ? [] : [site])];
    for (const at of next) if (pageOf(at) === page) this.#reachedInside.add(at);
    return next;
  }

  #hasRoom(page: number, count: number): boolean {
    if (this.instructions + this.#instructionsOutside + count > maxInstructions) return false;
    if (page === 0) this.instructions += count;
    else if (this.#instructionsOutside + count > maxOutside) return false;
    else this.#instructionsOutside += count;
    return true;
  }

  /** Address in linear memory of a page, 0 when the TLB does not know it. */
  #hostOf(page: number): number {
    const { view, cpu } = this.#options;
    const wide = (this.#key & ModeKey.codeMask) === ModeKey.code64;
    const here = view.getBigUint64(cpu + Cpu.ripPage, true);
    const la = BigInt.asUintN(wide ? 64 : 32, here + BigInt(page) * 4096n);
    const index = Number((la >> 12n) & BigInt(Tlb.entries - 1));
    const entry = view.getUint32(cpu + Cpu.tlbExecute, true) + index * Tlb.entryBytes;
    if (view.getBigUint64(entry + Tlb.tag, true) !== la) return 0;
    return (view.getUint32(entry + Tlb.addend, true) + Number(BigInt.asUintN(32, la))) >>> 0;
  }

  /** Whether one of its blocks, given by their first records, has been reached. */
  meets(records: ReadonlySet<number>): boolean {
    return [...this.#blocks.values()].some(({ first }) => records.has(first));
  }

  /** The region; undefined without any block. */
  graph(): RegionGraph | undefined {
    if (this.#entries.length === 0) return undefined;
    const { view } = this.#options;
    // The hottest first: indirect jumps try them in this order.
    const heat = (place: number): number => heatOf(view, this.#blocks.get(place)?.header ?? 0);
    this.#entries.sort((a, b) => heat(b) - heat(a));
    return connect(this.#blocks, this.#entries);
  }
}
