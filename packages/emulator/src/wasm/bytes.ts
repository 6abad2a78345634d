/** A buffer of bytes that grows, with the encodings of the WebAssembly binary format. */

const encoder = new TextEncoder();

/** A growing byte buffer with the encodings of the WebAssembly binary format (LEB128, vectors, names). */
export class Bytes {
  #data = new Uint8Array(64);
  length = 0;

  #reserve(count: number): void {
    if (this.length + count <= this.#data.length) return;
    const larger = new Uint8Array(Math.max(this.#data.length * 4, this.length + count));
    larger.set(this.#data.subarray(0, this.length));
    this.#data = larger;
  }

  u8(value: number): void {
    this.#reserve(1);
    this.#data[this.length++] = value;
  }

  raw(bytes: ArrayLike<number>): void {
    this.#reserve(bytes.length);
    if (bytes.length < 8) for (let i = 0; i < bytes.length; i++) this.#data[this.length + i] = bytes[i] ?? 0;
    else this.#data.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** Unsigned LEB128 of a 32-bit number. */
  u32(value: number): void {
    this.#reserve(5);
    let rest = value >>> 0;
    while (rest >= 0x80) {
      this.#data[this.length++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.#data[this.length++] = rest;
  }

  /** Signed LEB128 of a 32-bit number. */
  s32(value: number): void {
    this.#reserve(5);
    let rest = value | 0;
    for (;;) {
      const low = rest & 0x7f;
      rest >>= 7;
      if ((rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0)) {
        this.#data[this.length++] = low;
        return;
      }
      this.#data[this.length++] = low | 0x80;
    }
  }

  /** Signed LEB128 of a 64-bit number. */
  s64(value: bigint): void {
    let rest = BigInt.asIntN(64, value);
    if (rest >= -0x8000_0000n && rest <= 0x7fff_ffffn) {
      this.s32(Number(rest));
      return;
    }
    for (;;) {
      const low = Number(rest & 0x7fn);
      rest >>= 7n;
      if ((rest === 0n && (low & 0x40) === 0) || (rest === -1n && (low & 0x40) !== 0)) {
        this.u8(low);
        return;
      }
      this.u8(low | 0x80);
    }
  }

  name(text: string): void {
    const bytes = encoder.encode(text);
    this.u32(bytes.length);
    this.raw(bytes);
  }

  append(other: Bytes): void {
    this.raw(other.view());
  }

  /** The bytes written so far; valid until the next write. */
  view(): Uint8Array<ArrayBuffer> {
    return this.#data.subarray(0, this.length);
  }
}
