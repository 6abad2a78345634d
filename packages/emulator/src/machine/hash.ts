/**
 * SHA-256 (FIPS 180-4) and a canonical encoding of plain data for it. The machine takes a faster hash as a backend where the host has
 * one; this one runs everywhere.
 */

/** An incremental hash. */
export interface Hash {
  update(data: Uint8Array): void;
  /** 32 bytes; the hash can't be used afterwards. */
  digest(): Uint8Array;
}
/** Begins a hash. */
export type HashFactory = () => Hash;

const blockBytes = 64;

function primes(count: number): number[] {
  const found: number[] = [];
  for (let n = 2; found.length < count; n++) if (found.every((p) => n % p !== 0)) found.push(n);
  return found;
}
/** First 32 bits of the fractional part. */
const fraction = (x: number): number => Math.floor((x - Math.floor(x)) * 2 ** 32) >>> 0;
// FIPS 180-4, 4.2.2 and 5.3.3: cube roots of the first 64 primes, square roots of the first 8.
const roundConstants = Uint32Array.from(primes(64), (p) => fraction(Math.cbrt(p)));
const initialState = Uint32Array.from(primes(8), (p) => fraction(Math.sqrt(p)));

function rotate(x: number, n: number): number {
  return (x >>> n) | (x << (32 - n));
}

class Sha256 implements Hash {
  readonly #state = initialState.slice();
  readonly #schedule = new Uint32Array(64);
  readonly #tail = new Uint8Array(blockBytes);
  #tailLength = 0;
  #total = 0;

  update(data: Uint8Array): void {
    this.#total += data.length;
    let at = 0;
    if (this.#tailLength > 0) {
      at = Math.min(blockBytes - this.#tailLength, data.length);
      this.#tail.set(data.subarray(0, at), this.#tailLength);
      this.#tailLength += at;
      if (this.#tailLength < blockBytes) return;
      this.#block(this.#tail, 0);
      this.#tailLength = 0;
    }
    for (; at + blockBytes <= data.length; at += blockBytes) this.#block(data, at);
    this.#tail.set(data.subarray(at));
    this.#tailLength = data.length - at;
  }

  #block(data: Uint8Array, at: number): void {
    const w = this.#schedule;
    const view = new DataView(data.buffer, data.byteOffset + at, blockBytes);
    for (let t = 0; t < 16; t++) w[t] = view.getUint32(t * 4);
    for (let t = 16; t < 64; t++) {
      const a = w[t - 15] as number;
      const b = w[t - 2] as number;
      const s0 = rotate(a, 7) ^ rotate(a, 18) ^ (a >>> 3);
      const s1 = rotate(b, 17) ^ rotate(b, 19) ^ (b >>> 10);
      w[t] = (w[t - 16] as number) + s0 + (w[t - 7] as number) + s1;
    }
    let [a, b, c, d, e, f, g, h] = this.#state as unknown as [
      number,
      number,
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    for (let t = 0; t < 64; t++) {
      const s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
      const t1 = (h + s1 + ((e & f) ^ (~e & g)) + (roundConstants[t] as number) + (w[t] as number)) | 0;
      const s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
      const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g;
      g = f;
      f = e;
      e = (d + t1) | 0;
      d = c;
      c = b;
      b = a;
      a = (t1 + t2) | 0;
    }
    [a, b, c, d, e, f, g, h].forEach((value, n) => {
      this.#state[n] = (this.#state[n] as number) + value;
    });
  }

  digest(): Uint8Array {
    const total = this.#total;
    const padding = new Uint8Array(((119 - (total % blockBytes)) % blockBytes) + 9);
    padding[0] = 0x80;
    const view = new DataView(padding.buffer);
    view.setUint32(padding.length - 8, Math.floor(total / 2 ** 29));
    view.setUint32(padding.length - 4, (total << 3) >>> 0);
    this.update(padding);
    const out = new Uint8Array(32);
    this.#state.forEach((value, n) => {
      new DataView(out.buffer).setUint32(n * 4, value);
    });
    return out;
  }
}

/** SHA-256 in TypeScript, for hosts that have none of their own. */
export const sha256: HashFactory = () => new Sha256();

/** Adds plain data: keys in order, each value with its type, so that equal data and only equal data hash alike. */
export function hashValue(hash: Hash, value: unknown): void {
  const text = (s: string): void => {
    hash.update(new TextEncoder().encode(s));
  };
  if (value instanceof Uint8Array) {
    text(`b${String(value.length)}:`);
    hash.update(value);
  } else if (Array.isArray(value)) {
    text(`[${String(value.length)}:`);
    for (const item of value) hashValue(hash, item);
  } else if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    text(`{${String(entries.length)}:`);
    for (const [key, item] of entries) {
      text(`${String(key.length)}:${key}`);
      hashValue(hash, item);
    }
  } else text(`${(typeof value)[0] ?? ''}${String(value)};`);
}

/** Bytes as hexadecimal digits. */
export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
