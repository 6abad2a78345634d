/** The guest's code as text, where its processor stands or anywhere else. */
import { disassemble, type Disassembled } from '@revenant/emulator';
import type { GuestMemory } from './guest-memory.ts';
import { readAt } from './memory-at.ts';
import { operatingMode } from './registers.ts';

const maxInstructionBytes = 15;

export interface CodeWanted {
  /** Default: where the processor stands. */
  address?: bigint | undefined;
  physical?: boolean;
  /** Default: as the processor is set. */
  bits?: 16 | 32 | 64 | undefined;
  count: number;
}

export interface Code {
  lines: Disassembled[];
  /** Where the processor stands. */
  here: bigint;
}

/** Throws InspectError where there is no memory. */
export async function disassembleAt(memory: GuestMemory, wanted: CodeWanted): Promise<Code> {
  const { cpu } = memory;
  const mode = operatingMode(cpu).bits;
  const here = BigInt.asUintN(64, (mode === 64 ? 0n : cpu.segments.cs.base) + cpu.rip);
  const { address = here, physical = false, count } = wanted;
  const { bytes } = await readAt(memory, { address, length: count * maxInstructionBytes, physical });
  return { lines: [...disassemble(bytes, wanted.bits ?? mode, address, count)], here };
}
