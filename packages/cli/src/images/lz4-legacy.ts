/**
 * Unpacks the "legacy" LZ4 frame that Linux uses for its kernels (lz4 -l): a magic number, then blocks of
 * {u32 packed size, packed bytes}, each up to 8 MiB unpacked.
 * Source: lz4/doc/lz4_Frame_format.md, "Legacy frame"; lz4_Block_format.md.
 */
import { decodeLz4Block } from '@revenant/storage/lz4-block';

export const lz4LegacyMagic = 0x184c2102;
const maxBlockBytes = 8 << 20;

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
    to = decodeLz4Block(
      frame.subarray(from, from + packed),
      out.subarray(0, Math.min(unpackedBytes, to + maxBlockBytes)),
      to,
    );
    from += packed;
  }
  if (to !== unpackedBytes) throw new RangeError(`LZ4 frame unpacks to ${to} bytes, not ${unpackedBytes}`);
  return out;
}
