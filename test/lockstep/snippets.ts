/** Pieces of random programs beyond single instructions: each is machine code for one mode, at a known address. */
import type { Random } from '../native/random.ts';
import { aliasEntry, little, Place, type ProgramMode } from './memory-layout.ts';

/** Machine code under construction. Absolute addresses fit into 31 bits. */
export class Assembly {
  readonly mode: ProgramMode;
  readonly bytes: number[] = [];
  readonly base: number;

  constructor(mode: ProgramMode, base: number) {
    this.mode = mode;
    this.base = base;
  }

  get here(): number {
    return this.base + this.bytes.length;
  }

  emit(...bytes: number[]): void {
    this.bytes.push(...bytes);
  }

  /** An instruction with ModRM.reg and a memory operand at an absolute address. */
  absolute(opcode: readonly number[], reg: number, address: number): void {
    this.emit(
      ...opcode,
      ...(this.mode === 64 ? [(reg << 3) | 4, 0x25] : [(reg << 3) | 5]),
      ...little(address),
    );
  }

  /** MOV of a 32-bit number into one of the eight old registers. */
  load(register: number, value: number): void {
    this.emit(0xb8 | register, ...little(value));
  }

  /** A place for a byte or four bytes that name the distance from behind them to a later `here`. */
  forward(bytes: 1 | 4): () => void {
    const at = this.bytes.length;
    this.emit(...Array.from({ length: bytes }, () => 0));
    return () => {
      const distance = this.bytes.length - at - bytes;
      little(distance)
        .slice(0, bytes)
        .forEach((byte, i) => (this.bytes[at + i] = byte));
    };
  }

  /** A relative CALL or JMP (E8, E9) to an address. */
  jump(opcode: 0xe8 | 0xe9, target: number): void {
    this.emit(opcode, ...little(target - (this.here + 5)));
  }
}

const rax = 0;
const rcx = 1;
const rsi = 6;
const rdi = 7;

export type Snippet = (a: Assembly, random: Random, functions: readonly number[]) => void;

/** Stores into the program itself, mostly just ahead. */
const selfModify: Snippet = (a, random) => {
  if (random.chance(0.5)) {
    // The number of a later MOV is changed before it is executed.
    const at = a.here + 7 + (a.mode === 64 ? 1 : 0);
    a.absolute([0x88], random.below(4), at + random.between(1, 4));
    a.load(random.below(4), random.u32() & 0x7fff_ffff);
  } else a.absolute([0x88], rax, Place.code + random.below(Place.codePages * 4096));
};

const call: Snippet = (a, random, functions) => {
  a.jump(0xe8, random.pick(functions));
};

const callIndirect: Snippet = (a, random, functions) => {
  a.load(rax, random.pick(functions));
  if (random.chance(0.5)) a.emit(0xff, 0xd0);
  else {
    a.absolute([0x89], rax, Place.cells + 0x40);
    if (a.mode === 64) {
      a.emit(0x31, 0xc0);
      a.absolute([0x89], rax, Place.cells + 0x44);
    }
    a.absolute([0xff], 2, Place.cells + 0x40);
  }
};

/** JMP through a register over a few bytes. */
const jumpIndirect: Snippet = (a, random) => {
  const skipped = random.below(4);
  a.load(rax, a.here + 7 + skipped);
  a.emit(0xff, 0xe0, ...Array.from({ length: skipped }, () => random.u32() & 0xff));
};

/** Calls a function inside of the program whose return address is moved on, or replaced by PUSH and RET. */
const alteredReturn: Snippet = (a, random) => {
  const skipped = random.between(1, 3);
  if (random.chance(0.5)) {
    a.emit(0x68, ...little(a.here + 6 + skipped), 0xc3);
    a.emit(...Array.from({ length: skipped }, () => random.u32() & 0xff));
    return;
  }
  a.emit(0xe8);
  const toFunction = a.forward(4);
  a.emit(...Array.from({ length: skipped }, () => 0xcc), 0xeb);
  const over = a.forward(1);
  toFunction();
  a.emit(...(a.mode === 64 ? [0x48] : []), 0x83, 0x04, 0x24, skipped); // add [rsp], skipped
  a.emit(...(random.chance(0.3) ? [0xc2, 0, 0] : [0xc3]));
  over();
};

