/**
 * LZ4 blocks in plain TypeScript: for a browser, which has no native library, and for blocks without a length in front.
 * Source: lz4/doc/lz4_Block_format.md. A block is sequences of token, literals, distance, match; the last sequence has literals only.
 */

const minMatch = 4;
/** The last match begins at least so far before the end, and the last so many bytes are literals ("End of block conditions"). */
const matchLimit = 12;
const lastLiterals = 5;
const maxDistance = 65_535;
const hashBits = 13;

/**
 * Decodes one block.
 * @param out where to; its end bounds what is written.
 * @param start where in `out`; matches may not reach back before it.
 * @returns the offset in `out` after the last byte written.
 * @throws RangeError for a block that no encoder makes.
 */
export function decodeLz4Block(source: Uint8Array, out: Uint8Array, start = 0): number {
  let from = 0;
  let to = start;
  /** Lengths of 15 go on in further bytes, up to one that is not 255. */
  const longer = (length: number): number => {
    let sum = length;
    let byte = 255;
    while (byte === 255) {
      if (from >= source.length) throw new RangeError('LZ4 block ends inside a length');
      byte = source[from++]!;
      sum += byte;
    }
    return sum;
  };
  while (from < source.length) {
    const token = source[from++]!;
    let literals = token >> 4;
    if (literals === 15) literals = longer(literals);
    if (from + literals > source.length || to + literals > out.length)
      throw new RangeError('LZ4 literals run over');
    out.set(source.subarray(from, from + literals), to);
    from += literals;
    to += literals;
    if (from >= source.length) break;
    if (from + 2 > source.length) throw new RangeError('LZ4 block ends inside a distance');
    const distance = source[from]! | (source[from + 1]! << 8);
    from += 2;
    let length = token & 15;
    if (length === 15) length = longer(length);
    length += minMatch;
    if (distance === 0 || distance > to - start || to + length > out.length)
      throw new RangeError('LZ4 match out of range');
    if (distance >= length) {
      out.copyWithin(to, to - distance, to - distance + length);
      to += length;
    } else {
      for (let i = 0; i < length; i++, to++) out[to] = out[to - distance]!;
    }
  }
  return to;
}

/** Encodes one block: greedy, by the last place of each four bytes. */
export function encodeLz4Block(source: Uint8Array): Uint8Array {
  // Longest when nothing matches: a further byte of length for every 255 literals.
  const out = new Uint8Array(source.length + Math.ceil(source.length / 255) + 16);
  const places = new Int32Array(1 << hashBits).fill(-1);
  const view = new DataView(source.buffer, source.byteOffset, source.length);
  const lastMatch = source.length - matchLimit;
  let literalsFrom = 0;
  let to = 0;
  for (let at = 0; at <= lastMatch;) {
    const word = view.getUint32(at, true);
    const slot = Math.imul(word, 2_654_435_761) >>> (32 - hashBits);
    const place = places[slot]!;
    places[slot] = at;
    if (place < 0 || at - place > maxDistance || view.getUint32(place, true) !== word) {
      at++;
      continue;
    }
    let length = minMatch;
    const longest = source.length - lastLiterals - at;
    while (length < longest && source[place + length] === source[at + length]) length++;
    to = writeSequence(out, to, source.subarray(literalsFrom, at), { distance: at - place, length });
    at += length;
    literalsFrom = at;
  }
  return out.subarray(0, writeSequence(out, to, source.subarray(literalsFrom), undefined));
}

function writeSequence(
  out: Uint8Array,
  start: number,
  literals: Uint8Array,
  match: { distance: number; length: number } | undefined,
): number {
  let to = start + 1;
  const longer = (length: number): void => {
    let left = length - 15;
    for (; left >= 255; left -= 255) out[to++] = 255;
    out[to++] = left;
  };
  const matched = match === undefined ? 0 : match.length - minMatch;
  out[start] = (Math.min(15, literals.length) << 4) | Math.min(15, matched);
  if (literals.length >= 15) longer(literals.length);
  out.set(literals, to);
  to += literals.length;
  if (match === undefined) return to;
  out[to++] = match.distance & 255;
  out[to++] = match.distance >> 8;
  if (matched >= 15) longer(matched);
  return to;
}
