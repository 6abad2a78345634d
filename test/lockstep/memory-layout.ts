/** Where things lie for the random programs: paging, descriptor tables, a fault handler, code, data, stack. */
import { Cpu } from '../../packages/emulator/src/cpu/layout.ts';
import type { TestCpu } from '../../packages/emulator/src/cpu/testing/test-cpu.ts';

export type ProgramMode = 32 | 64;

const page = 4096;
const tables = 0x1000;
const idtAddress = 0x9000;
const gdtAddress = 0xa000;
const handlerAddress = 0xb000;

export const Place = {
  /** Cells of the program: where an exception goes on, a loop counter, the number of the sequence (that many are done). */
  cells: 0xc000,
  resumeCell: 0xc000,
  counterCell: 0xc008,
  sequenceCell: 0xc00c,
  /** Exceptions delivered. */
  exceptionCell: 0xc010,
  /** Values for FLDCW and LDMXCSR. */
  controlWords: 0xc100,
  code: 0x10_0000,
  codePages: 4,
  /** Two pages of functions, one of which is seen at `alias` at a time. */
  functions: 0x12_0000,
  alias: 0x40_0000,
  /** Two writable pages, one that can only be read; nothing on either side. */
  data: 0x20_0000,
  dataPages: 2,
  stackTop: 0x30_0000,
  stackPages: 2,
} as const;

/** Linear address of the page-table entry of `alias`. */
export function aliasEntry(mode: ProgramMode): number {
  return mode === 64 ? tables + 5 * page : tables + 2 * page;
}

/** Bytes of RAM that programs can change, as [address, length]. */
export const comparedMemory: readonly (readonly [number, number])[] = [
  [tables, 6 * page],
  [Place.cells, page],
  [Place.code, Place.codePages * page],
  [Place.functions, 2 * page],
  [Place.data, (Place.dataPages + 1) * page],
  [Place.stackTop - Place.stackPages * page, Place.stackPages * page],
];

/** Pages that are mapped to themselves: [first, count, writable]. */
const mapped: readonly (readonly [number, number, boolean])[] = [
  [tables, 12, true],
  [Place.code, Place.codePages, true],
  [Place.functions, 2, true],
  [Place.data, Place.dataPages, true],
  [Place.data + Place.dataPages * page, 1, false],
  [Place.stackTop - Place.stackPages * page, Place.stackPages, true],
];

/** Page tables for the first 4 MiB and the alias behind them, as they lie from `tables` on. */
function pageTables(mode: ProgramMode): Uint8Array {
  const bytes = new Uint8Array(6 * page);
  const view = new DataView(bytes.buffer);
  const entryBytes = mode / 8;
  const put = (table: number, index: number, value: number): void => {
    view.setUint32(table * page + index * entryBytes, value, true);
  };
  if (mode === 64) {
    put(0, 0, (tables + page) | 3);
    put(1, 0, (tables + 2 * page) | 3);
    for (let i = 0; i < 3; i++) put(2, i, (tables + (3 + i) * page) | 3);
  } else for (let i = 0; i < 2; i++) put(0, i, (tables + (1 + i) * page) | 3);
  const first = mode === 64 ? 3 : 1;
  // Tables follow each other, so one index serves for all of them.
  for (const [address, count, writable] of mapped)
    for (let i = 0; i < count; i++) {
      const at = address + i * page;
      put(first, at / page, at | (writable ? 3 : 1));
    }
  put(first, Place.alias / page, Place.functions | 3);
  return bytes;
}

function descriptorTables(mode: ProgramMode): { gdt: Uint8Array; idt: Uint8Array } {
  const gdt = new BigUint64Array([
    0n,
    mode === 64 ? 0x00af_9b00_0000_ffffn : 0x00cf_9b00_0000_ffffn,
    0x00cf_9300_0000_ffffn,
  ]);
  const idt = new Uint8Array((32 * mode) / 4);
  const view = new DataView(idt.buffer);
  for (let vector = 0; vector < 32; vector++) {
    const at = (vector * mode) / 4;
    view.setUint32(at, (8 << 16) | (handlerAddress & 0xffff), true);
    view.setUint32(at + 4, (handlerAddress & ~0xffff) | 0x8e00, true);
  }
  return { gdt: new Uint8Array(gdt.buffer), idt };
}

/** Every exception: clean segments, x87 and stack, on to the end of the loop's turn. */
function handler(mode: ProgramMode): number[] {
  const stack = Place.stackTop - 64;
  const wide = mode === 64 ? [0x48] : [];
  const absolute = mode === 64 ? [0x24, 0x25] : [0x25];
  return [
    ...[0xb8, 16, 0, 0, 0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0x8e, 0xe0, 0x8e, 0xe8],
    ...[0xff, mode === 64 ? 0x04 : 0x05, ...(mode === 64 ? [0x25] : []), ...little(Place.exceptionCell)],
    ...[0xdb, 0xe2, ...wide, 0xc7, 0xc4, ...little(stack)],
    ...[0xff, ...absolute, ...little(Place.resumeCell)],
  ];
}

/** Four bytes, low one first. */
export function little(value: number): number[] {
  return [value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, (value >> 24) & 0xff];
}

/** Puts the processor at the start of a program: CPL 0, paging with 4 KiB pages, write protection, interrupts off. */
export function setUp(cpu: TestCpu, mode: ProgramMode): void {
  const { view, engine } = cpu;
  engine.core.resetCpu(cpu.cpu);
  cpu.flat(mode);
  cpu.write(tables, pageTables(mode));
  const { gdt, idt } = descriptorTables(mode);
  cpu.write(gdtAddress, gdt);
  cpu.write(idtAddress, idt);
  cpu.write(handlerAddress, handler(mode));
  const put = (field: number, value: number): void => {
    view.setBigInt64(cpu.cpu + field, BigInt(value), true);
  };
  put(Cpu.gdtrBase, gdtAddress);
  put(Cpu.idtrBase, idtAddress);
  view.setUint32(cpu.cpu + Cpu.gdtrLimit, gdt.length - 1, true);
  view.setUint32(cpu.cpu + Cpu.idtrLimit, idt.length - 1, true);
  put(Cpu.cr0, 0x8001_0033); // PG WP NE ET MP PE
  put(Cpu.cr3, tables);
  put(Cpu.cr4, mode === 64 ? 0x4_0620 : 0x4_0600); // OSFXSR, OSXMMEXCPT, OSXSAVE, and PAE
  put(Cpu.xcr0, 7);
  engine.core.updateMode(cpu.cpu);
  engine.core.flushTlbAll(cpu.cpu);
}
