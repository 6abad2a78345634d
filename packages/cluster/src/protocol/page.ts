/** Messages of `GET /v1/page` (websocket, binary frames of msgpack): all that the web page needs, live, from the node that serves it. */
import * as v from 'valibot';
import { clusterErrorCodes } from '../errors.ts';
import { clusterEventSchema, clusterStatusSchema, mediumRequestSchema, screenAnswerSchema } from './api.ts';
import { listedCheckpointSchema } from './checkpoints.ts';
import { consoleReplySchema, consoleRequestSchema } from './console.ts';
import { displayReplySchema, displayRequestSchema } from './display.ts';
import { nodeFiguresSchema, vmSampleSchema } from './figures.ts';
import { maxCheckpoints, maxEvents, maxKeys, maxName, maxNodes, maxSamples, maxText } from './limits.ts';
import { decode } from './msgpack.ts';
import { check, count, list, nodeName, text, vmName } from './schema.ts';
import { checkTold } from './open.ts';
import { snapshotsAnswerSchema } from './snapshots.ts';
import { commandSchema } from './spec.ts';

/** What a session may do: look; also use VMs (type, start, stop, pause, migrate); also make and delete them and change the cluster. */
export const roles = ['view', 'operate', 'admin'] as const;
export const roleSchema = v.picklist(roles);
export type Role = v.InferOutput<typeof roleSchema>;

export interface Caller {
  /** Of the people file; empty: somebody who has the cluster's token, or anybody of this host where there is none. */
  name: string;
  role: Role;
}

/** `POST /v1/session`, proved by the token as any request is; the answer sets the cookie. */
export const sessionAnswerSchema = v.strictObject({ role: roleSchema, name: text(32) });

/** Chosen by the page; the answer carries it. */
const question = count;

/** Websocket subprotocol of pages; the pass may be offered as another one (`passSubprotocol` and the pass). */
export const pageSubprotocol = 'revenant-page';
export const passSubprotocol = 'revenant-pass.';
/** Before the pass, in the header `authorization` of a request to a node that did not serve the page. */
export const passScheme = 'Revenant-Pass ';

/** From the page to the node. */
export const pageRequestSchema = v.variant('type', [
  v.strictObject({ type: v.literal('command'), question, command: commandSchema }),
  /** A new VM that begins where a checkpoint of this one is; null: its newest. */
  v.strictObject({
    type: v.literal('fork'),
    question,
    vmId: vmName,
    name: vmName,
    /** `EPOCH-SEQUENCE`, or the name of a snapshot. */
    checkpoint: v.nullable(text(maxName)),
    start: v.boolean(),
    identical: v.exactOptional(v.boolean()),
  }),
  /** Most systems shut down in order then. */
  v.strictObject({ type: v.literal('power-button'), question, vmId: vmName }),
  /** A drive gets a medium of the VM's description, or (null) is emptied. */
  v.strictObject({ type: v.literal('medium'), question, vmId: vmName, ...mediumRequestSchema.entries }),
  /** Keeps what it is now under a name; goes back to that; gives it up. A VM that is gone back with runs then if `start`. */
  v.strictObject({ type: v.literal('snapshot'), question, vmId: vmName, name: text(maxName) }),
  v.strictObject({
    type: v.literal('revert'),
    question,
    vmId: vmName,
    name: text(maxName),
    start: v.boolean(),
  }),
  v.strictObject({ type: v.literal('drop-snapshot'), question, vmId: vmName, name: text(maxName) }),
  v.strictObject({ type: v.literal('keys'), question, vmId: vmName, keys: list(text(32), maxKeys) }),
  /** From now on output of this VM's console is sent, what is kept first; `off` ends it. */
  v.strictObject({ type: v.literal('console'), vmId: vmName, on: v.boolean() }),
  /** What is typed there, as at any console, once it was told `attached`. The page keeps it until it is acknowledged. */
  v.strictObject({ type: v.literal('typed'), vmId: vmName, request: consoleRequestSchema }),
  /** From now on this VM's display is open: once it was told `shown`, looks and input as at any display (docs, "Displays"); `off` ends it. */
  v.strictObject({ type: v.literal('display'), vmId: vmName, on: v.boolean() }),
  v.strictObject({ type: v.literal('displayed'), vmId: vmName, request: displayRequestSchema }),
  /** From now on this VM's text screen is sent when it changes. */
  v.strictObject({ type: v.literal('screen'), vmId: vmName, on: v.boolean() }),
  /** From now on this VM's checkpoints and snapshots are listed when there are others, and once its figures of the last minutes come. */
  v.strictObject({ type: v.literal('past'), vmId: vmName, on: v.boolean() }),
]);
export type PageRequest = v.InferOutput<typeof pageRequestSchema>;

