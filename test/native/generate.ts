/** Fills a case for a row: instruction bytes, registers, flags, x87 and SSE state, memory, addresses that hit the windows. */
import { type Instruction, InstructionInfoFactory, Register, RegisterExt, type UsedMemory } from 'iced-x86';
import { type Case, type Mode, optionTrapFlag, Place, segmentBase } from './case.ts';
import type { Host } from './processors.ts';
import { seedFor, Random } from './random.ts';
import { encode, type Encoded, type RowInfo } from './rows.ts';
import { randomExtended, randomInteger, randomMemory, randomVector } from './values.ts';

/** What can't be compared in user mode, and why. */
const excluded: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries({
    'enters the kernel': 'SYSCALL SYSENTER INT INTO INT3 INT1 UD0 UD1',
    'privileged with effects of its own in the system tests':
      'SYSRET SYSRETQ SYSEXIT SYSEXITQ IRET IRETD IRETQ RSM',
    'depends on descriptor tables': 'LAR LSL VERR VERW LDS LES LFS LGS LSS RETF RETFQ',
    'answers differ between processors by design': 'CPUID RDTSC RDTSCP RDPMC RDRAND RDSEED XGETBV',
    'the kernel answers for the processor (UMIP)': 'SGDT SIDT SLDT STR SMSW',
    'state areas with components beyond the level':
      'XSAVE XSAVE64 XRSTOR XRSTOR64 XSETBV XSAVEOPT XSAVEOPT64 XSAVEC XSAVEC64',
    'depends on permission maps': 'IN OUT INSB INSW INSD OUTSB OUTSW OUTSD',
  }).flatMap(([reason, names]) => names.split(' ').map((name) => [name, reason])),
);

/** Reason why the row is not compared natively, or undefined. */
export function whyExcluded(row: RowInfo, host: Host): string | undefined {
  if (excluded[row.mnemonic] !== undefined) return excluded[row.mnemonic];
  if (!row.modes.some((mode) => host.system.modes.includes(mode))) return 'in no mode that the system runs';
  if (row.newer && !host.system.newer) return 'the processor lacks instructions of its level';
  if (/^(Jmp|Call)_(ptr|m1616|m1632|m1664)/.test(row.name)) return 'depends on descriptor tables';
  if (/^(Mov_Sreg_|Pop[wdq]_[C-GS]S)/.test(row.name)) return 'depends on descriptor tables';
  if (row.name.startsWith('Reservednop_') && row.name.endsWith('0F0D') && !host.agrees('prefetchRegister'))
    return 'undefined on AMD, no operation on Intel';
  return undefined;
}

/** Encodings that makers decode differently: left out unless the host is known to decode them as the emulated processor does. */
function dependsOnMaker(mode: Mode, row: RowInfo, bytes: Uint8Array, host: Host): boolean {
  if (!/^(J|CALL|RET|LOOP)/.test(row.mnemonic)) return false;
  const prefixes = bytes.subarray(0, bytes.indexOf(row.opcode[0] as number));
  // Repeat prefixes are reserved there (SDM Vol. 2, 2.1.1); on AMD's processors they choose the ZF that LOOPcc waits for.
  const repeated = prefixes.includes(0xf2) || prefixes.includes(0xf3);
  if (repeated && /^LOOPN?E/.test(row.mnemonic) && !host.agrees('repeatedLoop')) return true;
  // AMD's processors take 16 bits of the target, Intel's ignore the prefix.
  return mode === 64 && prefixes.includes(0x66) && !host.agrees('shortBranch');
}

/** Rows in which TF can be seen, or whose single-step trap comes late; a following INT3 ends them. */
function needsBreakpoint(row: RowInfo, instruction: Instruction): boolean {
  return (
    // Under TF a gather that has loaded a lane ends in the trap instead of in a fault of a later lane.
    /^(PUSHF|POPF|VP?GATHER)/.test(row.mnemonic) ||
    (instruction.isStringInstruction && (instruction.hasRepPrefix || instruction.hasRepnePrefix))
  );
}

const factory = new InstructionInfoFactory();

interface Target {
  segmentBase: number;
  addressSize: 16 | 32 | 64;
  linear: number;
}

