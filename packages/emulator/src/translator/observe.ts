/** What tools are told of each translated region. */
import { Block, Cpu, Machine, ModeKey, Record, Region } from '../cpu/layout.ts';
import type { DecodedBlock } from './decoded.ts';

/** A block of guest code in a region that was translated. */
export interface RegionBlock {
  /** Of its first instruction, when it was translated. */
  rip: bigint;
  /** The guest code, as it was then. */
  bytes: Uint8Array;
  instructions: number;
}

/** A region of guest code that was translated into one function. */
export interface RegionInfo {
  /** Name of its WebAssembly function; no other region of the translator has it. */
  name: string;
  /** RIP of the first entry. */
  rip: bigint;
  /** Size of the code. */
  mode: 16 | 32 | 64;
  /** The first entry and the blocks behind it, then those before it. */
  blocks: RegionBlock[];
  /** Bytes of its WebAssembly. */
  wasmBytes: number;
  /** Instructions that it leaves to the interpreter's handlers. */
  callouts: number;
}

/** Describes a region of blocks of one page, which the running vCPU has just entered. */
export function describeRegion(
  view: DataView,
  blocks: readonly DecodedBlock[],
  made: Pick<RegionInfo, 'name' | 'wasmBytes' | 'callouts'>,
): RegionInfo {
  const header = blocks[0]?.header ?? 0;
  const hostPage = view.getUint32(header + Block.host, true) & ~4095;
  const cpu = view.getUint32(Region.machine + Machine.currentCpu, true);
  const ripPage = view.getBigUint64(cpu + Cpu.ripPage, true);
  const code = view.getInt32(header + Block.key, true) & ModeKey.codeMask;
  const described = blocks.map((block): RegionBlock => ({
    rip: BigInt.asUintN(64, ripPage + BigInt(view.getUint16(block.first + Record.pageOffset, true))),
    bytes: new Uint8Array(view.buffer, hostPage + block.pageOffset, block.end - block.place).slice(),
    instructions: block.instructions.length,
  }));
  return {
    ...made,
    rip: described[0]?.rip ?? 0n,
    mode: code === ModeKey.code64 ? 64 : code === ModeKey.code32 ? 32 : 16,
    blocks: described,
  };
}
