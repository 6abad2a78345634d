/**
 * A processor's registers as gdb counts them ("Debugging with GDB", G.5.4 i386 features), by target description. The standard features
 * come first, in gdb's own order, so that a gdb that was given no description agrees with us; behind them what only a system has.
 */
import type { CpuState, GprName, Machine } from '@revenant/emulator';
import { tagWord, withTagWord } from './tag-word.ts';

type SegmentName = keyof CpuState['segments'];
export type TargetArch = 'i8086' | 'i386' | 'x86-64';

export interface Register {
  name: string;
  bits: number;
  type: string;
  group?: string;
  get: (cpu: CpuState, machine: Machine) => bigint | Uint8Array;
  /** Absent: it can't be changed. */
  set?: (cpu: CpuState, value: bigint, bytes: Uint8Array) => Partial<CpuState>;
}

type Numeric = {
  [K in keyof CpuState]: CpuState[K] extends bigint ? K : never;
}[keyof CpuState];
type Word = { [K in keyof CpuState]: CpuState[K] extends number ? K : never }[keyof CpuState];

const signed = (value: bigint): bigint => BigInt.asIntN(64, value);

/** A 64-bit field, shown with `bits`. */
function wide(
  field: Numeric,
  bits: number,
  more: { name?: string; type?: string; group?: string } = {},
): Register {
  const { name = field, type = `int${bits}`, group } = more;
  return {
    name,
    bits,
    type,
    ...(group === undefined ? {} : { group }),
    get: (cpu) => cpu[field],
    set: (cpu, value) => ({
      [field]: signed(bits === 64 ? value : (BigInt.asUintN(64, cpu[field]) & ~0xffff_ffffn) | value),
    }),
  };
}

function word(field: Word, more: { name?: string; type?: string; group?: string } = {}): Register {
  const { name = field, type = 'int', group } = more;
  return {
    name,
    bits: 32,
    type,
    ...(group === undefined ? {} : { group }),
    get: (cpu) => BigInt(cpu[field] >>> 0),
    set: (cpu, value) => ({ [field]: Number(value) }),
  };
}

/** The description that fits what the processor executes now: of a 64-bit processor in 32-bit code, that of what it will come to. */
export function archOf(cpu: CpuState, canLongMode: boolean): TargetArch {
  if ((cpu.efer & 0x400n) !== 0n) return 'x86-64';
  if ((cpu.segments.cs.attributes & 0x4000) === 0) return 'i8086';
  return canLongMode ? 'x86-64' : 'i386';
}

/** Base of CS where it counts: outside of 64-bit code. */
export function codeBase(cpu: CpuState): bigint {
  const { cs } = cpu.segments;
  const is64 = (cpu.efer & 0x400n) !== 0n && (cs.attributes & 0x2000) !== 0;
  return is64 ? 0n : cs.base;
}

/** The linear address of the next instruction. */
export function linearRip(cpu: CpuState): bigint {
  const base = codeBase(cpu);
  return base === 0n ? BigInt.asUintN(64, cpu.rip) : (cpu.rip + base) & 0xffff_ffffn;
}

/**
 * gdb knows linear addresses only: breakpoints, `x/i $pc` and where a stop falls must be one thing. So its pc is linear; the offset in CS, which
 * differs only where CS has a base, is the register `ip`.
 */
function programCounter(name: string, bits: number): Register {
  return {
    name,
    bits,
    type: 'code_ptr',
    get: linearRip,
    set: (cpu, value) => {
      const base = codeBase(cpu);
      return { rip: base === 0n ? signed(value) : (value - base) & 0xffff_ffffn };
    },
  };
}

/** In real mode a selector is a paragraph; elsewhere loading one means reading a descriptor, which is the guest's affair. */
function selector(name: SegmentName): Register {
  return {
    name,
    bits: 32,
    type: 'int',
    get: (cpu) => BigInt(cpu.segments[name].selector),
    set: (cpu, value) => {
      const chosen = Number(value & 0xffffn);
      if ((cpu.cr0 & 1n) !== 0n && chosen !== cpu.segments[name].selector)
        throw new RangeError('a selector can be changed in real mode only');
      const base = (cpu.cr0 & 1n) !== 0n ? cpu.segments[name].base : BigInt(chosen * 16);
      return { segments: { ...cpu.segments, [name]: { ...cpu.segments[name], selector: chosen, base } } };
    },
  };
}

