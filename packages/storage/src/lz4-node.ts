/** `#lz4` on Node: LZ4 blocks with the decoded length (u32, little-endian) in front, by the native library. lz4-browser.ts is the other. */
import lz4 from 'lz4-napi';

const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

export function compressSized(bytes: Uint8Array): Uint8Array {
  return lz4.compressSync(asBuffer(bytes));
}

/** Allocates what the block says: bound it before. Throws for a block that does not decode; may give less than it says. */
export function uncompressSized(block: Uint8Array): Uint8Array {
  return lz4.uncompressSync(asBuffer(block));
}
