/**
 * Translates hot blocks: forms a region around a head record, compiles it, and puts it into the function table in place of
 * the head's counting handler. Everything is dropped together when the core drops its decoded code.
 */
import type { FunctionType } from '../wasm/code.ts';
import { ModuleWriter } from '../wasm/module.ts';
import { assignHandlers } from '../cpu/decode-tables.ts';
import type { HandlerSlot } from '../cpu/decode-tables.ts';
import { Block, Machine, ModeKey, Record, Region, recordBytes } from '../cpu/layout.ts';
import type { Row } from '../cpu/table/row.ts';
import { readBlock } from './decoded.ts';
import type { DecodedBlock } from './decoded.ts';
import { connect, returnSite } from './graph.ts';
import { lazyImports } from './imports.ts';
import { describeRegion, type RegionInfo } from './observe.ts';
import { RegionEmitter, successors } from './region.ts';
import type { RegionGraph } from './region.ts';

/** Bounds of one region. */
const maxBlocks = 48;
const maxInstructions = 600;
/** Live modules; beyond, all code is dropped and starts cold (docs: ARCHITECTURE, translated code). */
const maxModules = 4000;
const maxSlots = 0xfff0;

const handlerType: FunctionType = { params: ['i32', 'i32'], result: 'i32' };

const defaultCompile = (bytes: Uint8Array<ArrayBuffer>): WebAssembly.Module => new WebAssembly.Module(bytes);

export interface TranslatorOptions {
  memory: WebAssembly.Memory;
  /** The interpreter's function table. */
  handlers: WebAssembly.Table;
  core: WebAssembly.Exports & { blockAt(host: number, key: number): number; dropAllCode(): void };
  rows: readonly Row[];
  /** How a host compiles regions: short compile time counts, hot ones are compiled again by the engine's optimizer. */
  compileRegion?: (bytes: Uint8Array<ArrayBuffer>) => WebAssembly.Module;
  /** Called for each region that was made; its function then has a name for profilers. */
  onRegion?: (info: RegionInfo) => void;
}

export class Translator {
  private readonly options: TranslatorOptions;
  private readonly view: DataView;
  private readonly slots = new Map<number, HandlerSlot>();
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

  /** Translates the region that starts at a head record; leaves it to the interpreter when nothing can be translated. */
  translate(head: number): void {
    this.makeRoom();
    const graph = this.formRegion(head + recordBytes);
    if (graph === undefined) return;
    const instance = this.compile(graph);
    const slot = this.nextSlot++;
    if (slot >= this.options.handlers.length) this.options.handlers.grow(256);
    this.options.handlers.set(slot, instance.exports['region']);
    this.view.setUint16(head + Record.handler, slot, true);
  }

  private makeRoom(): void {
    if (this.modules >= maxModules || this.nextSlot >= maxSlots) this.options.core.dropAllCode();
    if (this.generation === this.codeGeneration()) return;
    this.generation = this.codeGeneration();
    this.modules = 0;
    // The functions go with the modules: nothing names their slots any more.
    for (let slot = this.firstSlot; slot < this.nextSlot; slot++) this.options.handlers.set(slot, null);
    this.nextSlot = this.firstSlot;
  }

  /** Blocks that can be reached from `first` by jumps, calls and returns inside of its page. */
  private formRegion(first: number): RegionGraph | undefined {
    const header = this.view.getUint32(first + Record.block, true);
    const key = this.view.getInt32(header + Block.key, true);
    const translatableMode =
      (key & ModeKey.codeMask) === ModeKey.code64 ||
      ((key & ModeKey.flat) !== 0 && (key & ModeKey.codeMask) === ModeKey.code32);
    if (!translatableMode || this.view.getUint32(header + Block.host, true) === 0) return undefined;
    const page = this.view.getUint32(header + Block.host, true) & ~4095;
    const found = new Map<number, DecodedBlock>();
    let instructions = 0;
    const visit = (record: number): void => {
      const block = readBlock(this.view, record, this.slots);
      if (block === undefined || found.has(block.pageOffset)) return;
      found.set(block.pageOffset, block);
      instructions += block.instructions.length;
      const site = returnSite(block);
      for (const offset of site === undefined ? successors(block) : [...successors(block), site]) {
        if (found.has(offset) || found.size >= maxBlocks || instructions >= maxInstructions) continue;
        const next = this.options.core.blockAt((page + offset) >>> 0, key);
        if (next !== 0) visit(next);
      }
    };
    visit(first);
    return connect(found, this.view.getUint16(first + Record.pageOffset, true));
  }

  private compile(graph: RegionGraph): WebAssembly.Instance {
    const first = this.emit(graph);
    // Instructions that are executed by their handlers flush and reload what the whole region uses, known after one pass.
    const { writer, emitter } = first.emitter.callouts > 0 ? this.emit(graph, first.emitter.used) : first;
    const bytes = writer.toBytes();
    this.modules++;
    this.statistics.bytes += bytes.length;
    this.statistics.callouts += emitter.callouts;
    for (const block of graph.blocks) this.statistics.instructions += block.instructions.length;
    const { memory, handlers, core, onRegion, compileRegion = defaultCompile } = this.options;
    const name = this.regionName();
    this.statistics.regions++;
    onRegion?.(
      describeRegion(this.view, graph.blocks, { name, wasmBytes: bytes.length, callouts: emitter.callouts }),
    );
    return new WebAssembly.Instance(compileRegion(bytes), { env: { memory, handlers }, core });
  }

  private emit(
    graph: RegionGraph,
    known?: RegionEmitter['used'],
  ): { writer: ModuleWriter; emitter: RegionEmitter } {
    const writer = new ModuleWriter();
    writer.importSharedMemory('env', 'memory', { initial: 1, maximum: 65536 });
    writer.importTable('env', 'handlers', 1);
    const functions = lazyImports(writer);
    const { ref, code } = writer.function(handlerType);
    const emitter = new RegionEmitter(
      {
        code,
        graph,
        functions,
        handlerTypeIndex: writer.typeIndex(handlerType),
      },
      known,
    );
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
