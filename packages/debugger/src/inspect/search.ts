/** Finds bytes or text in the pages of a checkpoint, also across page borders. */
import { concatBytes, indexOfBytes, textBytes } from './bytes.ts';
import { InspectError, spaceOf, type CheckpointView } from './view.ts';

export interface SearchOptions {
  /** Default: all spaces. */
  space?: string;
  /** Stops after so many. Default 1000. */
  limit?: number;
  /** Pages read together. Default 1024. */
  pagesAtOnce?: number;
  onProgress?: (progress: { donePages: number; totalPages: number }) => void;
}

export interface Match {
  space: string;
  /** Byte address in the space. */
  offset: number;
}

/** Where text may stand as ASCII/UTF-8 or as UTF-16 (little-endian), for `searchPages`. */
export function textPatterns(text: string): Uint8Array[] {
  const wide = new Uint8Array(text.length * 2);
  for (let n = 0; n < text.length; n++) new DataView(wide.buffer).setUint16(n * 2, text.charCodeAt(n), true);
  return [textBytes(text), wide];
}

const maxPatternBytes = 4096;

/** Finds each of several patterns. Matches are in order of address within a space; they may overlap. */
export async function searchPages(
  reader: CheckpointView,
  patterns: readonly Uint8Array[],
  options: SearchOptions = {},
): Promise<Match[]> {
  for (const pattern of patterns)
    if (pattern.length === 0 || pattern.length > maxPatternBytes || pattern.every((byte) => byte === 0))
      throw new InspectError(
        'cannot search for nothing, for zeros only, or for more than 4096 bytes',
        'name some bytes that are not zero',
      );
  const names = options.space === undefined ? reader.spaces.map(({ name }) => name) : [options.space];
  const totalPages = names.reduce((sum, name) => sum + reader.present(name).length, 0);
  const limit = options.limit ?? 1000;
  const matches: Match[] = [];
  const longest = Math.max(...patterns.map((pattern) => pattern.length));
  let donePages = 0;
  for (const space of names) {
    for await (const { start, bytes, carried, pages } of windows(
      reader,
      space,
      longest,
      options.pagesAtOnce ?? 1024,
    )) {
      for (const { offset } of findAll(bytes, patterns, carried)) {
        if (matches.length >= limit) return matches;
        matches.push({ space, offset: start + offset });
      }
      donePages += pages;
      options.onProgress?.({ donePages, totalPages });
    }
  }
  return matches;
}

interface Window {
  /** Address of the first byte. */
  start: number;
  bytes: Uint8Array;
  /** So many bytes at the beginning were in the window before: what lies within them was found there. */
  carried: number;
  pages: number;
}

/** Runs of pages that are not zero, each with `longest - 1` bytes of what lies before it, and zeros behind a run's end. */
async function* windows(
  reader: CheckpointView,
  space: string,
  longest: number,
  pagesAtOnce: number,
): AsyncGenerator<Window, void> {
  const present = reader.present(space);
  const { pageSize } = spaceOf(reader, space);
  const margin = longest - 1;
  let carry = new Uint8Array(0);
  for (let from = 0; from < present.length;) {
    let to = from + 1;
    while (to < present.length && to - from < pagesAtOnce && present[to] === present[to - 1]! + 1) to++;
    const first = present[from]!;
    const begins = from === 0 || present[from - 1]! + 1 !== first;
    const ends = to === present.length || present[to] !== present[to - 1]! + 1;
    if (begins) carry = new Uint8Array(Math.min(margin, first * pageSize));
    const pages = await reader.readPages(space, present.subarray(from, to));
    const bytes = concatBytes(carry, pages, new Uint8Array(ends ? margin : 0));
    yield { start: first * pageSize - carry.length, bytes, carried: carry.length, pages: to - from };
    carry = margin === 0 ? new Uint8Array(0) : bytes.slice(-margin);
    from = to;
  }
}

function findAll(bytes: Uint8Array, patterns: readonly Uint8Array[], carried: number): { offset: number }[] {
  const found: { offset: number }[] = [];
  for (const pattern of patterns)
    for (let at = indexOfBytes(bytes, pattern); at >= 0; at = indexOfBytes(bytes, pattern, at + 1))
      if (at + pattern.length > carried) found.push({ offset: at });
  return found.sort((a, b) => a.offset - b.offset);
}