/** A comparison, something that leaves flags alone, and then a use of the flags. */
const lateFlags: Snippet = (a, random) => {
  const [first, second] = [random.below(8), random.below(8)];
  const operation = random.pick([0x38, 0x39, 0x84, 0x85, 0x00, 0x01, 0x28, 0x29, 0x10, 0x11, 0x18, 0x19]);
  a.emit(operation, 0xc0 | (first << 3) | second);
  for (let i = random.below(3); i > 0; i--)
    a.emit(0x8d, 0x40 | (random.below(4) << 3) | random.below(4), random.below(128));
  const use = random.below(5);
  if (use === 0) a.emit(0x0f, 0x90 | random.below(16), 0xc0 | random.below(4));
  else if (use === 1) a.emit(0x0f, 0x40 | random.below(16), 0xc0 | (random.below(4) << 3) | random.below(8));
  else if (use === 2)
    a.emit(0x9c, 0x58 | rax); // pushf, pop
  else if (use === 3)
    a.emit(0x9f); // lahf
  else a.emit(0x83, 0xd0 | random.below(4), 0); // adc
};

/** REP string instructions over the data, sometimes over the edge of a page or of memory, sometimes over code. */
const strings: Snippet = (a, random) => {
  const near = (): number => {
    const kind = random.below(20);
    if (kind === 0) return Place.code + random.below(Place.codePages * 4096);
    if (kind === 1) return Place.data + (Place.dataPages + 1) * 4096 - random.below(40);
    if (kind < 6) return Place.data + 4096 - random.below(64);
    return Place.data + random.below(Place.dataPages * 4096);
  };
  a.load(rsi, near());
  a.load(rdi, near());
  a.load(rcx, random.chance(0.7) ? random.below(12) : random.below(200));
  if (random.chance(0.3)) a.emit(random.chance(0.5) ? 0xfd : 0xfc);
  if (random.chance(0.15)) a.emit(0x66);
  a.emit(random.pick([0xf3, 0xf3, 0xf2]));
  if (a.mode === 64 && random.chance(0.3)) a.emit(0x48);
  a.emit(random.pick([0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf]));
};

/** Other rounding, precision and exception masks for the x87 and SSE. */
const controlWord: Snippet = (a, random) => {
  const word = Place.controlWords + 8 * random.below(32);
  if (random.chance(0.5)) a.absolute([0xd9], 5, word);
  else a.absolute([0x0f, 0xae], 2, word + 4);
};

/** The other page of functions at the alias, with or without INVLPG; then a call there. */
const remap: Snippet = (a, random, functions) => {
  const offset = (random.pick(functions) - Place.functions) & 0xfff;
  a.absolute([0xc7], 0, aliasEntry(a.mode));
  a.emit(...little((Place.functions + 4096 * random.below(2)) | 3));
  a.absolute([0x0f, 0x01], 7, Place.alias);
  a.jump(0xe8, Place.alias + offset);
};

/** INT, INT3, UD2. */
const trap: Snippet = (a, random) => {
  a.emit(...random.pick([[0xcc], [0xcd, random.below(32)], [0x0f, 0x0b]]));
};

/** Snippets with their weights. */
export const snippets: readonly (readonly [number, Snippet])[] = [
  [4, selfModify],
  [5, call],
  [3, callIndirect],
  [4, jumpIndirect],
  [4, alteredReturn],
  [10, lateFlags],
  [7, strings],
  [5, controlWord],
  [3, remap],
  [1, trap],
];