/** Where a memory operand shall lie: mostly in window A, sometimes at the edge of the mapped pages or outside. */
function chooseLinear(random: Random, mode: Mode, segment: number, aligned: boolean): number {
  const kind = random.below(40);
  if (mode === 16 && segment === 2)
    return Place.windowS + 64 + (random.below(Place.windowSBytes - 160) & (aligned ? ~15 : ~0));
  if (kind === 0 && mode !== 16) return Place.readOnly + random.below(4000);
  if (kind < 3)
    return Place.windowB + Place.windowBBytes - (aligned ? 16 : 1) * random.between(0, aligned ? 4 : 24);
  if (kind === 3 && mode !== 16) return Place.data - random.between(0, 12);
  if (kind < 8) return 0x20_1000 - (aligned ? 16 * random.below(2) : random.below(16));
  const offset = 128 + random.below(Place.windowABytes - 256);
  return Place.windowA + (aligned ? offset & ~15 : offset & (random.chance(0.5) ? ~7 : ~0));
}

const segmentOrder: Partial<Record<Register, number>> = {
  [Register.ES]: 0,
  [Register.CS]: 1,
  [Register.SS]: 2,
  [Register.DS]: 3,
  [Register.FS]: 4,
  [Register.GS]: 5,
};

function registerBits(register: Register): 16 | 32 | 64 {
  return (RegisterExt.size(register) * 8) as 16 | 32 | 64;
}

/** Number of the general-purpose register that holds `register`. */
export function gprNumber(register: Register): number {
  return RegisterExt.fullRegister(register) - Register.RAX;
}

function setRegister(c: Case, register: Register, value: bigint): void {
  const index = gprNumber(register);
  const bits = registerBits(register);
  const mask = (1n << BigInt(bits)) - 1n;
  c.setGpr(index, (c.gpr(index) & ~mask) | (BigInt.asUintN(64, value) & mask));
}

/** Gives base and index registers values such that the access begins at `target.linear`. */
function solve(c: Case, memory: UsedMemory, target: Target, random: Random, fixed: Set<number>): void {
  const base = memory.base;
  const index = memory.index;
  const scale = BigInt(memory.scale);
  let offset = BigInt(target.linear - target.segmentBase) - BigInt.asIntN(64, memory.displacement);
  const isGpr = (register: Register): boolean => register !== Register.None && RegisterExt.isGPR(register);
  if (isGpr(base) && isGpr(index) && gprNumber(base) === gprNumber(index)) {
    setRegister(c, base, offset / (scale + 1n));
    return;
  }
  if (isGpr(index)) {
    if (!isGpr(base)) {
      setRegister(c, index, offset / scale);
      return;
    }
    if (!fixed.has(gprNumber(index)))
      setRegister(c, index, random.chance(0.3) ? random.u64() : BigInt(random.between(-40, 40)));
    const bits = BigInt(registerBits(index));
    offset -= BigInt.asIntN(Number(bits), c.gpr(gprNumber(index))) * scale;
  }
  if (isGpr(base)) setRegister(c, base, offset);
}

function targetFor(c: Case, memory: UsedMemory, row: RowInfo, random: Random): Target {
  const segment = segmentOrder[memory.segment] ?? 3;
  const baseAddress = segmentBase(c.mode, segment);
  // Packed SSE operands must lie at multiples of 16: usually they do here.
  const vector = /[xy]mm/.test(row.text) || /XSAVE|XRSTOR/.test(row.mnemonic);
  const stack = memory.base !== Register.None && gprNumber(memory.base) === 4 && segment === 2;
  let linear = chooseLinear(random, c.mode, segment, vector && random.chance(0.8));
  if (stack && random.chance(0.95))
    linear = Place.windowS + 320 + (random.chance(0.8) ? -8 * random.below(8) : random.below(24));
  if (/^FX(SAVE|RSTOR)/.test(row.mnemonic)) linear = random.chance(0.95) ? Place.windowA + 128 : linear;
  if (/^F(N?SAVE|N?STENV|LDENV|RSTOR)/.test(row.mnemonic) && random.chance(0.9))
    linear = Place.windowA + 100 + random.below(300);
  if (row.mnemonic === 'CMPXCHG16B' && random.chance(0.9)) linear &= ~15;
  const bits =
    memory.base !== Register.None && RegisterExt.isGPR(memory.base) ? registerBits(memory.base) : undefined;
  const index = memory.index !== Register.None ? registerBits(memory.index) : undefined;
  return { segmentBase: baseAddress, addressSize: bits ?? index ?? c.mode, linear };
}

