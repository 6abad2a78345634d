/** Bytes and text without a host: the inspector runs in a page's worker as it does on Node. */

const latin1 = new TextDecoder('latin1');
const utf8 = new TextDecoder();
const encoder = new TextEncoder();

/** Where a pattern begins in bytes, from a place on; -1: nowhere. */
export function indexOfBytes(bytes: Uint8Array, pattern: Uint8Array, from = 0): number {
  const [first = 0] = pattern;
  const last = bytes.length - pattern.length;
  for (let at = bytes.indexOf(first, from); at >= 0 && at <= last; at = bytes.indexOf(first, at + 1)) {
    let same = 1;
    while (same < pattern.length && bytes[at + same] === pattern[same]) same++;
    if (same >= pattern.length) return at;
  }
  return -1;
}

export function concatBytes(...pieces: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    joined.set(piece, at);
    at += piece.length;
  }
  return joined;
}

export function textBytes(text: string): Uint8Array {
  return encoder.encode(text);
}

/** Shared memory can't be decoded in place. */
export function latin1Text(bytes: Uint8Array): string {
  return latin1.decode(Uint8Array.from(bytes));
}

export function utf8Text(bytes: Uint8Array): string {
  return utf8.decode(Uint8Array.from(bytes));
}

/** `0x` and digits, at least `digits`. */
export function hex(value: bigint | number, digits = 1): string {
  return `0x${BigInt.asUintN(64, BigInt(value)).toString(16).padStart(digits, '0')}`;
}
