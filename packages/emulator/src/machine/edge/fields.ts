/**
 * Fields of inputs and outputs: each has a schema (devices/schema.ts), which checks a value, and a compact binary form. Integers are
 * LEB128, signed ones in zigzag; bytes and texts begin with their length.
 */
import { DeviceStateError, integer, record, type Infer, type Schema } from '../../devices/schema.ts';

/** Bytes that are no message of the guest's edge: damaged, too long, or made by a newer version. */
export class EdgeError extends Error {
  readonly code: 'EDGE_MESSAGE_INVALID' | 'EDGE_MESSAGE_VERSION';
  constructor(code: EdgeError['code'], message: string) {
    super(message);
    this.name = 'EdgeError';
    this.code = code;
  }
}

const invalid = (why: string): EdgeError => new EdgeError('EDGE_MESSAGE_INVALID', `edge message: ${why}`);

const maxVarintBytes = 10;

export class ByteWriter {
  #bytes = new Uint8Array(256);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  #grow(by: number): void {
    if (this.#length + by <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + by));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }

  byte(value: number): void {
    this.#grow(1);
    this.#bytes[this.#length++] = value;
  }

  /** An integer from 0 to 2^53. */
  unsigned(value: number): void {
    this.#grow(maxVarintBytes);
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) this.#bytes[this.#length++] = (rest % 0x80) | 0x80;
    this.#bytes[this.#length++] = rest;
  }

  /** 64 bits without sign. */
  wide(value: bigint): void {
    if (value <= BigInt(Number.MAX_SAFE_INTEGER)) {
      this.unsigned(Number(value));
      return;
    }
    this.#grow(maxVarintBytes);
    let rest = value;
    for (; rest >= 0x80n; rest >>= 7n) this.#bytes[this.#length++] = Number(rest & 0x7fn) | 0x80;
    this.#bytes[this.#length++] = Number(rest);
  }

  /** 64 bits with sign. */
  signedWide(value: bigint): void {
    this.wide(BigInt.asUintN(64, value < 0n ? ~(value << 1n) : value << 1n));
  }

  blob(value: Uint8Array): void {
    this.unsigned(value.length);
    this.#grow(value.length);
    this.#bytes.set(value, this.#length);
    this.#length += value.length;
  }

