/** `#lz4` in a browser: the same blocks as lz4-node.ts, in plain TypeScript. */
import { decodeLz4Block, encodeLz4Block } from './lz4-block.ts';

const lengthBytes = 4;

export function compressSized(bytes: Uint8Array): Uint8Array {
  const block = encodeLz4Block(bytes);
  const sized = new Uint8Array(lengthBytes + block.length);
  new DataView(sized.buffer).setUint32(0, bytes.length, true);
  sized.set(block, lengthBytes);
  return sized;
}

/** Allocates what the block says: bound it before. Throws for a block that does not decode; may give less than it says. */
export function uncompressSized(block: Uint8Array): Uint8Array {
  const length = new DataView(block.buffer, block.byteOffset, block.length).getUint32(0, true);
  const out = new Uint8Array(length);
  return out.subarray(0, decodeLz4Block(block.subarray(lengthBytes), out));
}
