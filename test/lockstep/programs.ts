/**
 * Random programs for the comparison of engines: a loop around random instructions of every row, with jumps, memory operands
 * that now and then leave memory, and stores into the program itself.
 */
import type { Mode } from '../native/case.ts';
import { whyExcluded } from '../native/generate.ts';
import { Random } from '../native/random.ts';
import { allRows, encode } from '../native/rows.ts';
import type { RowInfo } from '../native/rows.ts';

export const codeAddress = 0x10_0000;
export const dataAddress = 0x20_0000;
export const dataBytes = 0x2000;
export const stackTop = 0x30_0000;

const controlRows =
  /^(J|CALL|RET|LOOP|INT|IRET|SYSCALL|SYSENTER|SYSRET|SYSEXIT|HLT|UD|LEAVE|ENTER|BOUND|ICEBP)/;
/** Unprivileged rows without control transfers. */
export const rowsOf: Record<32 | 64, RowInfo[]> = { 32: usable(32), 64: usable(64) };

function usable(mode: Mode): RowInfo[] {
  return allRows().filter(
    (row) =>
      row.modes.includes(mode) &&
      !row.privileged &&
      whyExcluded(row) === undefined &&
      !controlRows.test(row.mnemonic),
  );
}

export interface Program {
  mode: 32 | 64;
  bytes: Uint8Array;
  /** Initial general registers. */
  registers: bigint[];
  data: Uint8Array;
  /** Further initial state: offsets in the vCPU block and the bytes there. */
  state?: [number, Uint8Array][];
  /** Instruction counts at which the engines are compared, ascending. */
  stops: number[];
}

function loopCounter(mode: 32 | 64): number[] {
  // dec dword [0x2ffff0]: in memory, where no random register reaches it often.
  return mode === 64 ? [0xff, 0x0c, 0x25, 0xf0, 0xff, 0x2f, 0x00] : [0xff, 0x0d, 0xf0, 0xff, 0x2f, 0x00];
}

function body(random: Random, mode: 32 | 64): number[][] {
  const rows = rowsOf[mode];
  const parts: number[][] = [];
  const count = random.between(2, 14);
  for (let i = 0; i < count; i++) {
    if (random.chance(0.15)) {
      parts.push([0x70 | random.below(16), 0]); // Jcc, target filled in later
      continue;
    }
    if (random.chance(0.02)) {
      // mov byte [code + n], al: overwrites the program
      const target = codeAddress + random.below(96);
      const address = [target & 0xff, (target >> 8) & 0xff, (target >> 16) & 0xff, 0];
      parts.push(mode === 64 ? [0x88, 0x04, 0x25, ...address] : [0x88, 0x05, ...address]);
      continue;
    }
    const encoded = encode(random.pick(rows), mode, BigInt(codeAddress), random);
    if (encoded !== undefined) parts.push([...encoded.bytes]);
  }
  return parts;
}

/** Random registers: mostly small numbers and addresses of the data area, so that memory operands hit it. */
function registers(random: Random): bigint[] {
  const values = Array.from({ length: 16 }, () => {
    const kind = random.below(10);
    if (kind < 5) return BigInt(dataAddress + random.below(dataBytes));
    if (kind < 8) return BigInt(random.below(16));
    return kind === 8 ? random.u64() : BigInt.asUintN(64, -BigInt(random.below(256)));
  });
  values[4] = BigInt(stackTop - 64 * random.below(16));
  return values;
}

/** The program of a seed. */
export function makeProgram(seed: number): Program {
  const random = new Random(seed);
  const mode = random.chance(0.6) ? 64 : 32;
  const parts = body(random, mode);
  const program = finishProgram(random, mode, parts);
  const data = new Uint8Array(dataBytes);
  for (let i = 0; i < dataBytes; i++) data[i] = random.u32();
  return { ...program, registers: registers(random), data };
}

/** Fills in the targets of jumps and puts the loop around `parts`. */
export function finishProgram(
  random: Random,
  mode: 32 | 64,
  parts: number[][],
): Pick<Program, 'mode' | 'bytes' | 'stops'> {
  const offsets: number[] = [];
  let at = 0;
  for (const part of parts) {
    offsets.push(at);
    at += part.length;
  }
  parts.forEach((part, i) => {
    if (part.length !== 2 || ((part[0] as number) & 0xf0) !== 0x70 || part[1] !== 0) return;
    const target = random.chance(0.8) ? random.between(i + 1, parts.length) : random.below(i + 1);
    const distance = (offsets[target] ?? at) - ((offsets[i] as number) + 2);
    part[1] = distance & 0xff;
  });
  const bytes = [...parts.flat(), ...loopCounter(mode)];
  const back = -(bytes.length + 6);
  bytes.push(
    0x0f,
    0x85,
    back & 0xff,
    (back >> 8) & 0xff,
    (back >> 16) & 0xff,
    (back >> 24) & 0xff,
    0xeb,
    0xfe,
  );
  const stops = Array.from({ length: 4 }, () => random.between(1, 400)).sort((a, b) => a - b);
  return { mode, bytes: Uint8Array.from(bytes), stops: [...new Set(stops)] };
}
