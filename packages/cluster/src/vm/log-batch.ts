/**
 * What one entry of a VM's input log holds (docs/LOG_FORMAT.md, "What an entry of a VM holds"): inputs that its machine was given
 * one after the other, and how far the input of its consoles has come with them.
 */
import * as v from 'valibot';
import { decodeLog, encodeLog, type LoggedInput } from '@revenant/emulator';
import { maxSessionName, maxSessions } from '../protocol/limits.ts';
import { decode, encode } from '../protocol/msgpack.ts';
import { check, count, mapOf } from '../protocol/schema.ts';
import type { InputPlaces } from './input-ledger.ts';

export interface LogBatch {
  log: LoggedInput[];
  /** By session of a console: how many of its bytes the guest has, where that changed. */
  places: InputPlaces;
}

const batchSchema = v.strictObject({
  log: v.instance(Uint8Array),
  places: v.optional(mapOf(count, maxSessions, maxSessionName), {}),
});
const bounds = { maxValues: 4 * maxSessions, maxDepth: 3 };

export function encodeBatch({ log, places }: LogBatch): Uint8Array {
  const bytes = encodeLog(log);
  return encode(Object.keys(places).length === 0 ? { log: bytes } : { log: bytes, places });
}

/** The same with its inputs still in their binary form. Throws ClusterError `PROTOCOL`. */
export function openBatch(payload: Uint8Array): { log: Uint8Array; places: InputPlaces } {
  return check(batchSchema, decode(payload, bounds), 'an entry of a log');
}

/** Throws ClusterError `PROTOCOL`, EdgeError. */
export function decodeBatch(payload: Uint8Array): LogBatch {
  const { log, places } = openBatch(payload);
  return { log: decodeLog(log), places };
}
