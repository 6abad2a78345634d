/**
 * Bytes that wait: pieces as they came, so that a byte is copied once, into its frame. Small pieces are gathered in pieces of their own, so
 * that a writer of single bytes costs no object a byte. It is plain data; who fills it minds its length.
 */
import { insist } from '../insist.ts';

export interface ByteQueue {
  pieces: { bytes: Uint8Array; from: number; to: number; gathers: boolean }[];
  length: number;
}

const gatheringBytes = 4096;
const smallBytes = 1024;

export function emptyQueue(): ByteQueue {
  return { pieces: [], length: 0 };
}

/** Keeps `data` itself when it is large: its owner must not write to it afterwards. */
export function push(queue: ByteQueue, data: Uint8Array): void {
  if (data.length === 0) return;
  queue.length += data.length;
  const last = queue.pieces.at(-1);
  if (last?.gathers === true && last.bytes.length - last.to >= data.length) {
    last.bytes.set(data, last.to);
    last.to += data.length;
  } else if (data.length < smallBytes) {
    const bytes = new Uint8Array(gatheringBytes);
    bytes.set(data);
    queue.pieces.push({ bytes, from: 0, to: data.length, gathers: true });
  } else {
    queue.pieces.push({ bytes: data, from: 0, to: data.length, gathers: false });
  }
}

/** Forgets the first `count` bytes. `done` is told of arrays that were kept, and are no longer. */
export function drop(queue: ByteQueue, count: number, done?: (data: Uint8Array) => void): void {
  let left = Math.min(count, queue.length);
  queue.length -= left;
  let whole = 0;
  for (const piece of queue.pieces) {
    const size = piece.to - piece.from;
    if (left < size) {
      piece.from += left;
      break;
    }
    left -= size;
    whole++;
    if (!piece.gathers) done?.(piece.bytes);
  }
  if (whole > 0) queue.pieces.splice(0, whole);
}

/** Copies `length` bytes from `offset` on to `target`; the range lies in the queue. */
export function copyOut(
  queue: ByteQueue,
  range: { offset: number; length: number },
  target: { bytes: Uint8Array; at: number },
): void {
  let skip = range.offset;
  let left = range.length;
  let at = target.at;
  for (const piece of queue.pieces) {
    if (left === 0) return;
    const size = piece.to - piece.from;
    if (skip >= size) {
      skip -= size;
      continue;
    }
    const take = Math.min(size - skip, left);
    target.bytes.set(piece.bytes.subarray(piece.from + skip, piece.from + skip + take), at);
    at += take;
    left -= take;
    skip = 0;
  }
  insist(left === 0, 'more is to be sent than waits to be');
}
