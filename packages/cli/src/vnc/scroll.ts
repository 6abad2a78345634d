/** Finds what moved up or down between two pictures of one size: text that scrolls, so that a viewer copies it rather than gets it anew. */
import { differences, type Picture, type Rectangle } from '@revenant/emulator';

export interface Scroll {
  /** Where it is now; it is as wide as the picture. */
  area: Rectangle;
  /** Its first line before. */
  fromY: number;
  /** What differs still when it was moved. */
  rest: Rectangle[];
}

/** Fewer moved lines are not worth it. */
const leastLines = 32;

function wordsOf({ rgba }: Picture): Uint32Array {
  return new Uint32Array(rgba.buffer, rgba.byteOffset, rgba.length / 4);
}

/** A number for each line: FNV-1a over its words. */
function lineHashes(picture: Picture): Uint32Array {
  const pixels = wordsOf(picture);
  const hashes = new Uint32Array(picture.height);
  for (let y = 0, at = 0; y < picture.height; y++) {
    let hash = 0x811c_9dc5;
    for (let x = 0; x < picture.width; x++, at++) hash = Math.imul(hash ^ (pixels[at] ?? 0), 0x0100_0193);
    hashes[y] = hash;
  }
  return hashes;
}

/** The distance that most of the changed lines moved by; lines that are there twice say nothing. */
function distance(before: Uint32Array, after: Uint32Array): number {
  const places = new Map<number, number>();
  for (const [y, hash] of before.entries()) places.set(hash, places.has(hash) ? -1 : y);
  const votes = new Map<number, number>();
  let best = 0;
  for (const [y, hash] of after.entries()) {
    const from = places.get(hash) ?? -1;
    if (from < 0 || before[y] === hash) continue;
    votes.set(from - y, (votes.get(from - y) ?? 0) + 1);
    if ((votes.get(from - y) ?? 0) > (votes.get(best) ?? 0)) best = from - y;
  }
  return best;
}

function moved(before: Picture, { area, fromY }: Pick<Scroll, 'area' | 'fromY'>): Picture {
  const rgba = before.rgba.slice();
  const pitch = before.width * 4;
  rgba.copyWithin(area.y * pitch, fromY * pitch, (fromY + area.height) * pitch);
  return { ...before, rgba };
}

export function findScroll(before: Picture, after: Picture): Scroll | undefined {
  if (before.width !== after.width || before.height !== after.height) return undefined;
  const [old, now] = [lineHashes(before), lineHashes(after)];
  const by = distance(old, now);
  if (by === 0) return undefined;
  let longest = { y: 0, height: 0 };
  for (let y = 0; y < after.height;) {
    let end = y;
    while (end < after.height && end + by >= 0 && end + by < after.height && now[end] === old[end + by])
      end++;
    if (end - y > longest.height) longest = { y, height: end - y };
    y = Math.max(end, y + 1);
  }
  if (longest.height < leastLines) return undefined;
  const scroll = { area: { x: 0, width: after.width, ...longest }, fromY: longest.y + by };
  return { ...scroll, rest: differences(moved(before, scroll), after) };
}