function part(bytes: Uint8Array, at: number, value: Uint8Array): Uint8Array {
  const copy = bytes.slice();
  copy.set(value, at);
  return copy;
}

/** ST(n) moves with TOP; the state keeps registers by physical number. */
function stack(n: number): Register {
  const at = (cpu: CpuState): number => (((cpu.fsw >> 11) + n) & 7) * 16;
  return {
    name: `st${n}`,
    bits: 80,
    type: 'i387_ext',
    group: 'float',
    get: (cpu) => cpu.fpr.slice(at(cpu), at(cpu) + 10),
    set: (cpu, _value, bytes) => ({ fpr: part(cpu.fpr, at(cpu), bytes) }),
  };
}

function vector(n: number): Register {
  return {
    name: `xmm${n}`,
    bits: 128,
    type: 'vec128',
    group: 'vector',
    get: (cpu) => cpu.xmm.slice(n * 16, n * 16 + 16),
    set: (cpu, _value, bytes) => ({ xmm: part(cpu.xmm, n * 16, bytes) }),
  };
}

/** The upper half of a YMM register; gdb puts the halves together. */
function upperHalf(n: number): Register {
  return {
    name: `ymm${n}h`,
    bits: 128,
    type: 'uint128',
    get: (cpu) => cpu.ymmHigh.slice(n * 16, n * 16 + 16),
    set: (cpu, _value, bytes) => ({ ymmHigh: part(cpu.ymmHigh, n * 16, bytes) }),
  };
}

/** Low or high half of the last instruction's and operand's address. */
function pointer(
  name: string,
  field: 'fip' | 'fdp',
  segment: 'fcs' | 'fds',
  high: boolean,
  is64: boolean,
): Register {
  return {
    name,
    bits: 32,
    type: 'int',
    group: 'float',
    get: (cpu) => {
      const offset = BigInt.asUintN(64, cpu[field]);
      if (!high) return offset & 0xffff_ffffn;
      return is64 ? offset >> 32n : BigInt(cpu[segment]);
    },
  };
}

const gprs = {
  64: [
    'rax',
    'rbx',
    'rcx',
    'rdx',
    'rsi',
    'rdi',
    'rbp',
    'rsp',
    'r8',
    'r9',
    'r10',
    'r11',
    'r12',
    'r13',
    'r14',
    'r15',
  ],
  32: ['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi'],
} as const satisfies Record<number, readonly GprName[]>;
const selectors = ['cs', 'ss', 'ds', 'es', 'fs', 'gs'] as const;
const pointers = new Set<GprName>(['rbp', 'rsp']);

function coreRegisters(bits: 32 | 64): Register[] {
  const name = (register: GprName): string => (bits === 64 ? register : register.replace('r', 'e'));
  const is64 = bits === 64;
  return [
    ...gprs[bits].map((register) =>
      wide(register, bits, {
        name: name(register),
        type: pointers.has(register) ? 'data_ptr' : `int${bits}`,
        group: 'general',
      }),
    ),
    programCounter(is64 ? 'rip' : 'eip', bits),
    word('eflags', { type: 'i386_eflags' }),
    ...selectors.map(selector),
    ...Array.from({ length: 8 }, (_, n) => stack(n)),
    word('fcw', { name: 'fctrl', group: 'float' }),
    word('fsw', { name: 'fstat', group: 'float' }),
    {
      name: 'ftag',
      bits: 32,
      type: 'int',
      group: 'float',
      get: (cpu) => BigInt(tagWord(cpu)),
      set: (_cpu, value) => ({ ftags: withTagWord(Number(value)) }),
    },
    pointer('fiseg', 'fip', 'fcs', true, is64),
    pointer('fioff', 'fip', 'fcs', false, is64),
    pointer('foseg', 'fdp', 'fds', true, is64),
    pointer('fooff', 'fdp', 'fds', false, is64),
    word('fop', { group: 'float' }),
  ];
}

function base(name: 'fs' | 'gs', bits: 32 | 64): Register {
  return {
    name: `${name}_base`,
    bits,
    type: `int${bits}`,
    get: (cpu) => cpu.segments[name].base,
    set: (cpu, value) => ({
      segments: { ...cpu.segments, [name]: { ...cpu.segments[name], base: signed(value) } },
    }),
  };
}

