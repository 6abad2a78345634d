/** `#lz4` on Node: LZ4 blocks with the decoded length (u32, little-endian) in front, by the native library. lz4-browser.ts is the other. */
import lz4 from 'lz4-napi';

const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/**
 * A copy of what the library gave, whose own memory goes back at once: it has an allocator of its own, which V8 knows little of, and waits for the
 * collector and then for the event loop, while hundreds of MiB come together.
 */
function owned(given: Buffer): Uint8Array {
  const { buffer, length } = given;
  const copy = new Uint8Array(given);
  if (buffer instanceof ArrayBuffer && buffer.byteLength === length) buffer.transfer(0);
  return copy;
}

export function compressSized(bytes: Uint8Array): Uint8Array {
  return owned(lz4.compressSync(asBuffer(bytes)));
}

/** Allocates what the block says: bound it before. Throws for a block that does not decode; may give less than it says. */
export function uncompressSized(block: Uint8Array): Uint8Array {
  return owned(lz4.uncompressSync(asBuffer(block)));
}
