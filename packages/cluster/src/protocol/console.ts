/**
 * Messages of `GET /v1/vms/ID/console` (websocket, binary frames of msgpack). What is typed is numbered by byte, acknowledged when a
 * durable checkpoint or log holds it, and sent again from there to whichever node runs the VM next: each byte reaches the guest's state
 * once. What the guest writes is numbered too, so that each byte is shown once.
 */
import * as v from 'valibot';
import { maxConsoleBytes, maxSessionName } from './limits.ts';
import { check, count, reason, text } from './schema.ts';
import { checkTold } from './open.ts';
import { decode } from './msgpack.ts';

const bytes = v.pipe(
  v.custom<Uint8Array>((value) => value instanceof Uint8Array, 'no bytes'),
  v.check((value) => value.length <= maxConsoleBytes, 'too long'),
);
/** Chosen by who types, once, and kept through all nodes: a random UUID. */
export const sessionName = text(maxSessionName);

/** From the console to the node. */
export const consoleRequestSchema = v.variant('type', [
  /** First. `from`: the first byte that is not known to be durable; answered by `place`. */
  v.strictObject({ type: v.literal('open'), session: sessionName, from: count }),
  /** Bytes typed; `at` counts those typed before in this session. Those that were taken already are left out by the node. */
  v.strictObject({ type: v.literal('input'), at: count, bytes }),
]);
export type ConsoleRequest = v.InferOutput<typeof consoleRequestSchema>;

/** What became of what a session gave, of a console or of a display. */
export const consoleAnswers = [
  /**
   * Where input goes on: the guest's thread has the session's first `at` bytes (of a display: events), a durable checkpoint the first `durable`. Sent as the
   * answer to `open`, and when the VM begins an epoch here. `known`: whether its state knew the session; one that it did not know has
   * to be opened.
   */
  v.strictObject({ type: v.literal('place'), epoch: count, at: count, durable: count, known: v.boolean() }),
  /** The guest's thread has the first `taken` bytes, a durable checkpoint the first `durable`. */
  v.strictObject({ type: v.literal('acknowledged'), taken: count, durable: count }),
  /** Whether the VM takes input here just now, and if not, why. Input that comes meanwhile is not taken: it is to be sent again. */
  v.strictObject({ type: v.literal('state'), takes: v.boolean(), reason }),
] as const;

/** From the node to the console. */
export const consoleReplySchema = v.variant('type', [
  /**
   * Output of the guest; `at` counts its bytes since the VM's boot. `resumed` says how its epoch goes on: `boot`, from the first byte;
   * `exact`, everything that anybody heard stands, and has the same numbers; `earlier`, from a state before some of what was let out, which
   * may be repeated or be different.
   */
  v.strictObject({
    type: v.literal('output'),
    epoch: count,
    resumed: v.picklist(['boot', 'exact', 'earlier']),
    at: count,
    bytes,
  }),
  ...consoleAnswers,
]);
export type ConsoleReply = v.InferOutput<typeof consoleReplySchema>;

/** Throws `PROTOCOL`, whatever the bytes. */
export const decodeConsoleRequest = (frame: Uint8Array): ConsoleRequest =>
  check(consoleRequestSchema, decode(frame, { maxValues: 16, maxDepth: 2 }), 'a message of a console');

/** Throws `PROTOCOL`, whatever the bytes. */
export const decodeConsoleReply = (frame: Uint8Array): ConsoleReply =>
  checkTold(consoleReplySchema, decode(frame, { maxValues: 16, maxDepth: 2 }), 'a message to a console');
