/**
 * Translates hot blocks. What is hot in one page, in one mode, becomes one region with several entries, made again when another entry
 * of it proves hot; its function stands in the function table in place of the entries' counting handlers. Code
 * that changes resets these handlers; what has long not been entered goes when there is too much (`code-cache.ts`), and everything when the core
 * drops its decoded code.
 */
import type { FunctionType } from '../wasm/code.ts';
import { ModuleWriter } from '../wasm/module.ts';
import { assignHandlers } from '../cpu/decode-tables.ts';
import type { HandlerSlot } from '../cpu/decode-tables.ts';
import { Block, Machine, ModeKey, Record, Region, recordBytes } from '../cpu/layout.ts';
import type { Row } from '../cpu/table/row.ts';
import { CodeCache } from './code-cache.ts';
import type { CodeBounds, LiveRegion, TranslatedPage } from './code-cache.ts';
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

const handlerType: FunctionType = { params: ['i32', 'i32'], result: 'i32' };

const defaultCompile = (bytes: Uint8Array<ArrayBuffer>): WebAssembly.Module => new WebAssembly.Module(bytes);

/** What the translator needs of the core. */
type Core = WebAssembly.Exports & { blockAt(host: number, key: number): number };

export interface TranslatorOptions {
  memory: WebAssembly.Memory;
  /** The interpreter's function table. */
  handlers: WebAssembly.Table;
  core: Core;
  rows: readonly Row[];
  /** How a host compiles regions: short compile time counts, hot ones are compiled again by the engine's optimizer. */
  compileRegion?: (bytes: Uint8Array<ArrayBuffer>) => WebAssembly.Module;
  /** Of the live regions; default: `defaultBounds`. */
  bounds?: Partial<CodeBounds>;
  /** Called for each region that was made; its function then has a name for profilers. */
  onRegion?: (info: RegionInfo) => void;
}

export class Translator {
  readonly #options: TranslatorOptions;
  readonly #view: DataView;
  readonly #slots = new Map<number, HandlerSlot>();
  #generation: number;
  /** What is live. */
  readonly cache: CodeCache;
  /** Since the start: regions made, guest instructions in them, bytes of WebAssembly. */
  readonly statistics = { regions: 0, instructions: 0, callouts: 0, bytes: 0 };

  constructor(options: TranslatorOptions) {
    this.#options = options;
    this.#view = new DataView(options.memory.buffer);
    for (const slot of assignHandlers(options.rows).slots) this.#slots.set(slot.slot, slot);
    this.cache = new CodeCache(this.#view, options.handlers, options.bounds);
    this.#generation = this.#codeGeneration();
  }

  #codeGeneration(): number {
    return this.#view.getUint32(Region.machine + Machine.codeGeneration, true);
  }

  /** Translates what the head record begins that a vCPU has come to; leaves it to the interpreter when nothing can be translated, or not yet. */
  translate(cpu: number, head: number): void {
    this.#makeRoom();
    const view = this.#view;
    const header = view.getUint32(head + Record.block, true);
    const host = view.getUint32(header + Block.host, true);
    const key = view.getInt32(header + Block.key, true);
    const warm = Math.ceil(this.cache.threshold / warmPart);
    if (host === 0 || !isTranslatable(key)) return;
    const pageKey = (host & ~4095) + (key >>> 0) * 2 ** 32;
    const page = this.cache.page(pageKey);
    if (this.#hasToWait(head, page)) return;
    const first = head + recordBytes;
    const others = page.regions.filter((region) => !region.blocks.has(first));
    const before = page.regions.find((region) => region.blocks.has(first));
    const collect = (old: readonly LiveRegion[], apart: readonly LiveRegion[]): Collector => {
      const excluded = new Set(apart.flatMap((region) => [...region.blocks]));
      const collector = new Collector({
        core: this.#options.core,
        view,
        slots: this.#slots,
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
    this.#replace(pageKey, old, collector);
  }

  #makeRoom(): void {
    if (this.#generation !== this.#codeGeneration()) {
      this.#generation = this.#codeGeneration();
      this.cache.clear();
    }
    if (this.cache.isFull) this.cache.evict();
    this.cache.tick();
  }

  /** Pages that are translated again and again (changing code, ever new entries) have to be hotter each time. */
  #hasToWait(head: number, page: TranslatedPage): boolean {
    const stage = Math.min(maxDoublings, page.made);
    if (this.#view.getUint8(head + Record.prefixes) >= stage) return false;
    this.#view.setUint8(head + Record.prefixes, stage);
    this.cache.count(head, this.cache.threshold << stage);
    return true;
  }

  #replace(page: number, old: readonly LiveRegion[], collector: Collector): void {
    const graph = collector.graph();
    if (graph === undefined) return;
    const slot = this.cache.takeSlot();
    const { instance, bytes } = this.#compile(graph, slot);
    this.#options.handlers.set(slot, instance.exports['region']);
    for (const region of old) this.cache.remove(region);
    const heads = graph.entries.map((node) => (graph.blocks[node]?.first ?? 0) - recordBytes);
    const own = graph.blocks.filter((block) => pageOf(block.place) === 0);
    const instructions = own.reduce((sum, block) => sum + block.instructions.length, 0);
    const blocks = new Set(own.map((block) => block.first));
    this.cache.add({ slot, page, heads, instructions, blocks, bytes }, graph.entries);
  }

  #compile(graph: RegionGraph, slot: number): { instance: WebAssembly.Instance; bytes: number } {
    const { writer, emitter } = this.#emit(graph, slot);
    const bytes = writer.toBytes();
    this.statistics.bytes += bytes.length;
    this.statistics.callouts += emitter.callouts;
    for (const block of graph.blocks) this.statistics.instructions += block.instructions.length;
    const { memory, handlers, core, onRegion, compileRegion = defaultCompile } = this.#options;
    const name = this.#regionName();
    this.statistics.regions++;
    if (onRegion !== undefined) {
      const entry = graph.entries[0] ?? 0;
      const blocks = [...graph.blocks.slice(entry), ...graph.blocks.slice(0, entry)];
      onRegion(
        describeRegion(this.#view, blocks, { name, wasmBytes: bytes.length, callouts: emitter.callouts }),
      );
    }
    const instance = new WebAssembly.Instance(compileRegion(bytes), { env: { memory, handlers }, core });
    return { instance, bytes: bytes.length };
  }

  #emit(graph: RegionGraph, slot: number): { writer: ModuleWriter; emitter: RegionEmitter } {
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
    if (this.#options.onRegion !== undefined) writer.nameFunction(ref, this.#regionName());
    return { writer, emitter };
  }

  /** Of the region that is being made. */
  #regionName(): string {
    return `region ${this.statistics.regions}`;
  }
}

function isTranslatable(key: number): boolean {
  const code = key & ModeKey.codeMask;
  return code === ModeKey.code64 || ((key & ModeKey.flat) !== 0 && code === ModeKey.code32);
}
