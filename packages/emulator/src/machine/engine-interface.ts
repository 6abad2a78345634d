/**
 * What the machine needs of a processor engine (structural; engine/ makes one). All functions take the address of the vCPU block first.
 */
import type { AccessSize } from '../devices/device.ts';

/** The host functions that core and interpreter import; see CpuEvent in cpu/layout.ts for `cpuEvent`. */
export interface EngineHost {
  ioRead(port: number, size: AccessSize): number;
  ioWrite(port: number, size: AccessSize, value: number): void;
  /** Items of a repeated INS to an address of linear memory, and of a repeated OUTS from there (core/host.ts): how many went. */
  ioReadBlock(port: number, size: AccessSize, target: number, count: number): number;
  ioWriteBlock(port: number, size: AccessSize, source: number, count: number): number;
  mmioRead(addressLow: number, addressHigh: number, size: AccessSize): number;
  mmioWrite(addressLow: number, addressHigh: number, size: AccessSize, value: number): void;
  cpuEvent(cpu: number, what: number): void;
  pageIn(page: number): void;
}

/** Exports of core.wasm that the machine calls. */
export interface EngineCore {
  /** Power-on state (RESET#). */
  resetCpu(cpu: number): void;
  /** INIT: an application processor then waits for a start-up message. */
  initCpu(cpu: number): void;
  /** Makes `vector` the event that is delivered before the next instruction; ends HLT. */
  injectInterrupt(cpu: number, vector: number): void;
  injectNmi(cpu: number): void;
  /** Works out all cached state again after the machine wrote control or segment registers. */
  updateMode(cpu: number): void;
  flushTlbAll(cpu: number): void;
  /** Before the machine writes RAM: marks the pages dirty and drops code decoded from them. */
  hostWritePrepare(physical: bigint, length: number): void;
  /** Clears the dirty bitmap and every write TLB. */
  beginDirtyInterval(): void;
  /** After the lists of cpu/layout.ts Debug were changed. */
  debugChanged(): void;
  /** Clears the dirty bitmap, unnoticed: no translation is forgotten. */
  clearDirty(): void;
  /** Drops code decoded from bytes [offset, offset + size) of a backing page. */
  invalidateCode(page: number, offset: number, size: number): void;
  /** Whether a breakpoint of these lists lies on the instruction at RIP: 1 or 0. */
  atBreakpoint(cpu: number): number;
  /** Physical address of a linear one, or -1; changes nothing. */
  translateDebug(cpu: number, linearAddress: bigint): bigint;
}

/** What runs instructions: the interpreter alone, or with the translator. */
export interface Engine {
  /** Runs until the deadline or an event; returns an ExitReason. */
  run(cpu: number): number;
  /** One instruction without delivering anything: 0 = retired, 1 = it faulted and the event is pending, ExitReason.shutdown = triple fault. */
  stepRaw(cpu: number): number;
  /** Forgets all decoded and translated code. */
  dropAllCode(): void;
  readonly core: EngineCore;
}

/** Gets the memory laid out and all fields of the machine block filled. */
export type EngineFactory = (options: {
  memory: WebAssembly.Memory;
  host: EngineHost;
}) => Engine | Promise<Engine>;