/** Rewrites the displacement of an operand that has no register to choose. */
function patchDisplacement(encoded: Encoded, ip: number, target: Target): void {
  if (encoded.displacementSize === 0 || encoded.displacementSize === 1) return;
  const relative = encoded.instruction.isIpRelMemoryOperand;
  const next = ip + encoded.bytes.length;
  const value = relative ? target.linear - target.segmentBase - next : target.linear - target.segmentBase;
  for (let i = 0; i < encoded.displacementSize; i++) {
    encoded.bytes[encoded.displacementOffset + i] = i < 4 ? (value >> (8 * i)) & 0xff : value < 0 ? 0xff : 0;
  }
}

/**
 * Chooses addresses of the instruction at `ip`: registers of `c` are set (those in `fixed` are kept, new ones are added), or the
 * displacement in `encoded.bytes` is patched.
 */
export function placeMemory(
  c: Case,
  row: RowInfo,
  encoded: Encoded,
  ip: number,
  random: Random,
  fixed = new Set<number>(),
): void {
  const instruction = encoded.instruction;
  const info = factory.info(instruction);
  for (const memory of info.usedMemory() as UsedMemory[]) {
    const target = targetFor(c, memory, row, random);
    const noRegister = memory.base === Register.None && memory.index === Register.None;
    if (noRegister || instruction.isIpRelMemoryOperand) patchDisplacement(encoded, ip, target);
    else {
      const holder = memory.base !== Register.None ? memory.base : memory.index;
      if (RegisterExt.isGPR(holder) && !fixed.has(gprNumber(holder))) {
        if (random.chance(0.985)) solve(c, memory, target, random, fixed);
        fixed.add(gprNumber(holder));
      }
    }
    memory.free();
  }
  info.free();
}

/** Values that particular instructions need in order to do more than fault. */
function adjust(c: Case, row: RowInfo, instruction: Instruction, random: Random): void {
  if (instruction.hasRepPrefix || instruction.hasRepnePrefix) {
    const count = BigInt(random.pick([0, 1, 2, 3, random.below(13)]));
    setRegister(
      c,
      row.addressSize === 16 ? Register.CX : row.addressSize === 32 ? Register.ECX : Register.RCX,
      count,
    );
    if (row.addressSize === 0) c.setGpr(1, count);
  }
  if (/^BT[SRC]?$/.test(row.mnemonic) && /r(16|32|64)$/.test(row.text) && random.chance(0.95)) {
    // The bit offset moves the access: keep it in the window.
    const register = instruction.op1Register;
    if (
      instruction.memoryBase === Register.None ||
      gprNumber(instruction.memoryBase) !== gprNumber(register)
    ) {
      if (
        instruction.memoryIndex === Register.None ||
        gprNumber(instruction.memoryIndex) !== gprNumber(register)
      ) {
        setRegister(c, register, BigInt(random.between(-700, 700)));
      }
    }
  }
  if (/^(DIV|IDIV)$/.test(row.mnemonic) && random.chance(0.7)) {
    c.setGpr(2, random.chance(0.5) ? BigInt(random.below(16)) : random.chance(0.5) ? -1n : 0n);
  }
  if (row.mnemonic === 'ENTER' && random.chance(0.9)) {
    const at = c.code.length - 3;
    c.code[at] = random.below(64);
    c.code[at + 1] = 0;
    if (random.chance(0.7)) c.code[at + 2] = random.below(4);
  }
}

function fillFloatingPoint(c: Case, random: Random): void {
  const view = new DataView(c.fxsave.buffer, c.fxsave.byteOffset, 512);
  const masks = random.chance(0.85) ? 0x3f : random.below(64);
  const control = masks | 0x40 | (random.pick([0, 2, 3, 3, 3]) << 8) | (random.below(4) << 10);
  const flags = random.chance(0.5) ? 0 : random.below(128);
  const pending = (flags & ~masks & 0x3f) !== 0 && random.chance(0.9) ? flags & masks : flags;
  const summary = (pending & ~masks & 0x3f) !== 0 ? 0x8080 : 0;
  const top = random.below(8);
  const conditions = random.chance(0.5) ? random.u32() & 0x4700 : 0;
  view.setUint16(0, control, true);
  view.setUint16(2, (pending & 0x7f) | summary | (top << 11) | conditions, true);
  view.setUint8(4, random.chance(0.8) ? 0xff : random.chance(0.2) ? 0 : random.below(256));
  view.setUint32(24, mxcsr(random), true);
  for (let i = 0; i < 8; i++) {
    randomExtended(random, view, 32 + 16 * i);
    if (random.chance(0.1)) view.setUint16(32 + 16 * i + 8, 0xffff, true);
  }
  for (let i = 0; i < 16; i++) randomVector(random, view, 160 + 16 * i);
  const uppers = new DataView(c.uppers.buffer, c.uppers.byteOffset, 256);
  for (let i = 0; i < 16; i++) randomVector(random, uppers, 16 * i);
}