function readOnly(name: string, group: string, get: Register['get'], bits = 64): Register {
  return { name, bits, type: `uint${bits}`, group, get };
}

const hiddenParts = (['es', 'cs', 'ss', 'ds', 'fs', 'gs', 'ldtr', 'tr'] as const).flatMap(
  (name): Register[] => [
    ...(name === 'ldtr' || name === 'tr'
      ? [readOnly(name, 'segment', (cpu) => BigInt(cpu.segments[name].selector), 32)]
      : []),
    ...(name === 'fs' || name === 'gs'
      ? []
      : [readOnly(`${name}_base`, 'segment', (cpu) => cpu.segments[name].base)]),
    readOnly(`${name}_limit`, 'segment', (cpu) => BigInt(cpu.segments[name].limit), 32),
    readOnly(`${name}_attributes`, 'segment', (cpu) => BigInt(cpu.segments[name].attributes), 32),
  ],
);

const control = (['cr0', 'cr2', 'cr3', 'cr4', 'cr8', 'efer', 'xcr0'] as const).map((name) =>
  wide(name, 64, { type: 'uint64', group: 'control' }),
);
const debug = (['dr0', 'dr1', 'dr2', 'dr3', 'dr6', 'dr7'] as const).map((name) =>
  wide(name, 64, { type: 'uint64', group: 'debug' }),
);
const msrs = (
  [
    'star',
    'lstar',
    'cstar',
    'sfmask',
    'sysenterCs',
    'sysenterEsp',
    'sysenterEip',
    'pat',
    'apicBase',
    'tscAux',
    'miscEnable',
  ] as const
).map((name) =>
  wide(name, 64, {
    name: `msr_${name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`,
    type: 'uint64',
    group: 'msr',
  }),
);

const system: Register[] = [
  wide('kernelGsBase', 64, { name: 'k_gs_base', type: 'uint64', group: 'msr' }),
  ...control,
  ...debug,
  ...hiddenParts,
  readOnly('gdtr_base', 'segment', (cpu) => cpu.gdtrBase),
  readOnly('gdtr_limit', 'segment', (cpu) => BigInt(cpu.gdtrLimit), 32),
  readOnly('idtr_base', 'segment', (cpu) => cpu.idtrBase),
  readOnly('idtr_limit', 'segment', (cpu) => BigInt(cpu.idtrLimit), 32),
  ...msrs,
  readOnly('ip', 'general', (cpu) => cpu.rip),
  readOnly('instructions', 'time', (_cpu, machine) => machine.instructions),
  readOnly('time_ns', 'time', (_cpu, machine) => machine.timeNs),
];

export interface Feature {
  name: string;
  registers: Register[];
}

function featuresOf(arch: TargetArch, avx: boolean): Feature[] {
  const bits = arch === 'x86-64' ? 64 : 32;
  const numbers = Array.from({ length: bits === 64 ? 16 : 8 }, (_, n) => n);
  return [
    { name: 'org.gnu.gdb.i386.core', registers: coreRegisters(bits) },
    {
      name: 'org.gnu.gdb.i386.sse',
      registers: [...numbers.map(vector), word('mxcsr', { type: 'i386_mxcsr', group: 'vector' })],
    },
    ...(bits === 64
      ? [{ name: 'org.gnu.gdb.i386.segments', registers: [base('fs', 64), base('gs', 64)] }]
      : []),
    ...(avx ? [{ name: 'org.gnu.gdb.i386.avx', registers: numbers.map(upperHalf) }] : []),
    {
      name: 'revenant.i386.system',
      registers: bits === 64 ? system : [base('fs', 32), base('gs', 32), ...system],
    },
  ];
}

