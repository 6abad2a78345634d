/** Puts a boot plan's processor state (boot/plan.ts) into a vCPU block. */
import { Cpu } from '../cpu/layout.ts';
import type { BootCpuState, BootSegment } from '../boot/plan.ts';
import { gprNames } from '../cpu/registers.ts';
import { type CpuBlock, type SegmentName, type SegmentState } from './cpu-state.ts';

const Attribute = { writable: 2, expandDown: 4, code: 8, big: 0x4000 } as const;

/** The hidden part that a descriptor with these contents gives. */
export function segmentState({ selector, base, limit, attributes }: BootSegment): SegmentState {
  const code = (attributes & Attribute.code) !== 0;
  const expandDown = !code && (attributes & Attribute.expandDown) !== 0;
  const end = expandDown ? (attributes & Attribute.big ? 0x1_0000_0000n : 0x1_0000n) : BigInt(limit) + 1n;
  const readable = !code || (attributes & Attribute.writable) !== 0;
  const writable = !code && (attributes & Attribute.writable) !== 0;
  return {
    selector,
    base: BigInt(base),
    limit,
    attributes,
    limitMin: expandDown ? BigInt(limit) + 1n : 0n,
    readEnd: readable ? end : -1n,
    writeEnd: writable ? end : -1n,
    unusable: 0,
  };
}

/** Differences from the power-on state; the core must work out its cached state afterwards. */
export function applyBootState(cpu: CpuBlock, state: BootCpuState): void {
  cpu.setWide(Cpu.rip, BigInt(state.rip));
  gprNames.forEach((name, n) => {
    const value = state.gpr[name];
    if (value !== undefined) cpu.setWide(Cpu.gpr + n * 8, BigInt(value));
  });
  for (const [name, segment] of Object.entries(state.segments))
    cpu.setSegment(name as SegmentName, segmentState(segment));
  if (state.cr0 !== undefined) cpu.setWide(Cpu.cr0, BigInt(state.cr0));
  if (state.cr3 !== undefined) cpu.setWide(Cpu.cr3, BigInt(state.cr3));
  if (state.cr4 !== undefined) cpu.setWide(Cpu.cr4, BigInt(state.cr4));
  if (state.efer !== undefined) cpu.setWide(Cpu.efer, BigInt(state.efer));
  if (state.gdtr !== undefined) {
    cpu.setWide(Cpu.gdtrBase, BigInt(state.gdtr.base));
    cpu.setWord(Cpu.gdtrLimit, state.gdtr.limit);
  }
  if (state.idtr !== undefined) {
    cpu.setWide(Cpu.idtrBase, BigInt(state.idtr.base));
    cpu.setWord(Cpu.idtrLimit, state.idtr.limit);
  }
}