/** From the node to the page. */
export const pageReplySchema = v.variant('type', [
  /** First: who answers, what the session may do, and the pass by which another node will know it; null where none is needed. */
  v.strictObject({
    type: v.literal('hello'),
    node: nodeName,
    role: roleSchema,
    /** Of the person; empty for the cluster's token. */
    name: text(32),
    pass: v.nullable(text(256)),
  }),
  v.strictObject({ type: v.literal('cluster'), status: clusterStatusSchema }),
  /** The nodes can't say how the cluster is: why. */
  v.strictObject({ type: v.literal('unknown'), reason: text() }),
  v.strictObject({ type: v.literal('events'), events: list(clusterEventSchema, maxEvents) }),
  v.strictObject({
    type: v.literal('done'),
    question,
    error: v.nullable(
      v.strictObject({
        code: v.picklist(clusterErrorCodes),
        message: text(4 * maxText),
        hint: text(4 * maxText),
      }),
    ),
  }),
  /** What the VM's node says to a console: output, and what became of what was typed. */
  v.strictObject({ type: v.literal('console'), vmId: vmName, reply: consoleReplySchema }),
  /** A node that has the VM hears the page's console from now on. */
  v.strictObject({ type: v.literal('attached'), vmId: vmName }),
  /** What the VM's node says to a display: frames, and what became of what was done. */
  v.strictObject({ type: v.literal('display'), vmId: vmName, reply: displayReplySchema }),
  /** A node that has the VM hears the page's display from now on. */
  v.strictObject({ type: v.literal('shown'), vmId: vmName }),
  v.strictObject({ type: v.literal('screen'), vmId: vmName, screen: v.nullable(screenAnswerSchema) }),
  /** Every second: what the nodes that answer say in numbers. */
  v.strictObject({ type: v.literal('figures'), nodes: list(nodeFiguresSchema, maxNodes) }),
  /** The oldest first. */
  v.strictObject({
    type: v.literal('checkpoints'),
    vmId: vmName,
    checkpoints: list(listedCheckpointSchema, maxCheckpoints),
  }),
  /** The oldest first. */
  v.strictObject({
    type: v.literal('snapshots'),
    vmId: vmName,
    ...snapshotsAnswerSchema.entries,
  }),
  v.strictObject({
    type: v.literal('samples'),
    vmId: vmName,
    samples: list(vmSampleSchema, maxSamples),
  }),
]);
export type PageReply = v.InferOutput<typeof pageReplySchema>;

/** Throws `PROTOCOL` for what a node would not read: a page asks itself before it sends what a person typed. */
export const checkPageRequest = (request: unknown): PageRequest =>
  check(pageRequestSchema, request, 'a message of a page');

/** Throws `PROTOCOL`, whatever the bytes. */
export const decodePageRequest = (frame: Uint8Array): PageRequest =>
  checkPageRequest(decode(frame, { maxValues: 10_000, maxDepth: 16 }));

/** Throws `PROTOCOL`, whatever the bytes. */
export const decodePageReply = (frame: Uint8Array): PageReply =>
  checkTold(pageReplySchema, decode(frame), 'a message to a page');
