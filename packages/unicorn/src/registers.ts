/**
 * Registers by Unicorn's numbers: where each lies in the processor's block, and how wide it is. Segments, system tables and MSRs, which have
 * more to them than bytes, are in system-registers.ts.
 */
import { Cpu, Segment, SegmentField, segmentBytes } from '@revenant/emulator/processor';
import * as x86 from './generated/x86.ts';

/** Bytes of the processor's block; a 32-bit general register clears the upper half when it is written, as instructions do. */
export interface PlainRegister {
  offset: number;
  bytes: number;
  extend?: boolean;
}

const numbers = x86 as Readonly<Record<string, number>>;

function number(name: string): number {
  const found = numbers[`UC_X86_REG_${name}`];
  if (found === undefined) throw new TypeError(`no register ${name}`);
  return found;
}

/** In the order of the processor's block. */
const general = ['AX', 'CX', 'DX', 'BX', 'SP', 'BP', 'SI', 'DI'] as const;

function* generalRegisters(): Generator<[string, PlainRegister]> {
  for (const [n, name] of general.entries()) {
    const offset = Cpu.gpr + n * 8;
    yield [`R${name}`, { offset, bytes: 8 }];
    yield [`E${name}`, { offset, bytes: 4, extend: true }];
    yield [name, { offset, bytes: 2 }];
    yield [n < 4 ? `${name[0] ?? ''}L` : `${name}L`, { offset, bytes: 1 }];
    if (n < 4) yield [`${name[0] ?? ''}H`, { offset: offset + 1, bytes: 1 }];
  }
  for (let n = 8; n < 16; n++) {
    const offset = Cpu.gpr + n * 8;
    yield [`R${String(n)}`, { offset, bytes: 8 }];
    yield [`R${String(n)}D`, { offset, bytes: 4, extend: true }];
    yield [`R${String(n)}W`, { offset, bytes: 2 }];
    yield [`R${String(n)}B`, { offset, bytes: 1 }];
  }
}

function* otherRegisters(): Generator<[string, PlainRegister]> {
  yield ['RIP', { offset: Cpu.rip, bytes: 8 }];
  yield ['EIP', { offset: Cpu.rip, bytes: 4, extend: true }];
  yield ['IP', { offset: Cpu.rip, bytes: 2, extend: true }];
  for (const n of [0, 2, 3, 4, 8] as const) yield [`CR${String(n)}`, { offset: Cpu[`cr${n}`], bytes: 8 }];
  for (let n = 0; n < 8; n++)
    yield [`DR${String(n)}`, { offset: Cpu.dr + (n === 4 || n === 5 ? n + 2 : n) * 8, bytes: 8 }];
  for (let n = 0; n < 16; n++) yield [`XMM${String(n)}`, { offset: Cpu.xmm + n * 16, bytes: 16 }];
  for (let n = 0; n < 8; n++) {
    yield [`MM${String(n)}`, { offset: Cpu.fpr + n * 16, bytes: 8 }];
    // FP0-7 are the registers themselves, ST0-7 (system-registers.ts) those on the stack.
    yield [`FP${String(n)}`, { offset: Cpu.fpr + n * 16, bytes: 10 }];
  }
  yield ['FPSW', { offset: Cpu.fsw, bytes: 2 }];
  yield ['FPCW', { offset: Cpu.fcw, bytes: 2 }];
  yield ['FIP', { offset: Cpu.fip, bytes: 8 }];
  yield ['FCS', { offset: Cpu.fcs, bytes: 2 }];
  yield ['FDP', { offset: Cpu.fdp, bytes: 8 }];
  yield ['FDS', { offset: Cpu.fds, bytes: 2 }];
  yield ['FOP', { offset: Cpu.fop, bytes: 2 }];
  yield ['MXCSR', { offset: Cpu.mxcsr, bytes: 4 }];
  for (const name of ['FS', 'GS'] as const) {
    const offset = Cpu.segments + Segment[name === 'FS' ? 'fs' : 'gs'] * segmentBytes + SegmentField.base;
    yield [`${name}_BASE`, { offset, bytes: 8 }];
  }
}

/** By UC_X86_REG_ number. */
export const plainRegisters: ReadonlyMap<number, PlainRegister> = new Map(
  [...generalRegisters(), ...otherRegisters()].map(([name, register]) => [number(name), register]),
);

/** By number: the segment's name in the processor's block. */
export const segmentRegisters: ReadonlyMap<number, 'es' | 'cs' | 'ss' | 'ds' | 'fs' | 'gs'> = new Map(
  (['es', 'cs', 'ss', 'ds', 'fs', 'gs'] as const).map((name) => [number(name.toUpperCase()), name]),
);

/** Those whose value is the address of an instruction. */
export const instructionPointers: ReadonlySet<number> = new Set([number('RIP'), number('EIP'), number('IP')]);

/** Flags by width, in bytes. */
export const flagRegisters: ReadonlyMap<number, number> = new Map([
  [number('FLAGS'), 2],
  [number('EFLAGS'), 4],
  [number('RFLAGS'), 8],
]);

/** What other state is worked out from: paging, mode. */
export const controlRegisters: ReadonlySet<number> = new Set(['CR0', 'CR3', 'CR4', 'CR8', 'DR7'].map(number));
