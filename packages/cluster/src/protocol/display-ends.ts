/**
 * What each viewer of a VM's screen keeps at its end (protocol/display.ts), whether it is a page, a viewer by VNC or a screenshot: the
 * picture, and what was done before it, until a durable checkpoint holds it. Runs in a browser.
 */
import { ClusterError } from '../errors.ts';
import { SentInput, type InputReply } from './console-ends.ts';
import type { DisplayEvent, DisplayReply, DisplayRequest, FrameReply } from './display.ts';
import { maxDisplayEvents, maxDisplayPixels, maxUnacknowledgedEvents } from './limits.ts';

export interface DisplayRectangle {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** A picture: red, green, blue, 255, row by row. */
export interface DisplayPicture {
  width: number;
  height: number;
  rgba: Uint8Array<ArrayBuffer>;
}

/** How many pixels a frame brings. Throws `PROTOCOL` for rectangles outside of its picture, and for more than a frame may have. */
export function pixelsOf({ width, height, rectangles }: FrameReply): number {
  let pixels = 0;
  for (const area of rectangles) {
    if (area.x + area.width > width || area.y + area.height > height)
      throw new ClusterError('PROTOCOL', 'a frame has a rectangle outside of its picture');
    pixels += area.width * area.height;
  }
  if (pixels > maxDisplayPixels) throw new ClusterError('PROTOCOL', 'a frame has too many pixels');
  return pixels;
}

/** A frame's pixels. Rejects with `PROTOCOL` when they are not as many as its rectangles have. */
export async function inflated(frame: FrameReply): Promise<Uint8Array> {
  const bytes = new Uint8Array(pixelsOf(frame) * 4);
  const wrong = (cause?: unknown): ClusterError =>
    new ClusterError('PROTOCOL', 'a frame without the pixels that it names', { cause });
  const pieces = new Blob([Uint8Array.from(frame.pixels)])
    .stream()
    .pipeThrough(new DecompressionStream('deflate'))
    .getReader();
  let at = 0;
  try {
    for (;;) {
      const { done, value } = await pieces.read();
      if (done) break;
      bytes.set(value, at);
      at += value.length;
    }
  } catch (error) {
    pieces.cancel().catch(() => undefined);
    throw wrong(error);
  }
  if (at !== bytes.length) throw wrong();
  return bytes;
}

/** The picture as far as it has come. */
export class ShownDisplay {
  #epoch = 0;
  #picture: DisplayPicture | undefined;
  #takesTablet = false;

  /** Undefined: nothing was heard yet, or the VM has no screen. */
  get picture(): DisplayPicture | undefined {
    return this.#picture;
  }

  /** The guest's pointer goes to the place that it is told. */
  get takesTablet(): boolean {
    return this.#takesTablet;
  }

  /** A node that had lost the VM still tells what it shows there. */
  isOld({ epoch }: FrameReply): boolean {
    return epoch < this.#epoch;
  }

  /** Another node tells from now on: its first frames bring all of the picture again. */
  attached(): void {
    this.#picture = undefined;
    this.#takesTablet = false;
  }

  /** Puts a frame with its pixels in. @returns what changed */
  paint(frame: FrameReply, pixels: Uint8Array): readonly DisplayRectangle[] {
    const { epoch, width, height, rectangles } = frame;
    if (this.isOld(frame)) return [];
    this.#epoch = epoch;
    this.#takesTablet = frame.tablet === true;
    if (width === 0 || height === 0) {
      this.#picture = undefined;
      return [];
    }
    let picture = this.#picture;
    const isNew = picture?.width !== width || picture.height !== height;
    if (picture === undefined || isNew) picture = { width, height, rgba: blackPicture(width, height) };
    this.#picture = picture;
    let at = 0;
    for (const area of rectangles)
      for (let y = area.y; y < area.y + area.height; y++) {
        picture.rgba.set(pixels.subarray(at, at + area.width * 4), (y * width + area.x) * 4);
        at += area.width * 4;
      }
    return isNew ? [{ x: 0, y: 0, width, height }] : rectangles;
  }
}

function blackPicture(width: number, height: number): Uint8Array<ArrayBuffer> {
  const rgba = new Uint8Array(width * height * 4);
  for (let at = 3; at < rgba.length; at += 4) rgba[at] = 255;
  return rgba;
}

export interface DisplayInputOptions {
  /** Name of the session: a random UUID. */
  session: string;
  /** Sends to the VM's node; what can't be sent is dropped, as the next node is told again. */
  post: (request: DisplayRequest) => void;
  /** What people should know about what they did, a line at a time. */
  said: (line: string) => void;
}

/** What is done before the screen: kept until it is durable, sent again from where the guest's state does not have it. */
export class DisplayInput extends SentInput<DisplayEvent[]> {
  constructor({ session, post, said }: DisplayInputOptions) {
    super({
      session,
      said,
      unit: 'keys and movements',
      empty: [],
      join: (one, other) => [...one, ...other],
      limit: maxUnacknowledgedEvents,
      atOnce: maxDisplayEvents,
      open: (from) => post({ type: 'open', session, from }),
      send: (at, events) => post({ type: 'act', at, events }),
    });
  }
}

/** What of a node's words is about what was done. */
export const isInputReply = (reply: DisplayReply): reply is InputReply => reply.type !== 'frame';
