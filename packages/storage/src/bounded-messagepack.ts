/**
 * Looks over MessagePack before it is decoded: how many elements it would make, how deeply they are nested, and that nothing in it is
 * beyond what we write (https://github.com/msgpack/msgpack/blob/master/spec.md, "Formats"). A few bytes can claim billions of elements,
 * and an extension can stand for anything that a decoder knows to build; neither is to be found out by decoding it.
 *
 * The walk allocates nothing, and stops at the first excess: its cost is bounded by the bytes that are there.
 */

export interface MessagePackBounds {
  /** Values in all, containers and keys included. */
  elements: number;
  depth: number;
  /** Of all texts together, keys included: making a string of bytes costs far more than a copy of them. */
  textBytes: number;
}

/** Extensions that we write: big integers, typed arrays, undefined (docs/CHECKPOINT_FORMAT.md, "State encoding"). */
const bigInteger = 0x42;
const typedArray = 0x74;
const undefinedExtension = 0;
/** A register of 512 bits, and more than its sign. A decoder's time rises with the square of this, and of a key with more. */
const maxBigIntegerBytes = 72;
const lastArrayType = 10;

/** Why these bytes are not to be decoded; undefined when they may be. */
export function whyUnboundedMessagePack(bytes: Uint8Array, bounds: MessagePackBounds): string | undefined {
  return new Walk(bytes, bounds).why();
}

class Walk {
  readonly #view: DataView;
  readonly #bounds: MessagePackBounds;
  /** Values still to come of each open container, the outermost first. */
  readonly #open: number[] = [1];
  #at = 0;
  #elements = 0;
  #textBytes = 0;

  constructor(bytes: Uint8Array, bounds: MessagePackBounds) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#bounds = bounds;
  }

  why(): string | undefined {
    while (this.#open.length > 0) {
      const depth = this.#open.length - 1;
      if (this.#open[depth] === 0) {
        this.#open.pop();
        continue;
      }
      this.#open[depth]!--;
      if (this.#at >= this.#view.byteLength) return 'it ends early';
      const why = this.#value(this.#view.getUint8(this.#at++));
      if (why !== undefined) return why;
    }
    return this.#at === this.#view.byteLength ? undefined : 'bytes follow its end';
  }

  #value(tag: number): string | undefined {
    if (++this.#elements > this.#bounds.elements) return 'it has too many elements';
    if (tag < 0x80 || tag >= 0xe0) return undefined;
    if (tag < 0x90) return this.#container((tag & 0x0f) * 2);
    if (tag < 0xa0) return this.#container(tag & 0x0f);
    if (tag < 0xc0) return this.#text(tag & 0x1f);
    return this.#tagged(tag);
  }

  #tagged(tag: number): string | undefined {
    switch (tag) {
      case 0xc0: // nil
      case 0xc2: // false
      case 0xc3: // true
        return undefined;
      case 0xc4: // bin 8, 16, 32
      case 0xc5:
      case 0xc6:
        return this.#sized(1 << (tag - 0xc4), (length) => this.#skip(length));
      case 0xc7: // ext 8, 16, 32
      case 0xc8:
      case 0xc9:
        return this.#sized(1 << (tag - 0xc7), (length) => this.#extension(length));
      case 0xca: // float 32
      case 0xcb: // float 64
        return this.#skip(4 << (tag - 0xca));
      case 0xcc: // uint 8 to 64
      case 0xcd:
      case 0xce:
      case 0xcf:
        return this.#skip(1 << (tag - 0xcc));
      case 0xd0: // int 8 to 64
      case 0xd1:
      case 0xd2:
      case 0xd3:
        return this.#skip(1 << (tag - 0xd0));
      case 0xd4: // fixext 1 to 16
      case 0xd5:
      case 0xd6:
      case 0xd7:
      case 0xd8:
        return this.#extension(1 << (tag - 0xd4));
      case 0xd9: // str 8, 16, 32
      case 0xda:
      case 0xdb:
        return this.#sized(1 << (tag - 0xd9), (length) => this.#text(length));
      case 0xdc: // array 16, 32
      case 0xdd:
        return this.#sized(2 << (tag - 0xdc), (length) => this.#container(length));
      case 0xde: // map 16, 32
      case 0xdf:
        return this.#sized(2 << (tag - 0xde), (length) => this.#container(length * 2));
      default:
        return 'it has an unknown kind of value';
    }
  }

  #sized(lengthBytes: number, then: (length: number) => string | undefined): string | undefined {
    if (this.#at + lengthBytes > this.#view.byteLength) return 'it ends early';
    const at = this.#at;
    this.#at += lengthBytes;
    if (lengthBytes === 1) return then(this.#view.getUint8(at));
    return then(lengthBytes === 2 ? this.#view.getUint16(at) : this.#view.getUint32(at));
  }

  #container(count: number): string | undefined {
    // Each element takes a byte at least, so a count beyond the bytes is refused here as well.
    if (this.#elements + count > this.#bounds.elements) return 'it has too many elements';
    if (this.#open.length > this.#bounds.depth) return 'it is nested too deeply';
    this.#open.push(count);
    return undefined;
  }

  #text(length: number): string | undefined {
    this.#textBytes += length;
    return this.#textBytes > this.#bounds.textBytes ? 'it has too much text' : this.#skip(length);
  }

  #skip(length: number): string | undefined {
    this.#at += length;
    return this.#at > this.#view.byteLength ? 'it ends early' : undefined;
  }

  #extension(length: number): string | undefined {
    if (this.#at + 1 + length > this.#view.byteLength) return 'it ends early';
    const type = this.#view.getInt8(this.#at++);
    const first = length > 0 ? this.#view.getUint8(this.#at) : undefined;
    const known =
      (type === bigInteger && length <= maxBigIntegerBytes) ||
      (type === typedArray && first !== undefined && first <= lastArrayType) ||
      (type === undefinedExtension && length === 1);
    if (!known) return 'it has an extension that is not ours';
    return this.#skip(length);
  }
}
