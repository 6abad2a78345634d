/** Kernel data as Linux lays them out, made for tests: symbol tables, a log, tasks and BTF. */
import { tokenPattern } from './kallsyms.ts';
import type { PointerBytes } from './kernel-memory.ts';

/** Writes numbers one behind the other, or where it is told to. */
class Writer {
  readonly bytes: Buffer;
  readonly word: PointerBytes;
  at = 0;

  constructor(size: number, word: PointerBytes) {
    this.bytes = Buffer.alloc(size);
    this.word = word;
  }

  align(): number {
    this.at = Math.ceil(this.at / this.word) * this.word;
    return this.at;
  }

  u16(value: number): void {
    this.at = this.bytes.writeUInt16LE(value, this.at);
  }

  u32(value: number, at = this.at): void {
    this.at = this.bytes.writeUInt32LE(value >>> 0, at);
  }

  long(value: bigint, at = this.at): void {
    const bits = BigInt.asUintN(this.word * 8, value);
    this.at =
      this.word === 8 ? this.bytes.writeBigUInt64LE(bits, at) : this.bytes.writeUInt32LE(Number(bits), at);
  }

  put(bytes: Uint8Array | string, at = this.at): void {
    const piece = Buffer.from(bytes as string);
    piece.copy(this.bytes, at);
    this.at = at + piece.length;
  }
}

export interface Shape {
  pointerBytes: PointerBytes;
  /** As until Linux 6.3. */
  offsetsFirst: boolean;
  /** KALLSYMS_ABSOLUTE_PERCPU. */
  percpu: boolean;
}

/** One name is longer than 127 tokens, one has a token of several characters. */
export const symbolNames: readonly string[] = [
  '__per_cpu_start',
  ...Array.from({ length: 2600 }, (_, n) => `function_${n}`),
  `long_${'x'.repeat(200)}`,
  'linux_banner',
];
const linuxToken = 0x80;

/** Each printable character is its own token; 0x80 is `linux_`. */
function tokenTexts(): string[] {
  const own = (code: number): string => (code > 0x20 && code < 0x7f ? String.fromCharCode(code) : '');
  return Array.from({ length: 256 }, (_, code) => (code === linuxToken ? 'linux_' : own(code)));
}

/** The tables, and the addresses that they hold. */
export function kallsymsImage({ pointerBytes, offsetsFirst, percpu }: Shape): {
  bytes: Buffer;
  addresses: Map<string, bigint>;
  namesAt: number;
} {
  const base = pointerBytes === 8 ? 0xffff_ffff_92c0_0000n : 0xc740_0000n;
  const addresses = new Map(
    symbolNames.map((name, n) => [name, percpu && n === 0 ? 0x1000n : base + BigInt(n * 64)]),
  );
  const out = new Writer(1 << 20, pointerBytes);
  out.put(Buffer.alloc(4096, 0x90));
  const offsets = (): void => {
    out.align();
    for (const address of addresses.values())
      out.u32(
        Number(BigInt.asUintN(32, !percpu ? address - base : address < base ? address : base - 1n - address)),
      );
    out.align();
    out.long(base);
  };
  if (offsetsFirst) offsets();
  out.align();
  out.u32(symbolNames.length);
  const namesAt = out.align();
  const markers: number[] = [];
  symbolNames.forEach((name, n) => {
    if (n % 256 === 0) markers.push(out.at - namesAt);
    const codes = Buffer.from(`T${name.replace('linux_', '\x80')}`, 'latin1');
    out.put(
      codes.length < 0x80
        ? ([codes.length] as never)
        : ([0x80 | (codes.length & 0x7f), codes.length >> 7] as never),
    );
    out.put(codes);
  });
  out.align();
  for (const marker of markers) out.u32(marker);
  const table = out.align();
  const index: number[] = [];
  for (const text of tokenTexts()) {
    index.push(out.at - table);
    out.put(`${text}\0`);
  }
  out.align();
  for (const place of index) out.u16(place);
  if (!offsetsFirst) offsets();
  return { bytes: out.bytes.subarray(0, out.at + tokenPattern.length), addresses, namesAt };
}

/** BTF of one structure, its last member in an unnamed union. */
export function btfOf(structure: string, members: ReadonlyMap<string, number>): Buffer {
  const texts = ['', structure, ...members.keys()];
  const nameAt = (name: string): number =>
    texts.slice(0, texts.indexOf(name)).reduce((sum, text) => sum + text.length + 1, 0);
  const strings = Buffer.from(texts.join('\0') + '\0');
  const entries = [...members];
  const [lastName = '', lastOffset = 0] = entries.pop() ?? [];
  const types = new Writer(4096, 8);
  const words = (...values: number[]): void => values.forEach((value) => types.u32(value));
  words(0, 1 << 24, 4, 32); // type 1: INT
  words(0, (5 << 24) | 1, 4, nameAt(lastName), 1, 0); // type 2: UNION
  words(nameAt(structure), (4 << 24) | (entries.length + 1), 1024);
  for (const [name, offset] of entries) words(nameAt(name), 1, offset * 8);
  words(0, 2, lastOffset * 8);
  const header = new Writer(24, 8);
  header.put(Buffer.from([0x9f, 0xeb, 1, 0]));
  for (const value of [24, 0, types.at, types.at, strings.length]) header.u32(value);
  return Buffer.concat([header.bytes, types.bytes.subarray(0, types.at), strings]);
}

