/**
 * The page's side of one guest in a worker: its state, and its serial line with what came before anybody listened. Other pages use it as a
 * library: `import { GuestClient } from './revenant.js'`.
 */
import type { SerialLine } from '../shared/terminal.tsx';
import type {
  EngineChoice,
  FromGuest,
  GuestProgress,
  GuestRequest,
  GuestState,
  ToGuest,
} from './messages.ts';
import type { Display, Draw, Picture, PointerMove, PointerPlace } from '../shared/screen-canvas.tsx';

export interface GuestView {
  state: GuestState;
  /** Why it ended. */
  reason?: string;
  progress?: GuestProgress;
  /** Millions of instructions a second, of the last half second. */
  speed?: number;
  /** It has shown something on its screen. */
  hasScreen?: boolean;
}

/** Not in sight of the bundler: the folder is put beside this script once it is built. */
const ownAddress = import.meta.url;

/** Serial output that is kept for a terminal that opens later. */
const maxKeptBytes = 256 << 10;

export class GuestClient implements SerialLine, Display {
  readonly #worker = new Worker(new URL('./guest-worker.ts', import.meta.url), { type: 'module' });
  readonly #changed: (view: GuestView) => void;
  readonly #listeners = new Set<(bytes: Uint8Array) => void>();
  readonly #watchers = new Set<Draw>();
  #picture: Picture | undefined;
  #takesPlaces = false;
  #kept: Uint8Array[] = [];
  #keptBytes = 0;
  #view: GuestView = { state: 'loading' };
  #progressAt = 0;

  /**
   * Starts a guest.
   * @param changed told of its state whenever that changes
   * @param modules address of the folder with the processor's modules; default: `emulator/` beside this script
   */
  constructor(
    request: GuestRequest,
    engine: EngineChoice,
    changed: (view: GuestView) => void,
    modules = new URL('emulator/', ownAddress).href,
  ) {
    this.#changed = changed;
    this.#worker.addEventListener('message', ({ data }: MessageEvent<FromGuest>) => {
      this.#hear(data);
    });
    this.#worker.addEventListener('error', (event) => {
      this.#update({ state: 'ended', reason: event.message || 'its worker ended' });
    });
    this.#post({ type: 'start', request, modules, engine });
  }

  listen(write: (bytes: Uint8Array) => void): () => void {
    for (const bytes of this.#kept) write(bytes);
    this.#listeners.add(write);
    return () => this.#listeners.delete(write);
  }

  send(bytes: Uint8Array): void {
    this.#post({ type: 'serial', bytes });
  }

  watch(draw: Draw): () => void {
    if (this.#picture !== undefined) draw(this.#picture);
    this.#watchers.add(draw);
    return () => this.#watchers.delete(draw);
  }

  pointer(move: PointerMove): void {
    this.#post({ type: 'pointer', ...move });
  }

  get takesPlaces(): boolean {
    return this.#takesPlaces;
  }

  point(place: PointerPlace): void {
    this.#post({ type: 'point', ...place });
  }

  key(code: string, pressed: boolean): void {
    this.#post({ type: 'key', code, pressed });
  }

  pause(paused: boolean): void {
    this.#post({ type: 'pause', paused });
  }

  powerButton(): void {
    this.#post({ type: 'power-button' });
  }

  reset(): void {
    this.#post({ type: 'reset' });
  }

  close(): void {
    this.#worker.terminate();
  }

  #post(message: ToGuest): void {
    this.#worker.postMessage(message);
  }

  #update(change: Partial<GuestView>): void {
    this.#view = { ...this.#view, ...change };
    this.#changed(this.#view);
  }

  #hear(message: FromGuest): void {
    switch (message.type) {
      case 'state':
        this.#update(
          message.reason === undefined
            ? { state: message.state }
            : { state: message.state, reason: message.reason },
        );
        return;
      case 'serial':
        this.#keep(message.bytes);
        for (const listener of this.#listeners) listener(message.bytes);
        return;
      case 'picture':
        this.#picture = message.picture;
        for (const draw of this.#watchers) draw(message.picture);
        if (this.#view.hasScreen !== true) this.#update({ hasScreen: true });
        return;
      case 'takes-places':
        this.#takesPlaces = message.places;
        return;
      case 'progress': {
        const now = performance.now();
        const before = this.#view.progress;
        const speed =
          before === undefined
            ? 0
            : Number(message.instructions - before.instructions) / 1000 / (now - this.#progressAt);
        this.#progressAt = now;
        this.#update({ progress: message, speed });
      }
    }
  }

  #keep(bytes: Uint8Array): void {
    this.#kept.push(bytes);
    this.#keptBytes += bytes.length;
    while (this.#keptBytes > maxKeptBytes && this.#kept.length > 1)
      this.#keptBytes -= this.#kept.shift()!.length;
  }
}
