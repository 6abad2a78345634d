// Finds bytes or text in the pages of a checkpoint, also across page borders.
import { StorageError } from '../errors.ts';
import type { CheckpointReader } from '../checkpoint/reader.ts';

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
  return [Buffer.from(text, 'utf8'), Buffer.from(text, 'utf16le')];
}

const MAX_PATTERN_BYTES = 4096;

/** Finds each of several patterns. Matches are in order of address within a space; they may overlap. */
export async function searchPages(
  reader: CheckpointReader,
  patterns: readonly Uint8Array[],
  options: SearchOptions = {},
): Promise<Match[]> {
  for (const pattern of patterns)
    if (pattern.length === 0 || pattern.length > MAX_PATTERN_BYTES || pattern.every((byte) => byte === 0))
      throw new StorageError(
        'BAD_ARGUMENT',
        'cannot search for nothing, for zeros only, or for more than 4096 bytes',
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
  bytes: Buffer;
  /** So many bytes at the beginning were in the window before: what lies within them was found there. */
  carried: number;
  pages: number;
}

/** Runs of pages that are not zero, each with `longest - 1` bytes of what lies before it, and zeros behind a run's end. */
async function* windows(
  reader: CheckpointReader,
  space: string,
  longest: number,
  pagesAtOnce: number,
): AsyncGenerator<Window, void> {
  const present = reader.present(space);
  const { pageSize } = reader.source(space).map.space;
  const margin = longest - 1;
  let carry = Buffer.alloc(0);
  for (let from = 0; from < present.length;) {
    let to = from + 1;
    while (to < present.length && to - from < pagesAtOnce && present[to] === present[to - 1]! + 1) to++;
    const first = present[from]!;
    const begins = from === 0 || present[from - 1]! + 1 !== first;
    const ends = to === present.length || present[to] !== present[to - 1]! + 1;
    if (begins) carry = Buffer.alloc(Math.min(margin, first * pageSize));
    const pages = Buffer.from(await reader.readPages(space, present.subarray(from, to)));
    const bytes = Buffer.concat([carry, pages, Buffer.alloc(ends ? margin : 0)]);
    yield { start: first * pageSize - carry.length, bytes, carried: carry.length, pages: to - from };
    carry = margin === 0 ? Buffer.alloc(0) : Buffer.from(bytes.subarray(-margin));
    from = to;
  }
}

function findAll(bytes: Buffer, patterns: readonly Uint8Array[], carried: number): { offset: number }[] {
  const found: { offset: number }[] = [];
  for (const pattern of patterns)
    for (let at = bytes.indexOf(pattern); at >= 0; at = bytes.indexOf(pattern, at + 1))
      if (at + pattern.length > carried) found.push({ offset: at });
  return found.sort((a, b) => a.offset - b.offset);
}
