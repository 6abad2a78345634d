/**
 * Translates hot blocks. What is hot in one page, in one mode, becomes one region with several entries, made again when another entry
 * of it proves hot; its function stands in the function table in place of the entries' counting handlers. Code
 * that changes resets these handlers; everything is dropped together when the core drops its decoded code.
 */
import type { FunctionType } from '../wasm/code.ts';
import { ModuleWriter } from '../wasm/module.ts';
import { assignHandlers } from '../cpu/decode-tables.ts';
import type { HandlerSlot } from '../cpu/decode-tables.ts';
import { Block, Machine, ModeKey, Record, Region, SpecialHandler, recordBytes } from '../cpu/layout.ts';
import type { Row } from '../cpu/table/row.ts';
import { Collector, maxInstructions } from './collector.ts';
import { pageOf } from './graph.ts';
import type { RegionGraph } from './graph.ts';
import { lazyImports } from './imports.ts';
import { describeRegion, type RegionInfo } from './observe.ts';
import { RegionEmitter } from './region.ts';

/** Each time that a page is translated, the next entry of it has to be twice as hot; so often at most. */
const maxDoublings = 6;
/** Part of the entries that make a block hot at which it becomes an entry of a region that is made anyway, or belongs to its callers' too. */
const warmPart = 16;
/** Live modules; beyond, all code is dropped and starts cold (docs: ARCHITECTURE, translated code). */
const maxModules = 4000;
const maxSlots = 0xfff0;

const handlerType: FunctionType = { params: ['i32', 'i32'], result: 'i32' };

const defaultCompile = (bytes: Uint8Array<ArrayBuffer>): WebAssembly.Module => new WebAssembly.Module(bytes);

/** What the translator needs of the core. */
type Core = WebAssembly.Exports & { blockAt(host: number, key: number): number; dropAllCode(): void };

export interface TranslatorOptions {
  memory: WebAssembly.Memory;
  /** The interpreter's function table. */
  handlers: WebAssembly.Table;
  core: Core;
  rows: readonly Row[];
  /** How a host compiles regions: short compile time counts, hot ones are compiled again by the engine's optimizer. */
  compileRegion?: (bytes: Uint8Array<ArrayBuffer>) => WebAssembly.Module;
  /** Called for each region that was made; its function then has a name for profilers. */
  onRegion?: (info: RegionInfo) => void;
}

/** A live region. */
interface LiveRegion {
  /** Of its function. */
  slot: number;
  /** First records of its blocks in its entries' page, and how many instructions these have. */
  blocks: ReadonlySet<number>;
  instructions: number;
  /** Head records of its entries. */
  heads: readonly number[];
}

/** What has been translated of a page in one mode. */
interface TranslatedPage {
  made: number;
  regions: LiveRegion[];
}

export class Translator {
  private readonly options: TranslatorOptions;
  private readonly view: DataView;
  private readonly slots = new Map<number, HandlerSlot>();
  private readonly pages = new Map<number, TranslatedPage>();
  private readonly firstSlot: number;
  private nextSlot: number;
  private generation: number;
  private modules = 0;
  /** Since the start: regions made, guest instructions in them, bytes of WebAssembly. */
  readonly statistics = { regions: 0, instructions: 0, callouts: 0, bytes: 0 };

  constructor(options: TranslatorOptions) {
    this.options = options;
    this.view = new DataView(options.memory.buffer);
    for (const slot of assignHandlers(options.rows).slots) this.slots.set(slot.slot, slot);
    this.firstSlot = options.handlers.length;
    this.nextSlot = this.firstSlot;
    this.generation = this.codeGeneration();
  }

  private codeGeneration(): number {
    return this.view.getUint32(Region.machine + Machine.codeGeneration, true);
  }

  /** Translates what the head record begins that a vCPU has come to; leaves it to the interpreter when nothing can be translated, or not yet. */
  translate(cpu: number, head: number): void {
    this.makeRoom();
    const { view } = this;
    const header = view.getUint32(head + Record.block, true);
    const host = view.getUint32(header + Block.host, true);
    const key = view.getInt32(header + Block.key, true);
    const warm = Math.ceil(this.threshold / warmPart);
    if (host === 0 || !isTranslatable(key)) return;
    const page = this.pageOf(host & ~4095, key);
    if (this.hasToWait(head, page)) return;
    const first = head + recordBytes;
    const others = page.regions.filter((region) => !region.blocks.has(first));
    const before = page.regions.find((region) => region.blocks.has(first));
    const collect = (old: readonly LiveRegion[], apart: readonly LiveRegion[]): Collector => {
      const excluded = new Set(apart.flatMap((region) => [...region.blocks]));
      const collector = new Collector({
        core: this.options.core,
        view,
        slots: this.slots,
        excluded,
        cpu,
        warm,
      });
      for (const entry of [...old.flatMap((region) => region.heads), head])
        collector.add(entry + recordBytes);
      collector.addWarm(host & ~4095);
      collector.addCalled();
      return collector;
    };
    const old = before === undefined ? [] : [before];
    let collector = collect(old, []);
    // A region that this one runs into becomes a part of it, or stays apart when they would be too large together.
    const met = others.filter((other) => collector.meets(other.blocks));
    if (met.length > 0) {
      let { instructions } = collector;
      const apart: LiveRegion[] = [];
      for (const other of met) {
        const fits = instructions + other.instructions <= maxInstructions;
        if (fits) instructions += other.instructions;
        (fits ? old : apart).push(other);
      }
      collector = collect(old, apart);
    }
    this.replace(page, old, collector);
  }

