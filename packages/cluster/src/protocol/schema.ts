/**
 * What the schemas of this folder are made of. A value from outside goes through `check` once; from then on its type holds.
 * Objects are strict, as what is asked for is to be read; what is told is read by the same schemas, opened for other releases (open.ts).
 */
import * as v from 'valibot';
import { ClusterError, type ClusterErrorCode } from '../errors.ts';
import {
  bounded,
  maxAddress,
  maxMessageDepth,
  maxName,
  maxSpecBytes,
  maxText,
  maxMessageValues,
} from './limits.ts';

/** A whole number from 0 on that a double holds exactly. */
export const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
export const text = (limit: number = maxText) => v.pipe(v.string(), v.maxLength(limit));
export const reason = text();
/** Of nodes. No name of a member of Object.prototype is special: whoever looks a name up uses maps or `Object.hasOwn`. */
export const nodeName = v.pipe(
  v.string(),
  v.regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, 'not a name of a node'),
);
/** Of VMs that exist; what a new one may be called is for the command to say. */
export const vmName = text(maxName);
export const address = text(maxAddress);

export const list = <T extends v.GenericSchema>(item: T, limit: number) =>
  v.pipe(v.array(item), v.maxLength(limit));

/** A plain object (of any prototype), as JSON and msgpack give it: no array, no bytes. */
export function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);
}

/**
 * An object whose keys are data. Valibot's own `record` leaves keys out that are members of Object.prototype (`constructor`), which
 * would lose a VM of that name.
 */
export function mapOf<T extends v.GenericSchema>(item: T, limit: number, keyLimit: number = maxName) {
  const schema = v.pipe(
    v.custom<Record<string, unknown>>(isMap, 'not a map'),
    v.rawTransform(({ dataset, addIssue, NEVER }) => {
      const entries = Object.entries(dataset.value);
      if (entries.length > limit) {
        addIssue({ message: `a map of ${String(entries.length)} entries, at most ${String(limit)}` });
        return NEVER;
      }
      const checked: [string, v.InferOutput<T>][] = [];
      for (const [key, value] of entries) {
        const result = v.safeParse(item, value);
        if (result.success && key.length <= keyLimit) {
          checked.push([key, result.output]);
          continue;
        }
        const why = result.success ? 'its name is too long' : (whatIsWrong(result.issues) ?? '');
        addIssue({ message: `${bounded(JSON.stringify(key), 70)}: ${why}` });
        return NEVER;
      }
      return Object.fromEntries(checked);
    }),
  );
  maps.set(schema, { item, limit, keyLimit });
  return schema;
}

interface MapParts {
  item: v.GenericSchema;
  limit: number;
  keyLimit: number;
}
const maps = new WeakMap<v.GenericSchema, MapParts>();

/** What `mapOf` made a schema of; undefined for any other schema. */
export const mapParts = (schema: v.GenericSchema): MapParts | undefined => maps.get(schema);

/** What has no schema here (what a runtime builds a VM from): JSON of bounded depth, number of values and length. */
export const opaque = v.pipe(
  v.unknown(),
  v.check((value) => isBounded(value), 'too deep, too many values, or too long'),
);

/** Strings, numbers, booleans, null, arrays and plain objects, bounded in every direction. */
export function isBounded(value: unknown, maxBytes: number = maxSpecBytes): boolean {
  let left = Math.min(maxMessageValues, maxBytes);
  let bytes = maxBytes;
  const pending: { value: unknown; depth: number }[] = [{ value, depth: 0 }];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (--left < 0 || next.depth > maxMessageDepth) return false;
    const { value: item, depth } = next;
    if (typeof item === 'string') bytes -= item.length;
    else if (Array.isArray(item)) {
      if (item.length > left) return false;
      for (const each of item) pending.push({ value: each, depth: depth + 1 });
    } else if (isMap(item)) {
      for (const [key, each] of Object.entries(item)) {
        bytes -= key.length;
        pending.push({ value: each, depth: depth + 1 });
      }
    } else if (item !== null && item !== undefined && typeof item !== 'number' && typeof item !== 'boolean')
      return false;
    if (bytes < 0) return false;
  }
  return true;
}

/** The first issue in words: where, and what. */
export function whatIsWrong(issues: readonly v.BaseIssue<unknown>[]): string | undefined {
  const [first] = issues;
  if (first === undefined) return undefined;
  const path = v.getDotPath(first);
  return bounded(path === null ? first.message : `${path}: ${first.message}`, maxText / 2);
}

/**
 * The value, typed. `what` names it for people: "the answer to GET /v1/status".
 * @throws ClusterError `code` (`PROTOCOL` unless told otherwise) that says where it does not fit
 */
export function check<T extends v.GenericSchema>(
  schema: T,
  value: unknown,
  what: string,
  code: ClusterErrorCode = 'PROTOCOL',
): v.InferOutput<T> {
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  throw new ClusterError(code, `${what} is malformed: ${whatIsWrong(result.issues) ?? 'no reason given'}`);
}
