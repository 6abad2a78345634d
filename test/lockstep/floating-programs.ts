/**
 * Random programs of floating-point, SIMD and string instructions, in all states of MXCSR and the x87 control word: loops long
 * enough for translated code, on data with the special values of each format.
 */
import { Cpu } from '../../packages/emulator/src/cpu/layout.ts';
import { Random } from '../native/random.ts';
import type { RowInfo } from '../native/rows.ts';
import { randomExtended, randomMemory, randomVector } from '../native/values.ts';
import { chainSequences, rowsOf, type Program } from './programs.ts';

const floating = /^(F|P[A-Z]|.*(SS|SD|PS|PD)$|CVT|U?COMI|MOV(A|U|D|Q|H|L|NT|MSK)|LDMXCSR|STMXCSR|EMMS)/;
const x87 = /^F/;
const strings = /^(MOVS|STOS|LODS|SCAS|CMPS)/;
const scalar = /^(ADD|SUB|MUL|DIV|SQRT|MIN|MAX|CVT|UCOMI|COMI|CMP)\S*(SS|SD|PS|PD|SI)/;

interface Groups {
  x87: RowInfo[];
  scalar: RowInfo[];
  floating: RowInfo[];
  strings: RowInfo[];
  any: RowInfo[];
}
const groupsOf = (mode: 32 | 64): Groups => {
  const any = rowsOf[mode];
  const of = (pattern: RegExp): RowInfo[] => any.filter((row) => pattern.test(row.mnemonic.toUpperCase()));
  return { any, x87: of(x87), scalar: of(scalar), floating: of(floating), strings: of(strings) };
};
const groups = { 32: groupsOf(32), 64: groupsOf(64) };

function pick(random: Random, mode: 32 | 64, focus: keyof Groups): RowInfo {
  const group = groups[mode];
  const kind = random.below(10);
  if (kind < 6) return random.pick(group[focus]);
  if (kind === 6) return random.pick(group.x87);
  if (kind === 7) return random.pick(group.floating);
  if (kind === 8 && random.chance(0.5)) return random.pick(group.strings);
  return random.pick(random.chance(0.5) ? group.scalar : group.any);
}

function controlWord(random: Random): number {
  if (random.chance(0.6)) return 0x37f;
  if (random.chance(0.5)) return 0x7f | (random.below(16) << 8);
  return random.below(0x1000) | 0x40;
}

function mxcsr(random: Random): number {
  const kind = random.below(10);
  if (kind < 4) return 0x1f80;
  if (kind < 7) return 0x1fa0;
  if (kind < 9)
    return 0x1f80 | random.below(64) | (random.below(4) << 13) | (random.chance(0.3) ? 0x8040 : 0);
  return random.below(0x1_0000);
}

/** The state of the floating-point units as offsets in the vCPU block and the bytes there. */
function state(random: Random): [number, Uint8Array][] {
  const controls = new DataView(new ArrayBuffer(4));
  const word = (value: number): Uint8Array => {
    controls.setUint32(0, value, true);
    return new Uint8Array(controls.buffer.slice(0));
  };
  const registers = new DataView(new ArrayBuffer(128));
  const vectors = new DataView(new ArrayBuffer(256));
  for (let i = 0; i < 8; i++) {
    if (random.chance(0.5)) randomExtended(random, registers, i * 16);
    else {
      registers.setBigUint64(i * 16, random.u64() | (1n << 63n), true);
      registers.setUint16(i * 16 + 8, 0x3fff - 40 + random.below(80) + random.below(2) * 0x8000, true);
    }
  }
  for (let i = 0; i < 16; i++) randomVector(random, vectors, i * 16);
  const full = random.chance(0.7);
  const tags = Uint8Array.from({ length: 8 }, (_, i) => (full ? (i < 5 ? 0 : 1) : random.below(2)));
  return [
    [Cpu.fcw, word(controlWord(random))],
    [Cpu.fsw, word(full ? 0 : random.below(8) << 11)],
    [Cpu.mxcsr, word(mxcsr(random))],
    [Cpu.ftags, tags],
    [Cpu.fpr, new Uint8Array(registers.buffer)],
    [Cpu.xmm, new Uint8Array(vectors.buffer)],
  ];
}

/** The program of a seed. */
export function makeFloatingProgram(seed: number): Program {
  const random = new Random(seed);
  const focus = random.pick<keyof Groups>(['x87', 'scalar', 'floating', 'strings', 'x87', 'scalar']);
  const program = chainSequences(random, (source, mode) => pick(source, mode, focus));
  randomMemory(random, program.data);
  return { ...program, state: state(random) };
}
