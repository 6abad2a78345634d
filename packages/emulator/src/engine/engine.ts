/**
 * Puts the modules together: fault.wasm (the exception that stands for a guest fault), core.wasm and interpreter.wasm
 * around one shared memory. Works in browsers and in Node alike; where the module bytes come from is the host's affair.
 */
import { Cpu, ExitReason, Machine, Region } from '../cpu/layout.ts';
import { instructionTable } from '../cpu/table/index.ts';
import type { CodeBounds } from '../translator/code-cache.ts';
import { Translator } from '../translator/translator.ts';
import type { RegionInfo } from '../translator/observe.ts';

/** Binaries made by build.ts. */
export interface EngineModules {
  fault: WebAssembly.Module;
  core: WebAssembly.Module;
  interpreter: WebAssembly.Module;
}

/** Functions that the core calls; sizes in bytes (1, 2, 4). */
export interface EngineHostFunctions {
  ioRead(port: number, size: number): number;
  ioWrite(port: number, size: number, value: number): void;
  /** See core/host.ts; without it items go one by one. */
  ioReadBlock?(port: number, size: number, target: number, count: number): number;
  /** See core/host.ts. */
  ioWriteBlock?(port: number, size: number, source: number, count: number): number;
  mmioRead(addressLow: number, addressHigh: number, size: number): number;
  mmioWrite(addressLow: number, addressHigh: number, size: number, value: number): void;
  cpuEvent(cpu: number, what: number): void;
  /** Needed by who marks pages as missing in the physical map. */
  pageIn?(page: number): void;
  /** Needed by who takes duties of a system (Machine.hostDuties): see core/host.ts. */
  translatePage?(addressLow: number, addressHigh: number, access: number): number;
  memoryAccess?(
    addressLow: number,
    addressHigh: number,
    size: number,
    kind: number,
    valueLow: number,
    valueHigh: number,
  ): void;
  instruction?(duty: number): number;
}

/** Exports of core.wasm, by name; parameters as in core/. i64 is bigint. */
export interface CoreExports {
  resetCpu(cpu: number): void;
  initCpu(cpu: number): void;
  injectInterrupt(cpu: number, vector: number): void;
  injectNmi(cpu: number): void;
  updateMode(cpu: number): void;
  flushTlb(cpu: number): void;
  flushTlbAll(cpu: number): void;
  hostWritePrepare(physical: bigint, length: number): void;
  beginDirtyInterval(): void;
  deliverEvent(cpu: number): void;
  translateDebug(cpu: number, linearAddress: bigint): bigint;
  dropAllCode(): void;
  debugChanged(): void;
  clearDirty(): void;
  invalidateCode(page: number, offset: number, size: number): void;
  atBreakpoint(cpu: number): number;
  readFlags(cpu: number): number;
  writeFlags(cpu: number, value: number, mask: number): void;
  blockAt(host: number, key: number): number;
  decodeOnly(cpu: number, source: number, available: number, modeKey: number): number;
  findInstruction(cpu: number): number;
  /** May throw a guest fault (WebAssembly.Exception), as `findInstruction` may. */
  findBlock(cpu: number): number;
  readMsr(cpu: number): void;
  writeMsr(cpu: number): void;
}

/** Which engine executes guest code; both give the same states at the same instruction counts. */
export type EngineKind = 'interpreter' | 'translator';

/** Entries of a block before it is translated: by then interpreting it has cost about as much as translating its region does. */
const defaultHotThreshold = 10_000;

export interface EngineOptions {
  modules: EngineModules;
  /** Laid out, with its machine block filled. */
  memory: WebAssembly.Memory;
  host: EngineHostFunctions;
  /** Default: translator. */
  kind?: EngineKind;
  hotThreshold?: number;
  /** See TranslatorOptions. */
  compileRegion?: (bytes: Uint8Array<ArrayBuffer>) => WebAssembly.Module;
  /** See TranslatorOptions. */
  bounds?: Partial<CodeBounds>;
  /** See TranslatorOptions. */
  onRegion?: (info: RegionInfo) => void;
}

/** The modules of an engine, instantiated around one memory. */
export interface WasmEngine {
  readonly core: CoreExports;
  /** Absent in the interpreter. */
  readonly translator?: Translator;
  /** Runs until Cpu.remaining is used up or the host is needed; returns an ExitReason. */
  run(cpu: number): number;
  /** Runs with a budget of one instruction, after delivering a pending event; returns an ExitReason. */
  step(cpu: number): number;
  /** One instruction without delivering anything: 0 = retired, 1 = it faulted and the event is pending, 3 = triple fault. */
  stepRaw(cpu: number): number;
  dropAllCode(): void;
}

