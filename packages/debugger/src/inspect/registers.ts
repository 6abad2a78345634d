/** A processor's registers, their control bits in words. Names and bits: SDM Vol. 3A 2.3-2.5, Vol. 1 3.4.3, 8.1, 10.2. */
import { gprNames, type CpuState, type SegmentState } from '@revenant/emulator';
import { hex } from './bytes.ts';
import { fields, table } from './columns.ts';
import { pagingMode } from './guest-memory.ts';

type Bits = Record<string, number>;
const cr0Bits: Bits = { PE: 0, MP: 1, EM: 2, TS: 3, ET: 4, NE: 5, WP: 16, AM: 18, NW: 29, CD: 30, PG: 31 };
const cr4Bits: Bits = {
  VME: 0,
  PVI: 1,
  TSD: 2,
  DE: 3,
  PSE: 4,
  PAE: 5,
  MCE: 6,
  PGE: 7,
  PCE: 8,
  OSFXSR: 9,
  OSXMMEXCPT: 10,
  UMIP: 11,
  LA57: 12,
  VMXE: 13,
  SMXE: 14,
  FSGSBASE: 16,
  PCIDE: 17,
  OSXSAVE: 18,
  SMEP: 20,
  SMAP: 21,
  PKE: 22,
};
const eferBits: Bits = { SCE: 0, LME: 8, LMA: 10, NXE: 11, SVME: 12, LMSLE: 13, FFXSR: 14 };
const flagBits: Bits = {
  CF: 0,
  PF: 2,
  AF: 4,
  ZF: 6,
  SF: 7,
  TF: 8,
  IF: 9,
  DF: 10,
  OF: 11,
  NT: 14,
  RF: 16,
  VM: 17,
  AC: 18,
  VIF: 19,
  VIP: 20,
  ID: 21,
};
const mxcsrBits: Bits = {
  IE: 0,
  DE: 1,
  ZE: 2,
  OE: 3,
  UE: 4,
  PE: 5,
  DAZ: 6,
  IM: 7,
  DM: 8,
  ZM: 9,
  OM: 10,
  UM: 11,
  PM: 12,
  FTZ: 15,
};
const fswBits: Bits = {
  IE: 0,
  DE: 1,
  ZE: 2,
  OE: 3,
  UE: 4,
  PE: 5,
  SF: 6,
  ES: 7,
  C0: 8,
  C1: 9,
  C2: 10,
  C3: 14,
  B: 15,
};
const fcwBits: Bits = { IM: 0, DM: 1, ZM: 2, OM: 3, UM: 4, PM: 5 };
const roundings = ['to nearest', 'down', 'up', 'toward zero'] as const;
const precisions = ['24 bits', 'reserved', '53 bits', '64 bits'] as const;

/** Names of the bits that are set, the highest first. */
export function bitNames(value: bigint, bits: Bits): string[] {
  return Object.entries(bits)
    .filter(([, bit]) => (value >> BigInt(bit)) & 1n)
    .map(([name]) => name)
    .reverse();
}

const Attribute = {
  accessed: 1,
  writable: 2,
  down: 4,
  code: 8,
  notSystem: 0x10,
  present: 0x80,
  available: 0x1000,
  long: 0x2000,
  big: 0x4000,
  granular: 0x8000,
} as const;
const systemTypes: Record<number, string> = {
  1: '16-bit TSS',
  2: 'LDT',
  3: 'busy 16-bit TSS',
  9: 'TSS',
  11: 'busy TSS',
};

/** What a segment's hidden part says (SDM Vol. 3A 3.4.5). */
export function segmentText({ attributes, unusable }: Pick<SegmentState, 'attributes' | 'unusable'>): string {
  if (unusable !== 0) return 'null';
  const on = (bit: number): boolean => (attributes & bit) !== 0;
  const parts: string[] = [];
  if (!on(Attribute.notSystem)) parts.push(systemTypes[attributes & 15] ?? `system type ${attributes & 15}`);
  else if (on(Attribute.code))
    parts.push(
      `code ${on(Attribute.long) ? '64' : on(Attribute.big) ? '32' : '16'}-bit`,
      on(Attribute.writable) ? 'execute/read' : 'execute only',
      ...(on(Attribute.down) ? ['conforming'] : []),
    );
  else
    parts.push(
      `data ${on(Attribute.big) ? '32' : '16'}-bit`,
      on(Attribute.writable) ? 'read/write' : 'read only',
      ...(on(Attribute.down) ? ['expand down'] : []),
    );
  parts.push(`DPL ${(attributes >> 5) & 3}`);
  if (!on(Attribute.present)) parts.push('not present');
  if (on(Attribute.granular)) parts.push('4 KiB granular');
  return parts.join(', ');
}