  /** What was written, in memory of its own. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length);
  }
}

export class ByteReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length;
  }

  byte(): number {
    const value = this.#bytes[this.#at++];
    if (value === undefined) throw invalid('it is cut off');
    return value;
  }

  wide(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.byte();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte >= 0x80) continue;
      if (value >> 64n !== 0n) break;
      return value;
    }
    throw invalid('a number has more than 64 bits');
  }

  unsigned(): number {
    const value = this.wide();
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw invalid('a number is too large');
    return Number(value);
  }

  signedWide(): bigint {
    const value = this.wide();
    return BigInt.asIntN(64, value & 1n ? ~(value >> 1n) : value >> 1n);
  }

  /** A view of the message's own bytes; the schema copies them. */
  blob(): Uint8Array {
    const length = this.unsigned();
    if (length > this.#bytes.length - this.#at) throw invalid('it is cut off');
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }
}

/** What `read` returns is checked by `copy` before anybody sees it. */
export interface Field<T> extends Schema<T> {
  /** Throws what `copy` would throw, and copies no bytes; without it `copy` does. */
  check?(value: unknown, path: string): void;
  write(out: ByteWriter, value: T): void;
  read(from: ByteReader): unknown;
}

/** An integer from `min` to `max`. */
export function whole(min: number, max: number): Field<number> {
  const signed = min < 0;
  return {
    ...integer(min, max),
    write: (out, value) => {
      if (signed) out.signedWide(BigInt(value));
      else out.unsigned(value);
    },
    read: (from) => (signed ? Number(from.signedWide()) : from.unsigned()),
  };
}

function wide(
  what: string,
  fits: (value: bigint) => boolean,
  form: Omit<Field<bigint>, 'copy'>,
): Field<bigint> {
  return {
    ...form,
    copy(value, path) {
      if (typeof value !== 'bigint' || !fits(value))
        throw new DeviceStateError('DEVICE_STATE_INVALID', `${path}: expected ${what}`);
      return value;
    },
  };
}

/** 64 bits with sign: times in ns. */
export const signed64: Field<bigint> = wide('a signed 64-bit integer', (v) => BigInt.asIntN(64, v) === v, {
  write: (out, value) => {
    out.signedWide(value);
  },
  read: (from) => from.signedWide(),
});

/** 64 bits without sign. */
export const unsigned64: Field<bigint> = wide('a 64-bit integer', (v) => BigInt.asUintN(64, v) === v, {
  write: (out, value) => {
    out.wide(value);
  },
  read: (from) => from.wide(),
});

export const flag: Field<boolean> = {
  copy(value, path) {
    if (typeof value !== 'boolean')
      throw new DeviceStateError('DEVICE_STATE_INVALID', `${path}: expected true or false`);
    return value;
  },
  write: (out, value) => {
    out.byte(value ? 1 : 0);
  },
  read: (from) => from.byte() !== 0,
};

/** From `min` to `max` bytes. */
export function blob(min: number, max: number): Field<Uint8Array> {
  const checked = (value: unknown, path: string): Uint8Array => {
    if (!(value instanceof Uint8Array) || value.length < min || value.length > max)
      throw new DeviceStateError(
        'DEVICE_STATE_INVALID',
        `${path}: expected ${String(min)} to ${String(max)} bytes`,
      );
    return value;
  };
  return {
    check: checked,
    copy: (value, path) => new Uint8Array(checked(value, path)),
    write: (out, value) => {
      out.blob(value);
    },
    read: (from) => from.blob(),
  };
}

/** Up to `max` bytes of UTF-8. */
export function text(max: number): Field<string> {
  return {
    copy(value, path) {
      if (typeof value !== 'string' || new TextEncoder().encode(value).length > max)
        throw new DeviceStateError(
          'DEVICE_STATE_INVALID',
          `${path}: expected a text of at most ${String(max)} bytes`,
        );
      return value;
    },
    write: (out, value) => {
      out.blob(new TextEncoder().encode(value));
    },
    read: (from) => new TextDecoder().decode(from.blob()),
  };
}

export function choice<const T extends string>(...choices: T[]): Field<T> {
  return {
    copy(value, path) {
      const found = choices.find((one) => one === value);
      if (found === undefined)
        throw new DeviceStateError('DEVICE_STATE_INVALID', `${path}: expected one of ${choices.join(', ')}`);
      return found;
    },
    write: (out, value) => {
      out.byte(choices.indexOf(value));
    },
    read: (from) => choices[from.byte()],
  };
}

/** Null or a value. */
export function optional<T>(inner: Field<T>): Field<T | null> {
  return {
    copy: (value, path) => (value === null ? null : inner.copy(value, path)),
    write: (out, value) => {
      out.byte(value === null ? 0 : 1);
      if (value !== null) inner.write(out, value);
    },
    read: (from) => (from.byte() === 0 ? null : inner.read(from)),
  };
}

export type FieldsOf<F extends Record<string, Field<unknown>>> = { -readonly [K in keyof F]: Infer<F[K]> };

/** Exactly these fields, written in this order. */
export function fields<const F extends Record<string, Field<unknown>>>(all: F): Field<FieldsOf<F>> {
  const entries = Object.entries(all);
  const schema = record(all);
  const checks = entries.map(([name, field]) => [name, { copy: field.check ?? field.copy }] as const);
  const checking = record(Object.fromEntries(checks));
  return {
    check: (value, path) => {
      checking.copy(value, path);
    },
    copy: (value, path) => schema.copy(value, path),
    write: (out, value) => {
      for (const [name, field] of entries) field.write(out, (value as Record<string, unknown>)[name]);
    },
    read: (from) => Object.fromEntries(entries.map(([name, field]) => [name, field.read(from)])),
  };
}