interface InterpreterExports {
  run(cpu: number): number;
  step(cpu: number): number;
  handlers: WebAssembly.Table;
}

function coreImports(
  { memory, host }: EngineOptions,
  fault: WebAssembly.Instance,
): Record<string, Record<string, WebAssembly.ImportValue>> {
  return {
    env: { memory },
    fault: { throwFault: fault.exports['throwFault'] as WebAssembly.ExportValue },
    host: {
      ioRead: (port: number, size: number) => host.ioRead(port, size),
      ioWrite: (port: number, size: number, value: number) => {
        host.ioWrite(port, size, value >>> 0);
      },
      ioReadBlock: (port: number, size: number, target: number, count: number) =>
        host.ioReadBlock?.(port, size, target >>> 0, count) ?? 0,
      ioWriteBlock: (port: number, size: number, source: number, count: number) =>
        host.ioWriteBlock?.(port, size, source >>> 0, count) ?? 0,
      mmioRead: (low: number, high: number, size: number) => host.mmioRead(low >>> 0, high >>> 0, size),
      mmioWrite: (low: number, high: number, size: number, value: number) => {
        host.mmioWrite(low >>> 0, high >>> 0, size, value >>> 0);
      },
      cpuEvent: (cpu: number, what: number) => {
        host.cpuEvent(cpu, what);
      },
      pageIn: (page: number) => {
        host.pageIn?.(page);
      },
      translatePage: host.translatePage ?? (() => -1),
      memoryAccess: host.memoryAccess ?? (() => undefined),
      instruction: host.instruction ?? (() => 0),
    },
  };
}

/** Puts the given modules together into an engine around `memory`. */
export async function createEngine(options: EngineOptions): Promise<WasmEngine> {
  const { modules, memory } = options;
  const fault = await WebAssembly.instantiate(modules.fault);
  const core = await WebAssembly.instantiate(modules.core, coreImports(options, fault));
  const interpreter = await WebAssembly.instantiate(modules.interpreter, {
    env: { memory },
    fault: fault.exports,
    core: core.exports,
  });
  return assemble(options, core, interpreter);
}

/** As `createEngine`, at once: for hosts that may instantiate large modules without waiting (Node; a browser's workers). */
export function createEngineAtOnce(options: EngineOptions): WasmEngine {
  const { modules, memory } = options;
  const fault = new WebAssembly.Instance(modules.fault);
  const core = new WebAssembly.Instance(modules.core, coreImports(options, fault));
  const interpreter = new WebAssembly.Instance(modules.interpreter, {
    env: { memory },
    fault: fault.exports,
    core: core.exports,
  });
  return assemble(options, core, interpreter);
}

function assemble(
  options: EngineOptions,
  core: WebAssembly.Instance,
  interpreter: WebAssembly.Instance,
): WasmEngine {
  const { memory } = options;
  const exports = core.exports as unknown as CoreExports;
  const { run: runModule, step, handlers } = interpreter.exports as unknown as InterpreterExports;
  const view = new DataView(memory.buffer);
  const translating = options.kind !== 'interpreter';
  const threshold = translating ? (options.hotThreshold ?? defaultHotThreshold) : 0;
  view.setUint32(Region.machine + Machine.hotThreshold, threshold, true);
  const translator = translating
    ? new Translator({
        memory,
        handlers,
        core: core.exports as never,
        rows: instructionTable,
        ...(options.compileRegion === undefined ? {} : { compileRegion: options.compileRegion }),
        ...(options.bounds === undefined ? {} : { bounds: options.bounds }),
        ...(options.onRegion === undefined ? {} : { onRegion: options.onRegion }),
      })
    : undefined;
  const run = (cpu: number): number => {
    for (;;) {
      const reason = runModule(cpu);
      if (reason !== ExitReason.translate) return reason;
      translator?.translate(cpu, view.getUint32(cpu + Cpu.hotBlock, true));
    }
  };
  return {
    core: exports,
    ...(translator === undefined ? {} : { translator }),
    run,
    stepRaw: step,
    step(cpu) {
      const remaining = view.getBigInt64(cpu + Cpu.remaining, true);
      view.setBigInt64(cpu + Cpu.remaining, 1n, true);
      const reason = run(cpu);
      const left = view.getBigInt64(cpu + Cpu.remaining, true);
      view.setBigInt64(cpu + Cpu.remaining, remaining - (1n - left), true);
      return reason;
    },
    dropAllCode() {
      exports.dropAllCode();
    },
  };
}