function mxcsr(random: Random): number {
  const masks = random.chance(0.85) ? 0x1f80 : (random.below(64) << 7) & 0x1f80;
  const modes = (random.chance(0.15) ? 0x8000 : 0) | (random.chance(0.15) ? 0x40 : 0);
  return (
    masks |
    modes |
    (random.chance(0.5) ? random.below(4) << 13 : 0) |
    (random.chance(0.5) ? random.below(64) : 0)
  );
}

export const usesFloatingPoint = /mm|VZERO|st\(|m32fp|m64fp|m80|^F|MXCSR|EMMS/i;

/** Registers, flags and memory at random; x87 and SSE state when `floatingPoint`. */
export function fillState(c: Case, floatingPoint: boolean, random: Random): void {
  for (let i = 0; i < 16; i++) randomInteger(random, c.view, 32 + 8 * i);
  c.setGpr(4, BigInt(c.mode === 16 ? 0x800 : Place.stack + 0x800) - BigInt(random.below(8) * 8));
  c.setGpr(5, BigInt((c.mode === 16 ? 0x800 : Place.stack + 0x800) + random.below(64)));
  if (c.mode !== 64) {
    for (let i = 0; i < 8; i++) c.setGpr(i, c.gpr(i) & 0xffff_ffffn);
    for (let i = 8; i < 16; i++) c.setGpr(i, 0n);
  }
  c.rflags = 0x202 | (random.u32() & 0x8d5) | (random.chance(0.2) ? 0x400 : 0);
  if (floatingPoint) fillFloatingPoint(c, random);
  else {
    const view = new DataView(c.fxsave.buffer, c.fxsave.byteOffset, 512);
    view.setUint16(0, 0x37f, true);
    view.setUint32(24, 0x1f80, true);
  }
  randomMemory(random, c.windowA);
  randomMemory(random, c.windowB);
  randomMemory(random, c.windowS);
}

/** Whether the host's system lets a program begin in the state of `c`. */
export function canEnter(c: Case, { system }: Host): boolean {
  const stack = c.gpr(4);
  return system.anyStackPointer || BigInt.asIntN(48, stack) === BigInt.asIntN(64, stack);
}

function chooseCodeOffset(random: Random): number {
  const kind = random.below(50);
  if (kind === 0) return Place.codeBytes - random.between(1, 14);
  if (kind < 6) return 0x1000 - random.between(0, 14);
  return 0x10 + random.below(0xfc0);
}

/**
 * Fills `c` with case number `index` of a row; the same (seed, row, index) gives the same case. Returns false when no valid
 * encoding was found.
 */
export function generate(c: Case, row: RowInfo, seed: number, index: number, host: Host): boolean {
  const random = new Random(seedFor(seed, `${row.name}#${index}`));
  c.bytes.fill(0);
  c.mode = random.pick(row.modes);
  if (!host.system.modes.includes(c.mode)) return false;
  c.codeOffset = chooseCodeOffset(random);
  const encoded = encode(row, c.mode, c.startRip, random);
  if (encoded === undefined || dependsOnMaker(c.mode, row, encoded.bytes, host)) return false;
  c.code = encoded.bytes;
  fillState(c, usesFloatingPoint.test(row.text), random);
  adjust(c, row, encoded.instruction, random);
  placeMemory(c, row, { ...encoded, bytes: c.code }, Number(c.startRip), random);
  // An INT3 behind the instruction needs room; TF does not.
  c.options = needsBreakpoint(row, encoded.instruction) ? 0 : optionTrapFlag;
  if (c.options === 0 && c.codeOffset + c.code.length >= Place.codeBytes) c.codeOffset = 0x10;
  return canEnter(c, host);
}
