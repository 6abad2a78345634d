/**
 * The screens of the VMs of one node that somebody watches. One look at a guest serves all who wait for its next frame, and nobody looks while
 * none does. Which part of a picture each viewer has is known by tile, so whatever happens between two of its frames costs it no more
 * than the picture is large.
 */
import { promisify } from 'node:util';
import { deflate } from 'node:zlib';
import { picturePixels, type Rectangle } from '@revenant/emulator';
import type { FrameReply } from '../protocol/display.ts';
import { ShownDisplay } from '../protocol/display-ends.ts';
import { maxDisplayPixels, maxDisplayRectangles, maxDisplaySide } from '../protocol/limits.ts';
import { monotonicMs, type Look } from '../vm/vm-runtime.ts';

/** Between two looks at a guest: each costs it a comparison of its video memory. */
const lookMs = 66;
const tile = 32;
/** Fast: a frame is on its way once. */
const level = 1;

const deflated = promisify(deflate);

/** Asks a guest what its screen shows; with `fresh` all of it. Undefined: it does not run here. */
export type AskLook = (vmId: string, fresh: boolean) => Promise<{ epoch: number; look: Look } | undefined>;

interface Told {
  epoch: number;
  width: number;
  height: number;
  /** The guest takes `tablet`. */
  tablet: boolean;
}

interface Viewer {
  /** By tile: the change that it has. */
  seen: Uint32Array;
  /** What it was told last. */
  told: Told | undefined;
  waits: ((frame: FrameReply) => void) | undefined;
}

/** One VM's screen, as long as it is watched. */
class WatchedScreen {
  readonly viewers = new Set<Viewer>();
  readonly #ask: (fresh: boolean) => ReturnType<AskLook>;
  readonly #shown = new ShownDisplay();
  #size: Told = { epoch: 0, width: 0, height: 0, tablet: false };
  /** By tile: the number of its last change. */
  #changed = new Uint32Array(0);
  #change = 0;
  #hasLooked = false;
  #busy = false;

  constructor(ask: (fresh: boolean) => ReturnType<AskLook>) {
    this.#ask = ask;
  }

  get isWaitedFor(): boolean {
    for (const { waits } of this.viewers) if (waits !== undefined) return true;
    return false;
  }

  /** Looks until nobody waits. */
  async run(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    while (this.isWaitedFor) {
      const began = monotonicMs();
      await this.#look();
      await Promise.all([...this.viewers].map((viewer) => this.#serve(viewer)));
      const left = lookMs - (monotonicMs() - began);
      if (left > 0 && this.isWaitedFor)
        await new Promise((resolve) => {
          setTimeout(resolve, left);
        });
    }
    this.#busy = false;
  }

  async #look(): Promise<void> {
    const seen = await this.#ask(!this.#hasLooked).catch(() => undefined);
    if (seen === undefined) {
      // Whoever has it next is asked for all of it.
      this.#hasLooked = false;
      return;
    }
    const { epoch, look } = seen;
    if (epoch !== this.#size.epoch && this.#hasLooked) {
      this.#hasLooked = false;
      return this.#look();
    }
    this.#hasLooked = true;
    const { width, height } = look;
    if (width > maxDisplaySide || height > maxDisplaySide) return;
    const { width: oldWidth, height: oldHeight } = this.#size;
    if (width !== oldWidth || height !== oldHeight || epoch !== this.#size.epoch)
      this.#changed = new Uint32Array(Math.ceil(width / tile) * Math.ceil(height / tile));
    this.#size = { epoch, width, height, tablet: look.tablet };
    const frame = {
      type: 'frame',
      epoch,
      width,
      height,
      rectangles: look.changed,
      pixels: look.pixels,
      more: false,
    } as const;
    this.#change++;
    for (const area of this.#shown.paint(frame, look.pixels)) this.#mark(area);
  }

  #mark(area: Rectangle): void {
    const columns = Math.ceil(this.#size.width / tile);
    for (let row = Math.floor(area.y / tile); row * tile < area.y + area.height; row++)
      for (let column = Math.floor(area.x / tile); column * tile < area.x + area.width; column++)
        this.#changed[row * columns + column] = this.#change;
  }

  /** Gives a viewer that waits what it has not got, if there is anything. */
  async #serve(viewer: Viewer): Promise<void> {
    const { waits, told } = viewer;
    if (waits === undefined || !this.#hasLooked) return;
    const { epoch, width, height, tablet } = this.#size;
    const isNew = told?.width !== width || told.height !== height || told.epoch !== epoch;
    if (isNew) viewer.seen = new Uint32Array(this.#changed.length);
    const { rectangles, more } = this.#missing(viewer.seen);
    if (!isNew && rectangles.length === 0 && tablet === told.tablet) return;
    viewer.waits = undefined;
    viewer.told = this.#size;
    const { picture } = this.#shown;
    const pixels = await deflated(
      picture === undefined ? new Uint8Array(0) : picturePixels(picture, rectangles),
      { level: level },
    );
    const frame = {
      type: 'frame',
      epoch,
      width,
      height,
      rectangles,
      pixels: Uint8Array.from(pixels),
      more,
    } as const;
    waits(tablet ? { ...frame, tablet } : frame);
  }

  /** What a viewer has not got, as much as one frame takes: tiles beside each other are joined. They count as seen from now on. */
  #missing(seen: Uint32Array): { rectangles: Rectangle[]; more: boolean } {
    const { width, height } = this.#size;
    const columns = Math.ceil(width / tile);
    const rectangles: Rectangle[] = [];
    let pixels = 0;
    let open = -1;
    for (let n = 0; n < this.#changed.length; n++) {
      if (seen[n] === this.#changed[n]) continue;
      const [x, y] = [(n % columns) * tile, Math.floor(n / columns) * tile];
      const [tileWidth, tileHeight] = [Math.min(tile, width - x), Math.min(tile, height - y)];
      pixels += tileWidth * tileHeight;
      const last = open === n - 1 && x > 0 ? rectangles.at(-1) : undefined;
      if (pixels > maxDisplayPixels || (last === undefined && rectangles.length === maxDisplayRectangles))
        return { rectangles, more: true };
      seen[n] = this.#changed[n] ?? 0;
      if (last === undefined) rectangles.push({ x, y, width: tileWidth, height: tileHeight });
      else last.width += tileWidth;
      open = n;
    }
    return { rectangles, more: false };
  }
}

export class DisplayHub {
  readonly #ask: AskLook;
  readonly #screens = new Map<string, WatchedScreen>();

  constructor(ask: AskLook) {
    this.#ask = ask;
  }

  /** Somebody watches a VM's screen: `look` resolves with the next frame. `end` lets what is asked for unanswered. */
  watch(vmId: string): { look: (answer: (frame: FrameReply) => void) => void; end: () => void } {
    const screen = this.#screens.get(vmId) ?? new WatchedScreen((fresh) => this.#ask(vmId, fresh));
    this.#screens.set(vmId, screen);
    const viewer: Viewer = { seen: new Uint32Array(0), told: undefined, waits: undefined };
    screen.viewers.add(viewer);
    return {
      look: (answer) => {
        viewer.waits = answer;
        void screen.run();
      },
      end: () => {
        viewer.waits = undefined;
        screen.viewers.delete(viewer);
        if (screen.viewers.size === 0 && this.#screens.get(vmId) === screen) this.#screens.delete(vmId);
      },
    };
  }
}
