/**
 * Where a Zstandard frame ends: RFC 8878, section 3.1.1. A compressed cluster of a qcow2 image is stored with an upper bound of its length only,
 * and decoders that are given more than one frame fail, or give wrong data.
 */

const magic = 0xfd2f_b528;

/** Length of the frame at the start of `bytes`; undefined when it is none, or is cut. */
export function zstdFrameLength(bytes: Uint8Array): number | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 6 || view.getUint32(0, true) !== magic) return undefined;
  const descriptor = bytes[4] ?? 0;
  const singleSegment = (descriptor >> 5) & 1;
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] ?? 0;
  const contentSizeBytes = [singleSegment, 2, 4, 8][descriptor >> 6] ?? 0;
  let at = 5 + (1 - singleSegment) + dictionaryBytes + contentSizeBytes;
  for (;;) {
    if (at + 3 > bytes.length) return undefined;
    const header = (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16);
    const type = (header >> 1) & 3;
    const size = header >> 3;
    if (type === 3) return undefined;
    at += 3 + (type === 1 ? 1 : size); // a run-length block has one byte
    if (header & 1) break;
  }
  at += descriptor & 4 ? 4 : 0;
  return at <= bytes.length ? at : undefined;
}
