/**
 * Follows the screen of a VM from node to node: what it shows, and what is done before it, which is kept until it is durable and sent again to
 * whichever node runs the VM next.
 */
import { randomUUID } from 'node:crypto';
import { DisplayInput, inflated, ShownDisplay, isInputReply } from '../protocol/display-ends.ts';
import type { DisplayPicture, DisplayRectangle } from '../protocol/display-ends.ts';
import {
  decodeDisplayReply,
  type DisplayEvent,
  type DisplayReply,
  type DisplayRequest,
  type FrameReply,
} from '../protocol/display.ts';
import { VmRelay, type VmPlace } from './vm-relay.ts';

export interface DisplayRelayOptions {
  find: () => Promise<VmPlace | undefined>;
  /** A node hears us from now on: a picture has to be asked for there, and input be opened. */
  attached: () => void;
  heard: (reply: DisplayReply) => void;
}

/** The screen of a VM for somebody who keeps the picture at an end of their own (protocol/display-ends.ts). */
export class DisplayRelay extends VmRelay<DisplayRequest, DisplayReply> {
  constructor({ find, attached, heard }: DisplayRelayOptions) {
    super({
      find,
      attached,
      decode: decodeDisplayReply,
      heard: (reply, { isNewest, endOld }) => {
        if (!isNewest) return;
        endOld();
        heard(reply);
      },
    });
  }
}

export interface DisplayOptions {
  /** The picture now, and what of it is new; undefined: the VM has no screen. Resolves when another frame may come. */
  shown: (
    picture: DisplayPicture | undefined,
    changed: readonly DisplayRectangle[],
    isWhole: boolean,
  ) => void | Promise<void>;
  /** What people should know, a line at a time. */
  said: (line: string) => void;
  find: () => Promise<VmPlace | undefined>;
}

export class DisplayFollower {
  readonly #options: DisplayOptions;
  readonly #display = new ShownDisplay();
  readonly #input: DisplayInput;
  readonly #relay: DisplayRelay;
  /** Frames are painted one after the other, and each belongs to the node that we were attached to. */
  #painting: Promise<void> = Promise.resolve();
  #attachment = 0;
  #closed = false;

  constructor(options: DisplayOptions) {
    this.#options = options;
    this.#input = new DisplayInput({
      session: randomUUID(),
      post: (request) => this.#relay.post(request),
      said: options.said,
    });
    this.#relay = new DisplayRelay({
      find: options.find,
      attached: () => this.#attached(),
      heard: (reply) => {
        if (isInputReply(reply)) this.#input.heard(reply);
        else this.#frame(reply);
      },
    });
  }

  #attached(): void {
    this.#attachment++;
    this.#painting = this.#painting.then(() => this.#display.attached());
    this.#relay.post({ type: 'look' });
    this.#input.attached();
  }

  #frame(frame: FrameReply): void {
    const attachment = this.#attachment;
    this.#painting = this.#painting
      .then(() => this.#paint(frame, attachment))
      .catch(() => this.#options.said('a frame of the screen could not be read'));
  }

  async #paint(frame: FrameReply, attachment: number): Promise<void> {
    const pixels = await inflated(frame);
    if (this.#closed || attachment !== this.#attachment) return;
    // Asked for before this one is shown: it is made meanwhile.
    if (frame.more) this.#relay.post({ type: 'look' });
    const changed = this.#display.paint(frame, pixels);
    await this.#options.shown(this.#display.picture, changed, !frame.more);
    if (!frame.more && attachment === this.#attachment) this.#relay.post({ type: 'look' });
  }

  /** Gives the guest keys and movements. False when too much waits already: nothing of these is kept, try again later. */
  act(events: DisplayEvent[]): boolean {
    return !this.#closed && this.#input.write(events);
  }

  /** The guest's pointer goes to the place that it is told (the event `tablet`). */
  get takesTablet(): boolean {
    return this.#display.takesTablet;
  }

  /** Events that no durable checkpoint is known to hold. */
  get unacknowledged(): number {
    return this.#input.unacknowledged;
  }

  close(): void {
    this.#closed = true;
    this.#input.detached();
    this.#relay.close();
  }
}