const Place = {
  prb: 0x100,
  ring: 0x200,
  tasks: 0x1000,
  btf: 0x8000,
  descs: 0xa000,
  infos: 0xb000,
  text: 0xc000,
  end: 0xd000,
} as const;

export interface KernelData {
  bytes: Buffer;
  /** Linear address of the first byte. */
  base: bigint;
  /** Address of the pointer to the log. */
  prb: bigint;
  /** Where each task's structure is in the bytes, init_task's first. */
  taskAt: number[];
  used: number;
}

/** A log of 32 descriptors and 1 KiB, and a list of five tasks. */
export function kernelData(pointerBytes: PointerBytes, { btf = false } = {}): KernelData {
  const base = pointerBytes === 8 ? 0xffff_ffff_a3e0_0000n : 0xc960_0000n;
  const out = new Writer(Place.end, pointerBytes);
  writeLog(out, base);
  const taskAt = writeTasks(out, base, btf);
  return { bytes: out.bytes, base, prb: base + BigInt(Place.prb), taskAt, used: Place.end };
}

const countBits = 5;
const sizeBits = 10;

function writeLog(out: Writer, base: bigint): void {
  const { word } = out;
  const mask = (1n << BigInt(word * 8 - 2)) - 1n;
  const address = (place: number): bigint => base + BigInt(place);
  // Identifiers go around in the middle of what is left.
  const tail = mask - 2n;
  const records = [
    { state: 2n, level: 6, text: 'first that is left' },
    { state: 2n, level: 3, text: 'two\nlines' },
    { state: 0n, level: 6, text: 'torn' },
    { state: 2n, level: 6, text: '' },
    { state: 2n, level: 4, text: 'wrapped around the end' },
    { state: 1n, level: 6, text: 'newest' },
  ];
  out.long(address(Place.ring), Place.prb);
  out.u32(countBits, Place.ring);
  const ring = [address(Place.descs), address(Place.infos), tail + BigInt(records.length - 1), tail, 0n];
  ring.forEach((value, n) => out.long(value, Place.ring + (n + 1) * word));
  out.u32(sizeBits, Place.ring + 6 * word);
  out.long(address(Place.text), Place.ring + 7 * word);
  const blockBytes = (text: string): number => Math.ceil((word + text.length) / word) * word;
  const size = 1 << sizeBits;
  // The fifth record finds room for its identifier only, and goes to the beginning.
  let begin = 5 * size - word - records.slice(0, 3).reduce((sum, { text }) => sum + blockBytes(text), 0);
  records.forEach(({ state, level, text }, n) => {
    const id = (tail + BigInt(n)) & mask;
    const index = Number(id & 31n);
    const wraps = Math.floor(begin / size) !== Math.floor((begin + blockBytes(text) - 1) / size);
    const next = (wraps ? Math.ceil(begin / size) * size : begin) + blockBytes(text);
    const desc = Place.descs + index * 3 * word;
    out.long((state << BigInt(word * 8 - 2)) | id, desc);
    out.long(text === '' ? 3n : BigInt(begin), desc + word);
    out.long(text === '' ? 3n : BigInt(next), desc + 2 * word);
    const info = Place.infos + index * 88;
    out.bytes.writeBigUInt64LE(BigInt(40 + n), info);
    out.bytes.writeBigUInt64LE(BigInt(40 + n) * 1_000_000_000n + 500_000n, info + 8);
    out.bytes.writeUInt16LE(text.length, info + 16);
    out.bytes.writeUInt8((level << 5) | 2, info + 19);
    if (text === '') return;
    out.put(text, Place.text + (wraps ? 0 : begin % size) + word);
    begin = next;
  });
}

function writeTasks(out: Writer, base: bigint, btf: boolean): number[] {
  const { word } = out;
  // On i386 with saved_state before the stack, as since Linux 6.7.
  const at =
    word === 8
      ? {
          __state: 24,
          stack: 32,
          tasks: 200,
          exit_state: 236,
          pid: 240,
          tgid: 244,
          real_parent: 256,
          comm: 400,
        }
      : {
          __state: 16,
          stack: 24,
          tasks: 200,
          exit_state: 236,
          pid: 240,
          tgid: 244,
          real_parent: 252,
          comm: 400,
        };
  const tasks = [
    { pid: 0, parent: 0, state: 0, name: 'swapper/0' },
    { pid: 1, parent: 0, state: 1, name: 'init' },
    { pid: 2, parent: 0, state: 1, name: 'kthreadd' },
    { pid: 7, parent: 2, state: 0x402, name: 'kworker/0:1' },
    { pid: 90, parent: 1, state: 0, name: 'sh (busy)' },
  ];
  const places = tasks.map((_, n) => Place.tasks + n * 1024);
  const address = (n: number): bigint => base + BigInt(places[n % tasks.length] ?? 0);
  tasks.forEach(({ pid, parent, state, name }, n) => {
    const task = places[n] ?? 0;
    out.u32(state, task + at.__state);
    out.long(base + BigInt((n + 1) * 0x4000), task + at.stack);
    out.long(address(n + 1) + BigInt(at.tasks), task + at.tasks);
    out.long(address(n + tasks.length - 1) + BigInt(at.tasks), task + at.tasks + word);
    out.u32(pid, task + at.pid);
    out.u32(pid, task + at.tgid);
    out.long(address(tasks.findIndex((other) => other.pid === parent)), task + at.real_parent);
    out.put(`${name}\0`, task + at.comm);
  });
  if (btf) out.put(btfOf('task_struct', new Map(Object.entries(at))), Place.btf);
  return places;
}