  private makeRoom(): void {
    if (this.modules >= maxModules || this.nextSlot >= maxSlots) this.options.core.dropAllCode();
    if (this.generation === this.codeGeneration()) return;
    this.generation = this.codeGeneration();
    this.modules = 0;
    this.pages.clear();
    // The functions go with the modules: nothing names their slots any more.
    for (let slot = this.firstSlot; slot < this.nextSlot; slot++) this.options.handlers.set(slot, null);
    this.nextSlot = this.firstSlot;
  }

  /** The page's record, with those of its regions that can still be entered. */
  private pageOf(host: number, key: number): TranslatedPage {
    const id = host + (key >>> 0) * 2 ** 32;
    const page = this.pages.get(id) ?? { made: 0, regions: [] };
    this.pages.set(id, page);
    page.regions = page.regions.filter(({ heads, slot }) =>
      heads.some((head) => this.view.getUint16(head + Record.handler, true) === slot),
    );
    return page;
  }

  /** Pages that are translated again and again (changing code, ever new entries) have to be hotter each time. */
  private hasToWait(head: number, page: TranslatedPage): boolean {
    const stage = Math.min(maxDoublings, page.made);
    if (this.view.getUint8(head + Record.prefixes) >= stage) return false;
    this.view.setUint8(head + Record.prefixes, stage);
    this.count(head, this.threshold << stage);
    return true;
  }

  private get threshold(): number {
    return this.view.getUint32(Region.machine + Machine.hotThreshold, true);
  }

  /** Makes the head record count so many entries from now on. */
  private count(head: number, entries: number): void {
    this.view.setUint16(head + Record.handler, SpecialHandler.head, true);
    this.view.setBigInt64(head + Record.displacement, BigInt(entries), true);
  }

  private replace(page: TranslatedPage, old: readonly LiveRegion[], collector: Collector): void {
    const graph = collector.graph();
    if (graph === undefined) return;
    const slot = old[0]?.slot ?? this.nextSlot++;
    if (slot >= this.options.handlers.length) this.options.handlers.grow(256);
    this.options.handlers.set(slot, this.compile(graph, slot).exports['region']);
    for (const head of old.flatMap((region) => region.heads)) this.count(head, this.threshold);
    const heads = graph.entries.map((node) => {
      const head = (graph.blocks[node]?.first ?? 0) - recordBytes;
      this.view.setUint16(head + Record.handler, slot, true);
      this.view.setBigInt64(head + Record.displacement, BigInt(node), true);
      return head;
    });
    page.made++;
    page.regions = page.regions.filter((region) => !old.includes(region));
    const blocks = graph.blocks.filter((block) => pageOf(block.place) === 0);
    const instructions = blocks.reduce((sum, block) => sum + block.instructions.length, 0);
    page.regions.push({ slot, heads, instructions, blocks: new Set(blocks.map((block) => block.first)) });
  }

  private compile(graph: RegionGraph, slot: number): WebAssembly.Instance {
    const { writer, emitter } = this.emit(graph, slot);
    const bytes = writer.toBytes();
    this.modules++;
    this.statistics.bytes += bytes.length;
    this.statistics.callouts += emitter.callouts;
    for (const block of graph.blocks) this.statistics.instructions += block.instructions.length;
    const { memory, handlers, core, onRegion, compileRegion = defaultCompile } = this.options;
    const name = this.regionName();
    this.statistics.regions++;
    if (onRegion !== undefined) {
      const entry = graph.entries[0] ?? 0;
      const blocks = [...graph.blocks.slice(entry), ...graph.blocks.slice(0, entry)];
      onRegion(
        describeRegion(this.view, blocks, { name, wasmBytes: bytes.length, callouts: emitter.callouts }),
      );
    }
    return new WebAssembly.Instance(compileRegion(bytes), { env: { memory, handlers }, core });
  }

  private emit(graph: RegionGraph, slot: number): { writer: ModuleWriter; emitter: RegionEmitter } {
    const writer = new ModuleWriter();
    writer.importSharedMemory('env', 'memory', { initial: 1, maximum: 65536 });
    writer.importTable('env', 'handlers', 1);
    const functions = lazyImports(writer);
    const { ref, code } = writer.function(handlerType);
    const emitter = new RegionEmitter({
      code,
      graph,
      functions,
      handlerTypeIndex: writer.typeIndex(handlerType),
      slot,
    });
    emitter.emit();
    writer.export('region', 'function', ref.index);
    if (this.options.onRegion !== undefined) writer.nameFunction(ref, this.regionName());
    return { writer, emitter };
  }

  /** Of the region that is being made. */
  private regionName(): string {
    return `region ${this.statistics.regions}`;
  }
}

function isTranslatable(key: number): boolean {
  const code = key & ModeKey.codeMask;
  return code === ModeKey.code64 || ((key & ModeKey.flat) !== 0 && code === ModeKey.code32);
}
