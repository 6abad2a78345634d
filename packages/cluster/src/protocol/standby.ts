/**
 * What an owner of a VM and its standby tell each other (docs/CLUSTER_PROTOCOL.md, "Standbys"): the log as it is made, how far it is held,
 * and sums of the state by which the two machines are compared. No decision hears of it.
 */
import * as v from 'valibot';
import { maxFeedEntries, maxSessionName, maxSumSpaces } from './limits.ts';
import { count, list, reason, text, vmName } from './schema.ts';

const bytes = v.custom<Uint8Array>((value) => value instanceof Uint8Array, 'not bytes');
const instructions = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

/** From the owner: entries of its log, in order. Also sent without any, so that each hears that the other is there. */
export const standbyFeedSchema = v.strictObject({
  type: v.literal('standby-feed'),
  vmId: vmName,
  epoch: count,
  /** Number of the first of these entries. */
  first: count,
  entries: list(v.strictObject({ count: instructions, bytes }), maxFeedEntries),
  /** The oldest entry that its owner can still send: those before are in the store. */
  oldest: count,
  /** The number that the next entry will have. */
  next: count,
  /** Once all entries below `next` are there: nothing else came in up to this count. */
  mark: instructions,
  /** What the guest said before this count was let out. */
  left: instructions,
  /** Entries below this number are in the store. */
  safe: count,
});
export type StandbyFeed = v.InferOutput<typeof standbyFeedSchema>;

/** From the owner: sums of the pages that changed between two of its checkpoints, and of all else at the later one. */
export const standbySumsSchema = v.strictObject({
  type: v.literal('standby-sums'),
  vmId: vmName,
  epoch: count,
  /** The number of the next entry when it was cut; and when the one before was. */
  cut: count,
  before: count,
  /** Its name; null: it never became durable. */
  checkpoint: v.nullable(text(maxSessionName)),
  /** Of processors and devices. */
  rest: text(64),
  /** Numbers of pages and their sums, four bytes each, little-endian. */
  pages: list(v.strictObject({ space: text(64), indexes: bytes, sums: bytes }), maxSumSpaces),
});
export type StandbySums = v.InferOutput<typeof standbySumsSchema>;

export const standbyStates = ['preparing', 'following', 'diverged'] as const;

/** From the standby. */
export const standbyAckSchema = v.strictObject({
  type: v.literal('standby-ack'),
  vmId: vmName,
  epoch: count,
  state: v.picklist(standbyStates),
  reason,
  /** It holds all entries below this number, and knows that nothing else came in up to this count. */
  next: count,
  mark: instructions,
  /** How far its machine has come. */
  replayed: instructions,
  /** Entries before `next` of what was sent are missing. */
  missing: v.boolean(),
  /** The last checkpoint at which both machines were found alike. */
  checked: v.nullable(text(maxSessionName)),
});
export type StandbyAck = v.InferOutput<typeof standbyAckSchema>;

export type StandbyMessage = StandbyFeed | StandbySums | StandbyAck;

export function isOfStandby(message: { type: string }): message is StandbyMessage {
  return message.type.startsWith('standby-');
}
