/**
 * Messages of `GET /v1/vms/ID/agent/JOB` (websocket, binary frames of msgpack): a job in a guest. What is told to the agent is numbered by
 * message, as a console's input is by byte, and sent again from there to whichever node runs the VM next.
 */
import * as v from 'valibot';
import { maxAgentBody } from './agent.ts';
import { consoleAnswers, sessionName } from './console.ts';
import { maxJobMessages } from './limits.ts';
import { decode } from './msgpack.ts';
import { check, count } from './schema.ts';
import { checkTold } from './open.ts';

const message = v.pipe(
  v.custom<Uint8Array>((value) => value instanceof Uint8Array, 'no bytes'),
  v.check((value) => value.length <= maxAgentBody + 200, 'too long'),
);

/** From whoever has the job to the node. */
export const jobRequestSchema = v.variant('type', [
  /** First. `from`: the first message that is not known to be durable; answered by `place`. */
  v.strictObject({ type: v.literal('open'), session: sessionName, from: count }),
  /** Messages to the agent (protocol/agent.ts) about this job; `at` counts those before in this session. */
  v.strictObject({
    type: v.literal('tell'),
    at: count,
    messages: v.pipe(v.array(message), v.minLength(1), v.maxLength(maxJobMessages)),
  }),
]);
export type JobRequest = v.InferOutput<typeof jobRequestSchema>;

/** From the node. */
export const jobReplySchema = v.variant('type', [
  /** What the agent said of the job: one message. */
  v.strictObject({ type: v.literal('said'), epoch: count, bytes: message }),
  ...consoleAnswers,
]);
export type JobReply = v.InferOutput<typeof jobReplySchema>;

const bounds = { maxValues: 16 + maxJobMessages, maxDepth: 3 };

/** Throws `PROTOCOL`, whatever the bytes. */
export const decodeJobRequest = (frame: Uint8Array): JobRequest =>
  check(jobRequestSchema, decode(frame, bounds), 'a message of a job');

/** Throws `PROTOCOL`, whatever the bytes. */
export const decodeJobReply = (frame: Uint8Array): JobReply =>
  checkTold(jobReplySchema, decode(frame, bounds), 'a message to a job');