// prettier-ignore
const eflagsBits: [string, number, number][] = [
  ['CF', 0, 0], ['', 1, 1], ['PF', 2, 2], ['AF', 4, 4], ['ZF', 6, 6], ['SF', 7, 7], ['TF', 8, 8], ['IF', 9, 9], ['DF', 10, 10], ['OF', 11, 11],
  ['IOPL', 12, 13], ['NT', 14, 14], ['RF', 16, 16], ['VM', 17, 17], ['AC', 18, 18], ['VIF', 19, 19], ['VIP', 20, 20], ['ID', 21, 21],
];
// prettier-ignore
const mxcsrBits: [string, number, number][] = [
  ['IE', 0, 0], ['DE', 1, 1], ['ZE', 2, 2], ['OE', 3, 3], ['UE', 4, 4], ['PE', 5, 5], ['DAZ', 6, 6], ['IM', 7, 7], ['DM', 8, 8],
  ['ZM', 9, 9], ['OM', 10, 10], ['UM', 11, 11], ['PM', 12, 12], ['RC', 13, 14], ['FZ', 15, 15],
];

function flagsType(id: string, bits: readonly [string, number, number][]): string {
  const fields = bits
    .filter(([name]) => name !== '')
    .map(([name, start, end]) => `<field name="${name}" start="${start}" end="${end}"/>`);
  return `<flags id="${id}" size="4">${fields.join('')}</flags>`;
}

const vectorTypes =
  '<vector id="v4f" type="ieee_single" count="4"/><vector id="v2d" type="ieee_double" count="2"/>' +
  '<vector id="v16i8" type="int8" count="16"/><vector id="v8i16" type="int16" count="8"/><vector id="v4i32" type="int32" count="4"/>' +
  '<vector id="v2i64" type="int64" count="2"/><union id="vec128"><field name="v4_float" type="v4f"/><field name="v2_double" type="v2d"/>' +
  '<field name="v16_int8" type="v16i8"/><field name="v8_int16" type="v8i16"/><field name="v4_int32" type="v4i32"/>' +
  '<field name="v2_int64" type="v2i64"/><field name="uint128" type="uint128"/></union>';

const typesOf: Record<string, string> = {
  'org.gnu.gdb.i386.core': flagsType('i386_eflags', eflagsBits),
  'org.gnu.gdb.i386.sse': vectorTypes + flagsType('i386_mxcsr', mxcsrBits),
};

/** gdb takes `i8086` only beside the 32-bit core, and then decodes 16-bit code. */
const architectures: Record<TargetArch, string> = {
  i8086: 'i8086',
  i386: 'i386',
  'x86-64': 'i386:x86-64',
};

/** Registers in the order of their numbers, and the description that says so. */
export class RegisterFile {
  readonly arch: TargetArch;
  readonly registers: readonly Register[];
  readonly xml: string;

  /** @param avx the processor has YMM registers */
  constructor(arch: TargetArch, { avx }: { avx: boolean }) {
    this.arch = arch;
    const features = featuresOf(arch, avx);
    this.registers = features.flatMap(({ registers }) => registers);
    const body = features.map(({ name, registers }) => {
      const lines = registers.map(
        (register) =>
          `<reg name="${register.name}" bitsize="${register.bits}" type="${register.type}"${register.group === undefined ? '' : ` group="${register.group}"`}/>`,
      );
      return `<feature name="${name}">${typesOf[name] ?? ''}\n${lines.join('\n')}\n</feature>\n`;
    });
    this.xml = `<?xml version="1.0"?>\n<!DOCTYPE target SYSTEM "gdb-target.dtd">\n<target version="1.0">\n<architecture>${architectures[arch]}</architecture>\n${body.join('')}</target>\n`;
  }

  /** A register's bytes, as they go over the wire. */
  read(register: Register, cpu: CpuState, machine: Machine): Uint8Array {
    const value = register.get(cpu, machine);
    if (value instanceof Uint8Array) return value;
    const bytes = new Uint8Array(register.bits / 8);
    let rest = BigInt.asUintN(register.bits, value);
    for (let n = 0; n < bytes.length; n++, rest >>= 8n) bytes[n] = Number(rest & 0xffn);
    return bytes;
  }

  /** What writing a register changes; throws RangeError when it can't be written so. */
  write(register: Register, cpu: CpuState, bytes: Uint8Array): Partial<CpuState> {
    if (register.set === undefined) throw new RangeError(`${register.name} can't be written`);
    if (bytes.length !== register.bits / 8)
      throw new RangeError(`${register.name} has ${register.bits} bits`);
    let value = 0n;
    for (const byte of bytes.toReversed()) value = (value << 8n) | BigInt(byte);
    return register.set(cpu, value, bytes);
  }
}
