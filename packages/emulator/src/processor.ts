/**
 * The processor alone, without a machine around it: for who runs programs rather than systems (packages/unicorn). What lies where in its memory
 * is in cpu/layout.ts; Machine.hostDuties says which duties of a system the host has.
 */
export {
  AccessKind,
  Block,
  Cpu,
  Debug,
  EventKind,
  ExitReason,
  HostDuty,
  Machine,
  PhysicalPage,
  Record,
  Region,
  Segment,
  SegmentField,
  Vector,
  Watchpoint,
  hostFaultVector,
  pageBytes,
  segmentBytes,
} from './cpu/layout.ts';
export { installCpuModel, type CpuModelName } from './cpu/cpuid-models.ts';
export { createEngineAtOnce } from './engine/engine.ts';
export type { EngineHostFunctions, EngineModules, WasmEngine } from './engine/engine.ts';
export { CpuBlock, type CpuState } from './machine/cpu-state.ts';
export { MemoryMap } from './machine/memory-map.ts';
