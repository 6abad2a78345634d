/**
 * The kernel's own symbol table, as scripts/kallsyms.c of Linux writes it into the kernel's read-only data. Tables are found by their
 * shape and read by physical address (the image is contiguous), so that no symbol, base address or page table need be known.
 *
 * Order until 6.3:  offsets, relative_base, num_syms, names, markers, [seqs_of_names,] token_table, token_index
 * Order from 6.4:   num_syms, names, markers, token_table, token_index, offsets, relative_base, seqs_of_names
 * Each begins at a multiple of the pointer's size. A name is its length (ULEB128 of at most 2 bytes) and so many tokens; the first
 * character that they stand for is the type (`T`, `d`, …), the rest the name.
 */
import { concatBytes, latin1Text, textBytes } from '../bytes.ts';
import type { ByteSource, PointerBytes } from './kernel-memory.ts';

const tokens = 256;
const digitToken = 0x30;
const symbolsPerMarker = 256;
/** What is read before and behind the tokens; names and offsets of the largest kernels take about 10 MiB. */
const bytesBefore = 16 << 20;
const bytesBehind = 4 << 20;
const mostTokenBytes = 16 << 10;
const mostSymbols = 1 << 20;
const fewestMarkers = 8;
/** Bytes of 256 names: at least one token each, and not all of them as long as can be. */
const markerSteps = { least: 2 * symbolsPerMarker, most: 64 * symbolsPerMarker };

/** The tokens for digits are the digits: no digit is left out of names, and each stands at its own code. */
export const tokenPattern: Uint8Array = textBytes('0\x001\x002\x003\x004\x005\x006\x007\x008\x009\x00');

export interface SymbolTable {
  /** Name to linear address; of names that occur twice, the first. */
  addresses: ReadonlyMap<string, bigint>;
  count: number;
}

/** Bytes around the tokens, with places in them. */
interface Window {
  bytes: Uint8Array;
  view: DataView;
  pointerBytes: PointerBytes;
  /** Address of the first byte, for alignment. */
  start: bigint;
}

interface Tokens {
  texts: readonly string[];
  tableAt: number;
  /** Behind the index. */
  end: number;
}

interface Names {
  /** Place of num_syms. */
  countAt: number;
  count: number;
  /** Place of the first name. */
  at: number;
}

/**
 * Reads the symbols whose tokens hold `tokenPattern` at the physical address `digitsAt`, in each way that the tables can be laid out:
 * whether the addresses make sense, the caller must tell. Yields nothing when there are no such tables.
 */
export async function* readKallsyms(
  physical: ByteSource,
  digitsAt: bigint,
  pointerBytes: PointerBytes,
): AsyncGenerator<SymbolTable, void> {
  const before = digitsAt < BigInt(bytesBefore) ? digitsAt : BigInt(bytesBefore);
  const head = await physical.read(digitsAt - before, Number(before));
  if (head.length < Number(before)) return;
  const tail = await physical.read(digitsAt, bytesBehind);
  const bytes = concatBytes(head, tail);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const window: Window = { bytes, view, pointerBytes, start: digitsAt - before };
  const found = findTokens(window, head.length);
  if (found === undefined) return;
  const names = findNames(window, found.tableAt);
  if (names === undefined) return;
  const texts = [...expandNames(window, names, found.texts)];
  for (const offsetsAndBase of placesOfOffsets(window, names, found.end))
    for (const absolutePercpu of [true, false]) {
      const addresses = addressesOf(window, texts, { ...offsetsAndBase, absolutePercpu });
      if (addresses !== undefined) yield { addresses, count: names.count };
    }
}

/** The next multiple of the pointer's size. */
function aligned({ start, pointerBytes }: Window, at: number): number {
  const over = Number((start + BigInt(at)) % BigInt(pointerBytes));
  return over === 0 ? at : at + pointerBytes - over;
}

/** The index must say where each of the 256 texts begins. */
function findTokens(window: Window, digitsAt: number): Tokens | undefined {
  const { bytes, view } = window;
  let end = digitsAt;
  for (let token = digitToken; token < tokens; token++) {
    end = bytes.indexOf(0, end) + 1;
    if (end === 0 || end > digitsAt + mostTokenBytes) return undefined;
  }
  const indexAt = aligned(window, end);
  if (indexAt + tokens * 2 > bytes.length) return undefined;
  const tableAt = digitsAt - view.getUint16(indexAt + digitToken * 2, true);
  const texts: string[] = [];
  for (let token = 0, at = tableAt; token < tokens; token++) {
    if (at < 0 || view.getUint16(indexAt + token * 2, true) !== at - tableAt) return undefined;
    const until = bytes.indexOf(0, at);
    texts.push(latin1Text(bytes.subarray(at, until)));
    at = until + 1;
  }
  return { texts, tableAt, end: indexAt + tokens * 2 };
}

