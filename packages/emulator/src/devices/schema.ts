/**
 * Device state as plain data with a schema. The schema copies a state out (`save`) and checks what comes in
 * (`restore`), so that no device lists its fields twice and none can be given garbage.
 */

/** A saved state that can't be used: damaged, made by hand, or made by a newer version. */
export class DeviceStateError extends Error {
  readonly code: 'DEVICE_STATE_INVALID' | 'DEVICE_STATE_VERSION';
  constructor(code: 'DEVICE_STATE_INVALID' | 'DEVICE_STATE_VERSION', message: string) {
    super(message);
    this.name = 'DeviceStateError';
    this.code = code;
  }
}

/** One kind of value: `copy` returns a deep copy of a valid value or throws DeviceStateError naming `path`. */
export interface Schema<T> {
  copy(value: unknown, path: string): T;
}
export type Infer<S> = S extends Schema<infer T> ? T : never;

function refuse(path: string, expected: string): never {
  throw new DeviceStateError('DEVICE_STATE_INVALID', `${path}: expected ${expected}`);
}

/** An integer from `min` to `max`. */
export function integer(min: number, max: number): Schema<number> {
  return {
    copy(value, path) {
      if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max)
        refuse(path, `an integer from ${String(min)} to ${String(max)}`);
      return value;
    },
  };
}
export const u8 = integer(0, 0xff);
export const u16 = integer(0, 0xffff);
export const u32 = integer(0, 0xffff_ffff);

/** A signed 64-bit integer (times in ns). Small ones may come back from an encoder as numbers. */
export const i64: Schema<bigint> = {
  copy(value, path) {
    const wide = typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : value;
    if (typeof wide !== 'bigint' || BigInt.asIntN(64, wide) !== wide) refuse(path, 'a 64-bit integer');
    return wide;
  },
};

export const bool: Schema<boolean> = {
  copy(value, path) {
    if (typeof value !== 'boolean') refuse(path, 'true or false');
    return value;
  },
};

/** Exactly `length` bytes. */
export function bytes(length: number): Schema<Uint8Array> {
  return {
    copy(value, path) {
      if (!(value instanceof Uint8Array) || value.length !== length) refuse(path, `${String(length)} bytes`);
      return Uint8Array.from(value);
    },
  };
}

/** At most `max` bytes. */
export function bytesUpTo(max: number): Schema<Uint8Array> {
  return {
    copy(value, path) {
      if (!(value instanceof Uint8Array) || value.length > max) refuse(path, `at most ${String(max)} bytes`);
      return Uint8Array.from(value);
    },
  };
}

/** At most `max` items. */
export function list<T>(item: Schema<T>, max: number): Schema<T[]> {
  return {
    copy(value, path) {
      if (!Array.isArray(value) || value.length > max) refuse(path, `a list of at most ${String(max)}`);
      return value.map((one, n) => item.copy(one, `${path}[${String(n)}]`));
    },
  };
}

/** Exactly `count` items. */
export function tuple<T>(item: Schema<T>, count: number): Schema<T[]> {
  const inner = list(item, count);
  return {
    copy(value, path) {
      if (!Array.isArray(value) || value.length !== count) refuse(path, `a list of ${String(count)}`);
      return inner.copy(value, path);
    },
  };
}

export function oneOf<const T extends string>(...choices: T[]): Schema<T> {
  return {
    copy(value, path) {
      const found = choices.find((choice) => choice === value);
      return found ?? refuse(path, `one of ${choices.join(', ')}`);
    },
  };
}

/** Null or a value. */
export function nullable<T>(inner: Schema<T>): Schema<T | null> {
  return { copy: (value, path) => (value === null ? null : inner.copy(value, path)) };
}

/** Exactly these fields. */
export function record<const F extends Record<string, Schema<unknown>>>(
  fields: F,
): Schema<{ -readonly [K in keyof F]: Infer<F[K]> }> {
  const names = Object.keys(fields);
  return {
    copy(value, path) {
      if (typeof value !== 'object' || value === null) refuse(path, 'an object');
      const given = value as Record<string, unknown>;
      const unknownName = Object.keys(given).find((name) => !(name in fields));
      if (unknownName !== undefined) refuse(`${path}.${unknownName}`, 'no such field');
      const out: Record<string, unknown> = {};
      for (const name of names) out[name] = fields[name]?.copy(given[name], `${path}.${name}`);
      return out as { -readonly [K in keyof F]: Infer<F[K]> };
    },
  };
}

export interface StateDefinition<T> {
  readonly version: number;
  save(state: T): T;
  /** Throws DeviceStateError for a bad state or a version without a migration. */
  restore(saved: unknown, version: number): T;
}

/** `migrations[v]` turns a state of version v into one of version v + 1. */
export function defineState<T>(options: {
  name: string;
  version: number;
  schema: Schema<T>;
  migrations?: Record<number, (old: unknown) => unknown>;
}): StateDefinition<T> {
  const { name, version, schema, migrations = {} } = options;
  return {
    version,
    save: (state) => schema.copy(state, name),
    restore(saved, savedVersion) {
      let state = saved;
      for (let from = savedVersion; from !== version; from++) {
        const migrate = from < version ? migrations[from] : undefined;
        if (migrate === undefined)
          throw new DeviceStateError(
            'DEVICE_STATE_VERSION',
            `${name}: state version ${String(savedVersion)} can't be read; this program reads up to ${String(version)}`,
          );
        state = migrate(state);
      }
      return schema.copy(state, name);
    },
  };
}
