/**
 * One VM's screen at the page's end: the picture as far as it has come, and keys and movements, which are kept until a durable checkpoint or log
 * holds them, so that each reaches the guest once through failovers, and when the page goes on with another node.
 */
import {
  DisplayInput,
  inflated,
  isInputReply,
  ShownDisplay,
  type DisplayEvent,
  type DisplayReply,
  type DisplayRequest,
  type FrameReply,
} from '@revenant/cluster/protocol';
import type { Display, Draw, Picture, PointerMove, PointerPlace } from '../shared/screen-canvas.tsx';

/** Keys that are pasted wait here until there is room at the guest. */
const maxQueued = 64 << 10;
const drainMs = 50;

export interface PageDisplayParts {
  post: (request: DisplayRequest) => void;
  /** Whether this session may type at all. */
  mayType: () => boolean;
}

interface Watcher {
  draw: Draw;
  /** It wants no more than a picture in so long. */
  everyMs: number;
}

export class PageDisplay implements Display {
  readonly #parts: PageDisplayParts;
  readonly #shown = new ShownDisplay();
  readonly #input: DisplayInput;
  readonly #watchers = new Set<Watcher>();
  readonly #listeners = new Set<(line: string) => void>();
  /** Frames are painted one after the other, and each belongs to the node that we were attached to. */
  #painting: Promise<void> = Promise.resolve();
  #attachment = 0;
  #isAttached = false;
  /** A look is on its way. */
  #looking = false;
  #lookTimer: ReturnType<typeof setTimeout> | undefined;
  #queue: DisplayEvent[] = [];
  #drainTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(parts: PageDisplayParts) {
    this.#parts = parts;
    this.#input = new DisplayInput({
      session: crypto.randomUUID(),
      post: parts.post,
      said: (line) => this.#say(line),
    });
  }

  /** Calls `draw` with the picture now, and whenever it changed; undefined: there is none. `everyMs`: no more often than that. */
  watch(draw: Draw, everyMs = 0): () => void {
    const watcher = { draw, everyMs };
    this.#watchers.add(watcher);
    draw(this.#picture, undefined);
    // Whoever wants more pictures than before does not wait for the next of those.
    clearTimeout(this.#lookTimer);
    this.#look();
    return () => this.#watchers.delete(watcher);
  }

  /** Hears what people should know of what they did. */
  listen(said: (line: string) => void): () => void {
    this.#listeners.add(said);
    return () => this.#listeners.delete(said);
  }

  get isIdle(): boolean {
    return this.#watchers.size === 0 && this.#queue.length + this.#input.unacknowledged === 0;
  }

  key(code: string, pressed: boolean): void {
    this.#act({ kind: 'key', code, pressed });
  }

  pointer({ dx, dy, dz, buttons }: PointerMove): void {
    const event = { kind: 'mouse' as const, dx, dy: -dy, dz, buttons: buttons & 7 };
    const last = this.#queue.at(-1);
    // Movements that wait are one, as long as no button changes.
    if (last?.kind === 'mouse' && last.buttons === event.buttons)
      this.#queue[this.#queue.length - 1] = {
        ...event,
        dx: within(last.dx + event.dx),
        dy: within(last.dy + event.dy),
        dz: within(last.dz + event.dz),
      };
    else this.#act(event);
  }

  get takesPlaces(): boolean {
    return this.#shown.takesTablet;
  }

  point(place: PointerPlace): void {
    const event = { kind: 'tablet' as const, ...place };
    const last = this.#queue.at(-1);
    if (last?.kind === 'tablet' && last.buttons === event.buttons)
      this.#queue[this.#queue.length - 1] = { ...event, dz: within(last.dz + event.dz) };
    else this.#act(event);
  }

  attached(): void {
    this.#attachment++;
    this.#isAttached = true;
    this.#looking = false;
    this.#painting = this.#painting.then(() => this.#shown.attached());
    this.#look();
    if (this.#parts.mayType()) this.#input.attached();
  }

  detached(): void {
    this.#isAttached = false;
    this.#input.detached();
  }

  heard(reply: DisplayReply): void {
    if (isInputReply(reply)) {
      this.#input.heard(reply);
      this.#drain();
      return;
    }
    const attachment = this.#attachment;
    this.#painting = this.#painting
      .then(() => this.#paint(reply, attachment))
      .catch(() => this.#say('a frame of the screen could not be read'));
  }

  close(): void {
    clearTimeout(this.#lookTimer);
    clearTimeout(this.#drainTimer);
    this.detached();
  }

  get #picture(): Picture | undefined {
    const { picture } = this.#shown;
    return picture && { ...picture, rgba: new Uint8ClampedArray(picture.rgba.buffer) };
  }

  async #paint(frame: FrameReply, attachment: number): Promise<void> {
    const pixels = await inflated(frame);
    if (attachment !== this.#attachment) return;
    this.#looking = false;
    if (frame.more) this.#look(true);
    const changed = this.#shown.paint(frame, pixels);
    const picture = this.#picture;
    for (const { draw } of this.#watchers) draw(picture, changed);
    if (frame.more) return;
    const everyMs = Math.min(...[...this.#watchers].map((watcher) => watcher.everyMs));
    if (everyMs === 0) this.#look();
    else if (Number.isFinite(everyMs)) this.#lookTimer = setTimeout(() => this.#look(), everyMs);
  }

  /** Asks for the next picture, if anybody looks: while nobody does the node has nothing to do. */
  #look(always = false): void {
    if (this.#looking || !this.#isAttached || (!always && this.#watchers.size === 0)) return;
    this.#looking = true;
    this.#parts.post({ type: 'look' });
  }

  #act(event: DisplayEvent): void {
    if (!this.#parts.mayType()) return this.#say('this session may only view');
    if (this.#queue.length >= maxQueued) return this.#say('too much waits for the guest: this was left out');
    this.#queue.push(event);
    this.#drain();
  }

  #drain(): void {
    const now = this.#queue.slice(0, Math.max(0, this.#input.room));
    if (now.length > 0 && this.#input.write(now)) this.#queue = this.#queue.slice(now.length);
    clearTimeout(this.#drainTimer);
    if (this.#queue.length > 0) this.#drainTimer = setTimeout(() => this.#drain(), drainMs);
  }

  #say(line: string): void {
    for (const said of this.#listeners) said(line);
  }
}

const within = (way: number): number => Math.max(-32_768, Math.min(32_767, way));