/** The mode of operation and the address size of its code. */
export function operatingMode(cpu: CpuState): { name: string; bits: 16 | 32 | 64 } {
  const { attributes } = cpu.segments.cs;
  if (!(cpu.cr0 & 1n)) return { name: 'real mode', bits: 16 };
  if (cpu.eflags & (1 << 17)) return { name: 'virtual-8086 mode', bits: 16 };
  const bits = attributes & Attribute.big ? 32 : 16;
  if (!(cpu.efer & 0x400n)) return { name: `protected mode, ${bits}-bit code`, bits };
  if (attributes & Attribute.long) return { name: '64-bit mode', bits: 64 };
  return { name: `compatibility mode, ${bits}-bit code`, bits };
}

/** An 80-bit register as a number; good to about 16 digits. */
export function extendedToNumber(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const mantissa = view.getBigUint64(0, true);
  const word = view.getUint16(8, true);
  const sign = word & 0x8000 ? -1 : 1;
  const exponent = word & 0x7fff;
  if (exponent === 0x7fff) return BigInt.asUintN(63, mantissa) === 0n ? sign * Infinity : NaN;
  if (mantissa === 0n) return sign * 0;
  return sign * Number(mantissa) * 2 ** (Math.max(exponent, 1) - 16383 - 63);
}

interface X87Register {
  name: string;
  empty: boolean;
  bytes: Uint8Array;
  value: number;
}

/** ST(0) to ST(7); the state keeps them by physical number, each in 16 bytes. */
function x87Registers({ fsw, fpr, ftags }: CpuState): X87Register[] {
  const top = (fsw >> 11) & 7;
  return Array.from({ length: 8 }, (_, n) => {
    const physical = (top + n) & 7;
    const bytes = fpr.slice(physical * 16, physical * 16 + 10);
    return { name: `st${n}`, empty: ftags[physical] !== 0, bytes, value: extendedToNumber(bytes) };
  });
}

function decodeSegments(cpu: CpuState): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(cpu.segments).map(([segment, state]) => [
      segment,
      {
        selector: hex(state.selector, 4),
        base: hex(state.base),
        limit: hex(state.limit >>> 0),
        attributes: hex(state.attributes),
        text: segmentText(state),
      },
    ]),
  );
}

// prettier-ignore
const msrNames = [
  'star', 'lstar', 'cstar', 'sfmask', 'kernelGsBase', 'sysenterCs', 'sysenterEsp', 'sysenterEip', 'pat', 'apicBase', 'tscAux',
] as const;

function decodeX87(cpu: CpuState): Record<string, unknown> {
  return {
    fcw: {
      value: hex(cpu.fcw & 0xffff),
      masked: bitNames(BigInt(cpu.fcw & 0xffff), fcwBits),
      precision: precisions[(cpu.fcw >> 8) & 3],
      rounding: roundings[(cpu.fcw >> 10) & 3],
    },
    fsw: {
      value: hex(cpu.fsw & 0xffff),
      set: bitNames(BigInt(cpu.fsw & 0xffff), fswBits),
      top: (cpu.fsw >> 11) & 7,
    },
    registers: x87Registers(cpu),
  };
}

/** Everything decoded, as `--json` gives it. */
export function decodeRegisters(cpu: CpuState): Record<string, unknown> {
  const { name, bits } = operatingMode(cpu);
  const mxcsr = BigInt(cpu.mxcsr >>> 0);
  return {
    mode: name,
    codeBits: bits,
    paging: pagingMode(cpu),
    cpl: cpu.cpl,
    halted: cpu.halted !== 0,
    registers: Object.fromEntries(
      [...gprNames, 'rip' as const].map((register) => [register, hex(cpu[register])]),
    ),
    rflags: {
      value: hex(cpu.eflags),
      set: bitNames(BigInt(cpu.eflags), flagBits),
      iopl: (cpu.eflags >> 12) & 3,
    },
    control: {
      cr0: { value: hex(cpu.cr0), set: bitNames(cpu.cr0, cr0Bits) },
      cr2: hex(cpu.cr2),
      cr3: hex(cpu.cr3),
      cr4: { value: hex(cpu.cr4), set: bitNames(cpu.cr4, cr4Bits) },
      cr8: hex(cpu.cr8),
      efer: { value: hex(cpu.efer), set: bitNames(cpu.efer, eferBits) },
      xcr0: hex(cpu.xcr0),
    },
    tables: {
      gdtr: { base: hex(cpu.gdtrBase), limit: hex(cpu.gdtrLimit) },
      idtr: { base: hex(cpu.idtrBase), limit: hex(cpu.idtrLimit) },
    },
    segments: decodeSegments(cpu),
    msrs: Object.fromEntries(msrNames.map((msr) => [msr, hex(cpu[msr])])),
    debug: Object.fromEntries(
      (['dr0', 'dr1', 'dr2', 'dr3', 'dr6', 'dr7'] as const).map((register) => [register, hex(cpu[register])]),
    ),
    x87: decodeX87(cpu),
    mxcsr: {
      value: hex(mxcsr),
      set: bitNames(mxcsr, mxcsrBits),
      rounding: roundings[Number((mxcsr >> 13n) & 3n)],
    },
    xmm: Object.fromEntries(
      Array.from({ length: 16 }, (_, n) => [
        `xmm${n}`,
        hex(littleEndian(cpu.xmm.subarray(n * 16, n * 16 + 16)), 32).slice(0, 34),
      ]),
    ),
  };
}

