/** A processor in the state in which Unicorn starts a program: flat, unpaged, privilege 0, in 16-, 32- or 64-bit code. */
import {
  Cpu,
  CpuBlock,
  HostDuty,
  Machine,
  MemoryMap,
  Region,
  createEngineAtOnce,
  installCpuModel,
  type EngineHostFunctions,
  type EngineModules,
  type WasmEngine,
} from '@revenant/emulator/processor';

export type CodeBits = 16 | 32 | 64;

export interface ProcessorOptions {
  /** Bytes that can be mapped at most, whole pages up to 3 GiB; the host gives them when they are touched. Default: 1 GiB. */
  memoryBytes?: number;
  /** `interpreter` translates nothing; both give the same results. Default: `translator`. */
  engine?: 'interpreter' | 'translator';
}

/** The modules of the processor, and how the host compiles a translated region. */
export interface ProcessorModules {
  modules: EngineModules;
  compileRegion?: (bytes: Uint8Array<ArrayBuffer>) => WebAssembly.Module;
}

export interface Processor {
  map: MemoryMap;
  engine: WasmEngine;
  block: CpuBlock;
}

const duties =
  HostDuty.events | HostDuty.pages | HostDuty.syscall | HostDuty.sysenter | HostDuty.cpuid | HostDuty.ports;
const cr0 = { pe: 1n, et: 0x10n };
/** OSFXSR and OSXMMEXCPT: SSE can be used at once. */
const cr4Start = 0x600n;
/** LME and LMA: 64-bit code without paging, which no processor has. */
const eferLong = 0x500n;

export function makeProcessor(
  bits: CodeBits,
  { modules, compileRegion }: ProcessorModules,
  { memoryBytes = 2 ** 30, engine: kind = 'translator' }: ProcessorOptions,
  host: EngineHostFunctions,
): Processor {
  const map = new MemoryMap({ ramBytes: memoryBytes, romBytes: 0, vramBytes: 0 });
  const block = new CpuBlock(map.memory, Region.cpuBlocks);
  installCpuModel(map.view, block.address, 'x86-64-v2', { apicId: 0, cpuCount: 1 });
  const engine = createEngineAtOnce({
    modules,
    memory: map.memory,
    host,
    kind,
    ...(compileRegion && { compileRegion }),
  });
  map.view.setUint32(Region.machine + Machine.timeRate, 0x1_0000, true);
  engine.core.resetCpu(block.address);
  // The reset asked CPUID for the model: from here on that is offered to hooks.
  map.view.setUint32(Region.machine + Machine.hostDuties, duties, true);
  block.setWide(Cpu.gpr + 16, 0n);
  block.setWide(Cpu.rip, 0n);
  block.setWide(Cpu.cr0, bits === 16 ? cr0.et : cr0.pe | cr0.et);
  block.setWide(Cpu.cr4, cr4Start);
  block.setWide(Cpu.efer, bits === 64 ? eferLong : 0n);
  block.setWord(Cpu.fcw, 0x37f);
  for (let n = 0; n < 8; n += 4) block.setWord(Cpu.ftags + n, 0x0101_0101);
  block.setWord(Cpu.hostVector, -1);
  return { map, engine, block };
}

/** Attributes of the segments of a mode: present, accessed, privilege 0. */
export function startAttributes(bits: CodeBits, isCode: boolean): number {
  if (bits === 16) return 0x0093;
  if (!isCode) return 0xc093;
  return bits === 64 ? 0xa09b : 0xc09b;
}
