/**
 * Messages of `GET /v1/vms/ID/display` (websocket, binary frames of msgpack): what a VM's screen shows, and keys and pointer. Pictures are
 * asked for: each `look` is answered by one frame, as soon as something differs from what was sent on this socket before, so a viewer has
 * one frame on its way at most, however slow it is. What people do is numbered by event, as a console's input is by byte, and sent again
 * from there to whichever node runs the VM next: each event reaches the guest's state once.
 */
import * as v from 'valibot';
import { consoleAnswers, sessionName } from './console.ts';
import { maxDisplayEvents, maxDisplayPixels, maxDisplayRectangles, maxDisplaySide } from './limits.ts';
import { check, count, text } from './schema.ts';
import { checkTold } from './open.ts';
import { decode } from './msgpack.ts';

const within = (from: number, to: number) =>
  v.pipe(v.number(), v.integer(), v.minValue(from), v.maxValue(to));
const way = within(-32_768, 32_767);
const place = within(0, 32_767);

/** What people do before the screen; the inputs of a machine of the same names (`edge/table.ts` of the emulator). */
export const displayEventSchema = v.variant('kind', [
  /** A key by its DOM `code`. */
  v.strictObject({ kind: v.literal('key'), code: text(32), pressed: v.boolean() }),
  /** Counts to the right, up and towards the user; buttons: bit 0 left, 1 right, 2 middle. */
  v.strictObject({ kind: v.literal('mouse'), dx: way, dy: way, dz: way, buttons: within(0, 7) }),
  /** The place that is pointed at, from the left and from the top; 32767 is the right and the lower edge. For guests of which a frame says so. */
  v.strictObject({ kind: v.literal('tablet'), x: place, y: place, dz: way, buttons: within(0, 7) }),
]);
export type DisplayEvent = v.InferOutput<typeof displayEventSchema>;

/** From the viewer to the node. */
export const displayRequestSchema = v.variant('type', [
  /** Wants the next frame. */
  v.strictObject({ type: v.literal('look') }),
  /** Before the first `act`. `from`: the first event that is not known to be durable; answered by `place`. */
  v.strictObject({ type: v.literal('open'), session: sessionName, from: count }),
  /** `at` counts the events before in this session. Those that were taken already are left out by the node. */
  v.strictObject({
    type: v.literal('act'),
    at: count,
    events: v.pipe(v.array(displayEventSchema), v.minLength(1), v.maxLength(maxDisplayEvents)),
  }),
]);
export type DisplayRequest = v.InferOutput<typeof displayRequestSchema>;

const side = within(0, maxDisplaySide);
const rectangleSchema = v.strictObject({ x: side, y: side, width: side, height: side });

/** From the node to the viewer. */
export const displayReplySchema = v.variant('type', [
  v.strictObject({
    type: v.literal('frame'),
    epoch: count,
    /** Of the whole picture; both are 0 when the VM has no screen. */
    width: side,
    height: side,
    /** What of it is new, in whole tiles; the first frame of a socket, and each after a change of size, begins with a picture that is black. */
    rectangles: v.pipe(v.array(rectangleSchema), v.maxLength(maxDisplayRectangles)),
    /** Their pixels one after the other, row by row, as red, green, blue, 255; deflated (RFC 1950), from at most 1 MiB. */
    pixels: v.pipe(
      v.custom<Uint8Array>((value) => value instanceof Uint8Array, 'no bytes'),
      v.check((value) => value.length <= maxDisplayPixels * 5, 'too long'),
    ),
    /** More has changed than fits: the rest comes with the next look, which is answered at once. */
    more: v.boolean(),
    /** The guest's pointer goes to the place that it is told: it takes `tablet`. Else it takes `mouse`. */
    tablet: v.exactOptional(v.literal(true)),
  }),
  ...consoleAnswers,
]);
export type DisplayReply = v.InferOutput<typeof displayReplySchema>;
export type FrameReply = Extract<DisplayReply, { type: 'frame' }>;

const bounds = { maxValues: 16 * maxDisplayRectangles, maxDepth: 4 };

/** Throws `PROTOCOL`, whatever the bytes. */
export const decodeDisplayRequest = (frame: Uint8Array): DisplayRequest =>
  check(displayRequestSchema, decode(frame, bounds), 'a message of a viewer');

/** Throws `PROTOCOL`, whatever the bytes. */
export const decodeDisplayReply = (frame: Uint8Array): DisplayReply =>
  checkTold(displayReplySchema, decode(frame, bounds), 'a message to a viewer');
