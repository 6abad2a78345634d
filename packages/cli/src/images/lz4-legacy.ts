/**
 * Unpacks the "legacy" LZ4 frame that Linux uses for its kernels (lz4 -l): a magic number, then blocks of
 * {u32 packed size, packed bytes}, each up to 8 MiB unpacked.
 * Source: lz4/doc/lz4_Frame_format.md, "Legacy frame"; lz4_Block_format.md.
 */

export const lz4LegacyMagic = 0x184c2102;
const maxBlockBytes = 8 << 20;

/** Unpacks one block to `out` at `at`; gives the offset after the last byte written. Throws RangeError on damage. */
function unpackBlock(source: Uint8Array, out: Uint8Array, start: number): number {
  let from = 0;
  let to = start;
  /** Lengths of 15 go on in further bytes, up to one that is not 255. */
  const longer = (length: number): number => {
    let byte = 255;
    while (byte === 255) {
      if (from >= source.length) throw new RangeError('LZ4 block ends inside a length');
      byte = source[from++]!;
      length += byte;
    }
    return length;
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
    const distance = source[from]! | (source[from + 1]! << 8);
    from += 2;
    let length = token & 15;
    if (length === 15) length = longer(length);
    length += 4;
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

/** Unpacks a whole frame; what follows the last block (Linux appends the unpacked size) is left alone. */
export function unpackLz4Legacy(frame: Uint8Array, unpackedBytes: number): Uint8Array {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const out = new Uint8Array(unpackedBytes);
  let from = 4;
  let to = 0;
  while (to < unpackedBytes && from + 4 <= frame.length) {
    const packed = view.getUint32(from, true);
    from += 4;
    if (packed > frame.length - from) throw new RangeError('LZ4 frame is cut off');
    to = unpackBlock(
      frame.subarray(from, from + packed),
      out.subarray(0, Math.min(unpackedBytes, to + maxBlockBytes)),
      to,
    );
    from += packed;
  }
  if (to !== unpackedBytes) throw new RangeError(`LZ4 frame unpacks to ${to} bytes, not ${unpackedBytes}`);
  return out;
}
