/**
 * How state is encoded: MessagePack by field name, and LZ4 blocks with the decoded length in front. Everything that is
 * decoded here may come from a damaged or hostile file, so lengths, elements and depth are bounded before anything is allocated.
 * The work of decoding is in proportion to the bytes that are stored, however well they are compressed.
 */
import { compressSized, uncompressSized } from '#lz4';
import { Packr } from 'msgpackr';
import { whyUnboundedMessagePack } from './bounded-messagepack.ts';
import { StorageError } from './errors.ts';

// - useRecords off: plain maps, so that any MessagePack reader can read them;
// - moreTypes: typed arrays (extension 0x74), so that a Uint32Array comes back as one;
// - integers above 32 bits come as 64-bit integers only from bigints; bigints above 64 bits as extension 0x42.
const packr = new Packr({
  useRecords: false,
  mapsAsObjects: true,
  moreTypes: true,
  copyBuffers: true,
  useBigIntExtension: true,
});

/** Encodes JSON-like state with bigints and typed arrays. Not kept: functions, class prototypes, the sign of -0. */
export function encodeState(value: unknown): Uint8Array {
  return new Uint8Array(packr.pack(value));
}

/** Elements that any state may have; a decoder makes so many in a tenth of a second. */
const freeElements = 1 << 18;
/** And one more for so many stored bytes: what is worth many elements takes room, also when compressed. */
const bytesPerElement = 4;
const maxElements = 1 << 23;
const maxDepth = 64;
/** Bytes that any state may unpack to, and its texts; and as many more for each stored byte. */
const [freeBytes, bytesPerByte] = [64 << 20, 16];
const [freeTextBytes, textPerByte] = [16 << 20, 4];
/** No LZ4 block decodes to more than this many times its length. */
const maxLz4Ratio = 255;

/**
 * Why state of so many stored bytes (compressed, when it is) would be refused; undefined when it would not. To be asked before it is
 * stored, too: what is written must be readable.
 */
export function whyUnboundedState(encoded: Uint8Array, storedBytes: number): string | undefined {
  if (!mayUnpackTo(encoded.length, storedBytes)) return unpacksToTooMuch;
  const elements = Math.min(maxElements, freeElements + Math.floor(storedBytes / bytesPerElement));
  const textBytes = freeTextBytes + textPerByte * storedBytes;
  return whyUnboundedMessagePack(encoded, { elements, depth: maxDepth, textBytes });
}

const mayUnpackTo = (bytes: number, storedBytes: number): boolean =>
  bytes <= freeBytes + bytesPerByte * storedBytes;
const unpacksToTooMuch = 'it unpacks to too much';

/** Decodes state that `compressBlock` compressed, and unpacks nothing that `decodeState` would refuse by its length. Throws as that does. */
export function decodeStateBlock(block: Uint8Array, decodedBytes: number): unknown {
  if (!mayUnpackTo(decodedBytes, block.length))
    throw new StorageError('STATE_INVALID', `the encoded state is refused: ${unpacksToTooMuch}`);
  return decodeState(decompressBlock(block, decodedBytes), block.length);
}

/**
 * Decodes what `encodeState` made. Throws `STATE_INVALID` for anything else, and for more than `whyUnboundedState` allows.
 * @param storedBytes how many bytes it took where it was stored.
 */
export function decodeState(bytes: Uint8Array, storedBytes = bytes.length): unknown {
  const why = whyUnboundedState(bytes, storedBytes);
  if (why !== undefined) throw new StorageError('STATE_INVALID', `the encoded state is refused: ${why}`);
  try {
    return plain(packr.unpack(bytes));
  } catch (cause) {
    throw new StorageError('STATE_INVALID', 'the encoded state does not decode', { cause });
  }
}

/** The decoder hands out Node Buffers for binary fields; callers get plain Uint8Arrays. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array && value.constructor !== Uint8Array)
    // Small Buffers lie in one that they share.
    return value.length === value.buffer.byteLength ? new Uint8Array(value.buffer) : new Uint8Array(value);
  if (Array.isArray(value)) return value.map(plain);
  if (value !== null && typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype) {
    const result = value as Record<string, unknown>;
    for (const key of Object.keys(result)) result[key] = plain(result[key]);
  }
  return value;
}

/** Compresses to `u32 LE decoded length` + LZ4 block. */
export function compressBlock(bytes: Uint8Array): Uint8Array {
  return compressSized(bytes);
}

/**
 * Undoes `compressBlock`.
 * @param decodedBytes the exact length to expect; a block that says or gives another is refused as `STATE_INVALID`.
 */
export function decompressBlock(block: Uint8Array, decodedBytes: number): Uint8Array {
  if (block.length < 5 || readU32(block, 0) !== decodedBytes)
    throw new StorageError('STATE_INVALID', 'an LZ4 block has an unexpected length');
  if (decodedBytes > block.length * maxLz4Ratio)
    throw new StorageError('STATE_INVALID', 'an LZ4 block claims more than it can hold');
  let decoded: Uint8Array;
  try {
    decoded = uncompressSized(block);
  } catch (cause) {
    throw new StorageError('STATE_INVALID', 'an LZ4 block does not decompress', { cause });
  }
  if (decoded.length !== decodedBytes)
    throw new StorageError('STATE_INVALID', 'an LZ4 block decompresses to another length');
  return decoded;
}

/** A little-endian u32. */
export function readU32(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(at, true);
}

/** A Buffer view of the same memory. Of Node only: what a browser runs has none. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** True for objects with string keys (not arrays, not typed arrays). */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value) && !ArrayBuffer.isView(value);
}
