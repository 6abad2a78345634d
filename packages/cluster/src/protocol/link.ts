/** Messages between nodes (docs/CLUSTER_PROTOCOL.md, "Links"). Their order, origin and code are checked below them (node/frames.ts). */
import * as v from 'valibot';
import { ClusterError } from '../errors.ts';
import { maxFrameBytes, maxNodes } from './limits.ts';
import { decode } from './msgpack.ts';
import { framesSchema, placesSchema, type FramesMessage, type PlacesMessage } from './network.ts';
import { commandAnswerSchema, nodeViewSchema, protectedListSchema } from './records.ts';
import { checkTold } from './open.ts';
import { count, isMap, list, nodeName, text, vmName } from './schema.ts';
import { commandId, type Command } from './spec.ts';
import {
  isOfStandby,
  standbyAckSchema,
  standbyFeedSchema,
  standbySumsSchema,
  type StandbyMessage,
} from './standby.ts';

/** Of whichever release: who carries it out checks it, and answers that it can't. */
const anyCommandSchema = v.custom<Command>((given) => isMap(given) && v.is(text(64), given['type']));

export const messageSchema = v.variant('type', [
  v.strictObject({
    type: v.literal('heartbeat'),
    incarnation: count,
    /** Of the last renewal known to be in the store. */
    counter: count,
    view: nodeViewSchema,
    /** Peers that the sender hears: a one-way cut shows here. */
    hears: list(nodeName, maxNodes),
    term: count,
    revision: count,
    master: v.nullable(nodeName),
    /** Answer wanted at once. */
    ping: v.boolean(),
  }),
  /** Pushed by the master: a hint that saves a read. */
  v.strictObject({ type: v.literal('list'), list: protectedListSchema }),
  v.strictObject({ type: v.literal('released'), vmId: vmName }),
  /** You run this VM under this epoch; the sender, which shall have it, is ready for it. */
  v.strictObject({ type: v.literal('prepared'), vmId: vmName, epoch: count }),
  /** You own this VM under this epoch: give it up, should you not run it. */
  v.strictObject({ type: v.literal('give-up'), vmId: vmName, epoch: count }),
  v.strictObject({ type: v.literal('command'), id: commandId, command: anyCommandSchema }),
  v.strictObject({ type: v.literal('answer'), answer: commandAnswerSchema }),
  framesSchema,
  placesSchema,
  standbyFeedSchema,
  standbySumsSchema,
  standbyAckSchema,
]);
export type LinkMessage = v.InferOutput<typeof messageSchema>;
/** What networks of guests tell each other: no decision hears of it. */
export type NetworkMessage = FramesMessage | PlacesMessage;
export type Message = Exclude<LinkMessage, NetworkMessage | StandbyMessage>;
export { isOfStandby, type StandbyMessage };

export function isOfNetworks(message: LinkMessage): message is NetworkMessage {
  return message.type === 'frames' || message.type === 'places';
}

const messageTypes = new Set<unknown>(messageSchema.options.map(({ entries }) => entries.type.literal));

/**
 * Decodes and checks one message; undefined for one of a kind that this release does not know. Throws `PROTOCOL`; never anything else,
 * whatever the bytes.
 */
export function decodeMessage(payload: Uint8Array): LinkMessage | undefined {
  if (payload.length > maxFrameBytes)
    throw new ClusterError('PROTOCOL', `a message of ${String(payload.length)} bytes`);
  const message = decode(payload);
  if (isMap(message) && typeof message['type'] === 'string' && !messageTypes.has(message['type']))
    return undefined;
  return checkTold(messageSchema, message, 'a message between nodes');
}