function littleEndian(bytes: Uint8Array): bigint {
  return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

const wide = (value: bigint): string => BigInt.asUintN(64, value).toString(16).padStart(16, '0');

function generalText(cpu: CpuState, bits: number): string {
  const names = bits === 64 ? gprNames : gprNames.slice(0, 8);
  const show = (name: (typeof gprNames)[number] | 'rip'): string =>
    bits === 64 ? `${name.padEnd(3)} ${wide(cpu[name])}` : `e${name.slice(1)} ${wide(cpu[name]).slice(8)}`;
  const cells = [...names, 'rip' as const].map(show);
  return Array.from({ length: Math.ceil(cells.length / 4) }, (_, row) =>
    cells.slice(row * 4, row * 4 + 4).join('   '),
  ).join('\n');
}

function x87Text(cpu: CpuState): string {
  const used = x87Registers(cpu).filter(({ empty }) => !empty);
  if (used.length === 0) return 'all empty';
  return used
    .map(({ name, value, bytes }) => `${name} ${value} (${hex(littleEndian(bytes), 20)})`)
    .join(', ');
}

/** As a person reads them. */
export function registersText(cpu: CpuState): string {
  const { name, bits } = operatingMode(cpu);
  const set = (value: bigint, table: Bits): string => bitNames(value, table).join(' ') || '-';
  const mxcsr = BigInt(cpu.mxcsr >>> 0);
  // prettier-ignore
  const rows: [string, string][] = [
    ['mode', `${name}, CPL ${cpu.cpl}, paging ${pagingMode(cpu)}${cpu.halted ? ', halted' : ''}`],
    ['rflags', `${hex(cpu.eflags, 8)}  ${set(BigInt(cpu.eflags), flagBits)} IOPL=${(cpu.eflags >> 12) & 3}`],
    ['cr0', `${hex(cpu.cr0, 8)}  ${set(cpu.cr0, cr0Bits)}`],
    ['cr2', hex(cpu.cr2, 8)],
    ['cr3', hex(cpu.cr3, 8)],
    ['cr4', `${hex(cpu.cr4, 8)}  ${set(cpu.cr4, cr4Bits)}`],
    ['efer', `${hex(cpu.efer, 8)}  ${set(cpu.efer, eferBits)}`],
    ['gdtr', `${hex(cpu.gdtrBase, 8)} limit ${hex(cpu.gdtrLimit)}`],
    ['idtr', `${hex(cpu.idtrBase, 8)} limit ${hex(cpu.idtrLimit)}`],
    ['lstar', hex(cpu.lstar)],
    ['gs base', `${hex(cpu.segments.gs.base)}, kernel ${hex(cpu.kernelGsBase)}`],
    ['mxcsr', `${hex(mxcsr, 8)}  ${set(mxcsr, mxcsrBits)} rounds ${roundings[Number((mxcsr >> 13n) & 3n)] ?? ''}`],
    ['x87 control', `${hex(cpu.fcw & 0xffff, 4)}  masks ${set(BigInt(cpu.fcw & 0xffff), fcwBits)}, ${precisions[(cpu.fcw >> 8) & 3] ?? ''}, rounds ${roundings[(cpu.fcw >> 10) & 3] ?? ''}`],
    ['x87 status', `${hex(cpu.fsw & 0xffff, 4)}  ${set(BigInt(cpu.fsw & 0xffff), fswBits)} TOP=${(cpu.fsw >> 11) & 7}`],
    ['x87 stack', x87Text(cpu)],
  ];
  const segments = Object.entries(cpu.segments).map(([segment, state]) => [
    segment,
    hex(state.selector, 4),
    hex(state.base, 8),
    hex(state.limit >>> 0, 8),
    segmentText(state),
  ]);
  const [first, ...rest] = rows;
  const segmentTable = table(['SEGMENT', 'SELECTOR', 'BASE', 'LIMIT', ''], segments);
  return `${fields(first === undefined ? [] : [first])}\n\n${generalText(cpu, bits)}\n\n${fields(rest)}\n\n${segmentTable}`;
}
