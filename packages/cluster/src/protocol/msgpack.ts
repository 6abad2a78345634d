/**
 * msgpack (https://github.com/msgpack/msgpack/blob/master/spec.md) of messages. Bytes are walked once before anything is made of
 * them: a header of five bytes may claim an array of four thousand million elements, for which a decoder makes room at once.
 */
import { Packr } from 'msgpackr';
import { ClusterError } from '../errors.ts';
import { maxMessageDepth, maxMessageValues } from './limits.ts';

const packr = new Packr({ useRecords: false, mapsAsObjects: true, int64AsType: 'number' });

export interface Bounds {
  maxValues: number;
  maxDepth: number;
}

export const messageBounds: Bounds = { maxValues: maxMessageValues, maxDepth: maxMessageDepth };

export function encode(value: unknown): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(packr.pack(value));
}

/** Throws ClusterError `PROTOCOL` for whatever is not exactly one value within the bounds. */
export function decode(bytes: Uint8Array, bounds: Bounds = messageBounds): unknown {
  walk(bytes, bounds);
  try {
    return packr.unpack(bytes);
  } catch (error) {
    throw new ClusterError('PROTOCOL', 'bytes that are no msgpack', { cause: error });
  }
}

const refuse = (why: string): ClusterError => new ClusterError('PROTOCOL', why);

/** By first byte 0xc0 to 0xdf: bytes of payload that follow (length fields are read in `walk`). */
// prettier-ignore
const fixedBytes = new Map<number, number>([
  [0xc0, 0], [0xc2, 0], [0xc3, 0],                          // nil, false, true
  [0xca, 4], [0xcb, 8],                                     // float 32, 64
  [0xcc, 1], [0xcd, 2], [0xce, 4], [0xcf, 8],               // uint 8 to 64
  [0xd0, 1], [0xd1, 2], [0xd2, 4], [0xd3, 8],               // int 8 to 64
]);

/** By first byte: bytes of its length field, for texts and bytes, then for arrays (1 value each) and maps (2 values each). */
const blobs = new Map<number, number>([
  [0xd9, 1],
  [0xda, 2],
  [0xdb, 4],
  [0xc4, 1],
  [0xc5, 2],
  [0xc6, 4],
]);
const nests = new Map<number, { field: number; values: number }>([
  [0xdc, { field: 2, values: 1 }],
  [0xdd, { field: 4, values: 1 }],
  [0xde, { field: 2, values: 2 }],
  [0xdf, { field: 4, values: 2 }],
]);

/** Extensions (0xc7 to 0xc9, 0xd4 to 0xd8) are none of ours: refused like the unused 0xc1. */
function walk(bytes: Uint8Array, { maxValues, maxDepth }: Bounds): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  let values = 0;
  /** Values that are still missing, by level; the value itself is the outermost. */
  const missing = [1];
  const take = (length: number): number => {
    if (length > bytes.length - at) throw refuse('msgpack that is cut short');
    at += length;
    return at - length;
  };
  const field = (size: number): number => {
    const start = take(size);
    return size === 1 ? view.getUint8(start) : size === 2 ? view.getUint16(start) : view.getUint32(start);
  };
  const nest = (more: number): void => {
    // Each value takes a byte at least.
    if (more > bytes.length - at) throw refuse('msgpack that is cut short');
    if (missing.length > maxDepth) throw refuse(`msgpack of more than ${String(maxDepth)} levels`);
    missing.push(more);
  };
  while (missing.length > 0) {
    const level = missing.length - 1;
    if (missing[level] === 0) {
      missing.pop();
      continue;
    }
    missing[level]!--;
    if (++values > maxValues) throw refuse(`msgpack of more than ${String(maxValues)} values`);
    const first = bytes[take(1)]!;
    if (first < 0x80 || first >= 0xe0) continue; // fixint
    if (first < 0x90) nest((first & 15) * 2);
    else if (first < 0xa0) nest(first & 15);
    else if (first < 0xc0) take(first & 31);
    else {
      const fixed = fixedBytes.get(first);
      const blob = blobs.get(first);
      const nested = nests.get(first);
      if (fixed !== undefined) take(fixed);
      else if (blob !== undefined) take(field(blob));
      else if (nested !== undefined) nest(field(nested.field) * nested.values);
      else throw refuse(`msgpack of the unknown kind 0x${first.toString(16)}`);
    }
  }
  if (at !== bytes.length) throw refuse('msgpack with something behind it');
}
