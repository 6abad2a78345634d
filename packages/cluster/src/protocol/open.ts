/**
 * Releases beside each other (docs/CLUSTER_PROTOCOL.md, "Versions"). What a node *tells* (messages, answers, records in the store) may hold fields
 * of a release that is not known here. Whoever reads it passes over them, and keeps them in what it writes back, so that a record that
 * an older node changed has lost nothing. What somebody *asks for* is read strictly: nobody does a part of what was wanted.
 */
import * as v from 'valibot';
import { check, mapParts, mapOf } from './schema.ts';

type Pipe = readonly [v.GenericSchema, ...v.GenericPipeAction[]];
/** What may be inside a schema, as valibot keeps it. */
interface Parts extends v.GenericSchema {
  pipe?: Pipe;
  entries?: Record<string, v.GenericSchema>;
  item?: v.GenericSchema;
  wrapped?: v.GenericSchema;
  options?: v.GenericSchema[];
  default?: unknown;
  key?: string;
}

const opened = new WeakMap<v.GenericSchema, v.GenericSchema>();

/** The same schema, but each object in it may have fields that the schema does not name; they stay in the result, unseen by its type. */
export function open<T extends v.GenericSchema>(schema: T): T {
  let found = opened.get(schema);
  if (found === undefined) {
    found = openParts(schema);
    opened.set(schema, found);
  }
  return found as T;
}

const openEntries = (entries: Record<string, v.GenericSchema>): Record<string, v.GenericSchema> =>
  Object.fromEntries(Object.entries(entries).map(([name, entry]) => [name, open(entry)]));

function openParts(schema: v.GenericSchema): v.GenericSchema {
  const parts: Parts = schema;
  const { pipe, entries = {}, item, wrapped, options = [], key = '' } = parts;
  const map = mapParts(schema);
  if (map !== undefined) return mapOf(open(map.item), map.limit, map.keyLimit);
  if (pipe !== undefined) {
    const [first, ...rest] = pipe;
    return (v.pipe as unknown as (...steps: Pipe) => v.GenericSchema)(open(first), ...rest);
  }
  switch (schema.type) {
    case 'strict_object':
    case 'loose_object':
    case 'object':
      return v.looseObject(openEntries(entries));
    case 'variant':
      return v.variant(key, options.map(open) as never);
    case 'union':
      return v.union(options.map(open));
    case 'array':
      return v.array(open(item!));
    case 'nullable':
      return v.nullable(open(wrapped!));
    case 'optional':
      return v.optional(open(wrapped!), parts.default as undefined);
    case 'exact_optional':
      return v.exactOptional(open(wrapped!));
    default:
      return schema;
  }
}

/** What somebody told, typed; unknown fields of it are kept. Throws as `check` does. */
export function checkTold<T extends v.GenericSchema>(
  schema: T,
  value: unknown,
  what: string,
): v.InferOutput<T> {
  return check(open(schema), value, what);
}
