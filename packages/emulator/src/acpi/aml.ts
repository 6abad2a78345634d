/** A few ACPI machine language encoders: ACPI 6.4 chapter 20 (AML) and section 6.4 (resource data types). */

/** Bytes of one AML term. */
export type Term = readonly number[];

/** 20.2.4: one to four bytes that count themselves. */
function packageLength(contents: number): number[] {
  if (contents + 1 < 0x40) return [contents + 1];
  if (contents + 2 < 0x1000) return [0x40 | ((contents + 2) & 15), (contents + 2) >> 4];
  return [0x80 | ((contents + 3) & 15), ((contents + 3) >> 4) & 0xff, (contents + 3) >> 12];
}

function nameSegment(name: string): number[] {
  return Array.from(name.padEnd(4, '_'), (c) => c.charCodeAt(0));
}

export function integer(value: number): Term {
  if (value === 0 || value === 1) return [value];
  if (value < 0x100) return [0x0a, value];
  if (value < 0x1_0000) return [0x0b, value & 0xff, value >> 8];
  return [0x0c, ...dword(value)];
}

/** 20.2.3: characters of ASCII and a zero. */
export function text(value: string): Term {
  return [0x0d, ...Array.from(value, (c) => c.charCodeAt(0)), 0];
}

/** Name (NAME, value). */
export function name(segment: string, value: Term): Term {
  return [0x08, ...nameSegment(segment), ...value];
}

/** Scope (\NAME) { … }. */
export function scope(segment: string, terms: readonly Term[]): Term {
  const body = [0x5c, ...nameSegment(segment), ...terms.flat()];
  return [0x10, ...packageLength(body.length), ...body];
}

/** Device (NAME) { … }. */
export function device(segment: string, terms: readonly Term[]): Term {
  const body = [...nameSegment(segment), ...terms.flat()];
  return [0x5b, 0x82, ...packageLength(body.length), ...body];
}

/** Method (NAME, 0) { … }. */
export function method(segment: string, terms: readonly Term[]): Term {
  const noArguments = 0;
  const body = [...nameSegment(segment), noArguments, ...terms.flat()];
  return [0x14, ...packageLength(body.length), ...body];
}

/** Notify (\SCOPE.NAME, value). */
export function notify(scopeSegment: string, segment: string, value: number): Term {
  return [0x86, 0x5c, 0x2e, ...nameSegment(scopeSegment), ...nameSegment(segment), ...integer(value)];
}

/** Package () { … }. */
export function packageOf(items: readonly Term[]): Term {
  const body = [items.length, ...items.flat()];
  return [0x12, ...packageLength(body.length), ...body];
}

function buffer(bytes: readonly number[]): Term {
  const body = [...integer(bytes.length), ...bytes];
  return [0x11, ...packageLength(body.length), ...body];
}

/** EISAID ("PNP0A03"), 19.3.4: three letters in 5 bits each, four hex digits; stored big-endian. */
export function eisaId(id: string): Term {
  const letters = Array.from(id.slice(0, 3), (c) => c.charCodeAt(0) - 0x40);
  const vendor = letters.reduce((all, letter) => (all << 5) | letter, 0);
  const product = Number.parseInt(id.slice(3), 16);
  return [0x0c, vendor >> 8, vendor & 0xff, product >> 8, product & 0xff];
}

const word = (value: number): number[] => [value & 0xff, (value >> 8) & 0xff];
const dword = (value: number): number[] => [...word(value & 0xffff), ...word(value >>> 16)];

/** Name (_CRS, ResourceTemplate () { … }). */
export function resources(descriptors: readonly Term[]): Term {
  return name('_CRS', buffer([...descriptors.flat(), 0x79, 0]));
}

/** 6.4.2.5: ports first … first + length - 1, 16-bit decode. */
export function ioPorts(first: number, length: number): Term {
  return [0x47, 1, ...word(first), ...word(first), 1, length];
}

/** 6.4.3.4: memory at a fixed address that is only read. */
export function readOnlyMemory(first: number, length: number): Term {
  return [0x86, ...word(9), 0, ...dword(first), ...dword(length)];
}

/** 6.4.2.1: edge-triggered ISA interrupt. */
export function isaInterrupt(irq: number): Term {
  return [0x22, ...word(1 << irq)];
}

const fixedRange = 0x0c;

/** 6.4.3.5.3, bus numbers. */
export function busNumbers(first: number, last: number): Term {
  return [0x88, ...word(13), 2, fixedRange, 0, ...[0, first, last, 0, last - first + 1].flatMap(word)];
}

/** 6.4.3.5.3, a window of ports that the bridge passes on. */
export function ioWindow(first: number, last: number): Term {
  return [0x88, ...word(13), 1, fixedRange, 3, ...[0, first, last, 0, last - first + 1].flatMap(word)];
}

/** 6.4.3.5.2, a window of memory that the bridge passes on. */
export function memoryWindow(first: number, last: number): Term {
  return [0x87, ...word(23), 0, fixedRange, 1, ...[0, first, last, 0, last - first + 1].flatMap(dword)];
}