/** Markers say where each 256th name begins; names and their number are where that is true. */
function findNames(window: Window, tableAt: number): Names | undefined {
  const { view, pointerBytes } = window;
  for (let at = aligned(window, 0); at + 4 * fewestMarkers < tableAt; at += pointerBytes) {
    if (view.getUint32(at, true) !== 0) continue;
    const markers = markersAt(view, at, tableAt);
    if (markers.length < fewestMarkers) continue;
    const names = namesBefore(window, at, markers);
    if (names !== undefined) return names;
  }
  return undefined;
}

function markersAt(view: DataView, at: number, end: number): number[] {
  const markers = [0];
  for (let next = at + 4; next + 4 <= end; next += 4) {
    const marker = view.getUint32(next, true);
    const step = marker - (markers.at(-1) ?? 0);
    if (step < markerSteps.least || step > markerSteps.most) break;
    markers.push(marker);
  }
  return markers;
}

function namesBefore(window: Window, markersPlace: number, markers: readonly number[]): Names | undefined {
  const { view, pointerBytes } = window;
  const last = markers.at(-1) ?? 0;
  const first = aligned(window, Math.max(pointerBytes, markersPlace - last - markerSteps.most));
  for (let at = first; at <= markersPlace - last; at += pointerBytes) {
    const count = view.getUint32(at - pointerBytes, true);
    if (Math.ceil(count / symbolsPerMarker) !== markers.length || count > mostSymbols) continue;
    if (namesFit(window, at, count, markers)) return { countAt: at - pointerBytes, count, at };
  }
  return undefined;
}

function namesFit({ bytes }: Window, start: number, count: number, markers: readonly number[]): boolean {
  let at = start;
  for (let symbol = 0; symbol < count; symbol++) {
    if (symbol % symbolsPerMarker === 0 && at - start !== markers[symbol / symbolsPerMarker]) return false;
    const { first, length } = nameAt(bytes, at);
    if (length === 0) return false;
    at = first + length;
  }
  return at <= bytes.length;
}

/** Where a name's tokens begin, and how many they are. */
function nameAt(bytes: Uint8Array, at: number): { first: number; length: number } {
  const byte = bytes[at] ?? 0;
  // Two bytes since 6.1; before, no name was as long.
  return byte < 0x80
    ? { first: at + 1, length: byte }
    : { first: at + 2, length: (byte & 0x7f) | ((bytes[at + 1] ?? 0) << 7) };
}

function* expandNames({ bytes }: Window, { at, count }: Names, texts: readonly string[]): Generator<string> {
  let next = at;
  for (let symbol = 0; symbol < count; symbol++) {
    const { first, length } = nameAt(bytes, next);
    next = first + length;
    let name = '';
    for (let token = first; token < next; token++) name += texts[bytes[token] ?? 0] ?? '';
    yield name.slice(1);
  }
}

interface OffsetPlaces {
  offsetsAt: number;
  baseAt: number;
}

function placesOfOffsets(window: Window, { countAt, count }: Names, tokensEnd: number): OffsetPlaces[] {
  const { pointerBytes, bytes } = window;
  const room = Math.ceil((count * 4) / pointerBytes) * pointerBytes;
  const behind = aligned(window, tokensEnd);
  return [
    { offsetsAt: behind, baseAt: behind + room },
    { offsetsAt: countAt - pointerBytes - room, baseAt: countAt - pointerBytes },
  ].filter(({ offsetsAt, baseAt }) => offsetsAt >= 0 && baseAt + pointerBytes <= bytes.length);
}

/**
 * Offsets are from relative_base on. With KALLSYMS_ABSOLUTE_PERCPU (amd64 with several processors, until 6.14) those that are not negative are addresses
 * themselves, the others count down from relative_base - 1.
 */
function addressesOf(
  { view, pointerBytes }: Window,
  names: readonly string[],
  { offsetsAt, baseAt, absolutePercpu }: OffsetPlaces & { absolutePercpu: boolean },
): Map<string, bigint> | undefined {
  const base = pointerBytes === 8 ? view.getBigUint64(baseAt, true) : BigInt(view.getUint32(baseAt, true));
  if (base === 0n) return undefined;
  const addresses = new Map<string, bigint>();
  names.forEach((name, symbol) => {
    const offset = view.getInt32(offsetsAt + symbol * 4, true);
    const address = !absolutePercpu
      ? base + BigInt(offset >>> 0)
      : offset >= 0
        ? BigInt(offset)
        : base - 1n - BigInt(offset);
    if (!addresses.has(name)) addresses.set(name, BigInt.asUintN(pointerBytes * 8, address));
  });
  return addresses;
}
