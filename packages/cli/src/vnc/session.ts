/**
 * One viewer that is in: what it was shown, what it asked for, and what it does. A viewer that asks for changes gets an answer when something changed, so a
 * slow one never has more than one answer on its way. Pictures are the hub's: none is kept here but the tiles that this viewer has not seen.
 */
import { tabletPlace, type MachineInput, type Picture, type Rectangle } from '@revenant/emulator';
import { DeflateStreams, encodeArea, type PixelEncoding } from './encodings.ts';
import { keyOfKeysym, keyOfScanCode } from './keys.ts';
import { convert, nativeFormat, writePixelFormat, type PixelFormat, type Pixels } from './pixels.ts';
import { RequestReader, type Request } from './requests.ts';
import {
  Encoding,
  joined,
  overlap,
  rectangle,
  ServerMessage,
  SizeReason,
  SizeStatus,
  words,
  type Area,
} from './rfb.ts';
import type { Scroll } from './scroll.ts';
import { TileMap } from './tiles.ts';

/** What the display shows now, and how it came from what it showed before. */
export interface Frame {
  picture: Picture;
  changed: readonly Rectangle[];
  scroll?: Scroll | undefined;
}

interface Wanted {
  incremental: boolean;
  area: Area;
}

/** Buttons: bit 0 left, 1 middle, 2 right, and 3 and 4 for a turn of the wheel up and down. */
const Button = { left: 1, middle: 2, right: 4, wheelUp: 8, wheelDown: 16 } as const;

/** A dot with a rim, so that the pointer's place is seen on any ground; the guest draws its own. */
const dot = { size: 5, rows: ['.###.', '#ooo#', '#ooo#', '#ooo#', '.###.'] } as const;

export interface SessionHost {
  send(bytes: Uint8Array): void;
  input(input: MachineInput): void;
  /** The guest's pointer goes to the place that it is told. */
  takesTablet(): boolean;
}

export class Session {
  readonly #host: SessionHost;
  readonly #reader = new RequestReader();
  readonly #streams = new DeflateStreams();
  #format: PixelFormat = nativeFormat;
  #encoding: PixelEncoding = Encoding.raw;
  #encodings = new Set<number>();
  #wanted: Wanted | undefined;
  #tiles: TileMap;
  /** The size that the viewer knows. */
  #size: { width: number; height: number };
  /** Rectangles without pixels that it is to get with the next answer. */
  #notes: Uint8Array[] = [];
  #hasShared = false;
  #pointer: { x: number; y: number; buttons: number } | undefined;
  readonly #pressed = new Set<string>();

  constructor(host: SessionHost, { width, height }: Picture) {
    this.#host = host;
    this.#size = { width, height };
    this.#tiles = new TileMap(width, height);
    this.#tiles.markAll();
  }

  /** Bytes of the viewer. Throws ViewerError. */
  receive(bytes: Uint8Array, name: string): void {
    let rest = bytes;
    if (!this.#hasShared && rest.length > 0) {
      // 7.3: whether it shares the display, which all do here, and the answer.
      this.#hasShared = true;
      rest = rest.subarray(1);
      const called = new TextEncoder().encode(name);
      const { width, height } = this.#size;
      this.#host.send(
        joined([
          words([16, width], [16, height]),
          writePixelFormat(nativeFormat),
          words([32, called.length]),
          called,
        ]),
      );
    }
    for (const request of this.#reader.take(rest)) this.#answer(request);
  }

  /** It wants to hear of changes now. */
  get waits(): boolean {
    return this.#wanted !== undefined;
  }

  #answer(request: Request): void {
    switch (request.kind) {
      case 'pixelFormat':
        this.#format = request.format;
        return;
      case 'encodings':
        this.#setEncodings(request.encodings);
        return;
      case 'update':
        this.#wanted = {
          incremental: request.incremental && (this.#wanted?.incremental ?? true),
          area: request.area,
        };
        if (!request.incremental) {
          this.#tiles.mark(request.area);
          if (this.#encodings.has(Encoding.extendedDesktopSize))
            this.#noteSize(SizeReason.server, SizeStatus.done);
        }
        return;
      case 'key':
        this.#key(request);
        return;
      case 'pointer':
        this.#movePointer(request);
        return;
      case 'resize':
        this.#noteSize(SizeReason.client, SizeStatus.prohibited);
        return;
      case 'nothing':
    }
  }

  #setEncodings(encodings: readonly number[]): void {
    this.#encodings = new Set(encodings);
    this.#encoding =
      encodings.find(
        (one): one is PixelEncoding =>
          one === Encoding.tight || one === Encoding.zlib || one === Encoding.raw,
      ) ?? Encoding.raw;
    if (this.#encodings.has(Encoding.qemuExtendedKey))
      this.#notes.push(rectangle({ x: 0, y: 0, width: 0, height: 0 }, Encoding.qemuExtendedKey));
    if (this.#encodings.has(Encoding.cursor)) this.#notes.push(cursorShape(this.#format));
  }

  #noteSize(reason: number, status: number): void {
    const { width, height } = this.#size;
    if (this.#encodings.has(Encoding.extendedDesktopSize))
      this.#notes.push(
        joined([
          rectangle({ x: reason, y: status, width, height }, Encoding.extendedDesktopSize),
          words([8, 1], [8, 0], [16, 0], [32, 0], [16, 0], [16, 0], [16, width], [16, height], [32, 0]),
        ]),
      );
    else if (this.#encodings.has(Encoding.desktopSize))
      this.#notes.push(rectangle({ x: 0, y: 0, width, height }, Encoding.desktopSize));
  }

  get #followsSize(): boolean {
    return this.#encodings.has(Encoding.extendedDesktopSize) || this.#encodings.has(Encoding.desktopSize);
  }

  /**
   * The display shows this now.
   * @param mayTell its line is free
   */
  show({ picture, changed, scroll }: Frame, mayTell: boolean): void {
    const { width, height } = picture;
    if (this.#followsSize && (width !== this.#size.width || height !== this.#size.height)) {
      this.#size = { width, height };
      this.#noteSize(SizeReason.server, SizeStatus.done);
      this.#tiles = new TileMap(width, height);
      // A viewer such as noVNC asks for changes only after it has been told of a new size.
      this.#tiles.markAll();
    } else if (scroll !== undefined && mayTell && this.#mayCopy(picture)) {
      const { area, fromY, rest } = scroll;
      this.#notes.push(joined([rectangle(area, Encoding.copyRect), words([16, 0], [16, fromY])]));
      for (const one of rest) this.#tiles.mark(one);
    } else for (const one of changed) this.#tiles.mark(one);
    if (mayTell) this.#tell(picture);
  }

  /** What it shows is what the display showed before, all of it. */
  #mayCopy({ width, height }: Picture): boolean {
    const { area } = this.#wanted ?? {};
    return (
      area !== undefined &&
      this.#encodings.has(Encoding.copyRect) &&
      this.#tiles.isEmpty &&
      this.#notes.length === 0 &&
      width === this.#size.width &&
      height === this.#size.height &&
      area.x === 0 &&
      area.y === 0 &&
      area.width >= width &&
      area.height >= height
    );
  }

  #tell(picture: Picture): void {
    const wanted = this.#wanted;
    if (wanted === undefined) return;
    const inside = overlap(wanted.area, { x: 0, y: 0, ...this.#size });
    const tiles = inside === undefined ? [] : this.#tiles.take(inside);
    // A display of another size than a viewer can follow is shown as far as it fits, on black.
    const shown =
      picture.width === this.#size.width && picture.height === this.#size.height
        ? picture
        : fitted(picture, this.#size);
    const pixels: Pixels = new Uint32Array(shown.rgba.buffer, shown.rgba.byteOffset, shown.rgba.length / 4);
    const viewer = { format: this.#format, streams: this.#streams };
    const rectangles = [
      ...this.#notes.splice(0),
      ...tiles.flatMap((area) => encodeArea(this.#encoding, { pixels, width: shown.width }, area, viewer)),
    ];
    if (rectangles.length === 0 && wanted.incremental) return;
    this.#wanted = undefined;
    this.#host.send(
      joined([words([8, ServerMessage.update], [8, 0], [16, rectangles.length]), ...rectangles]),
    );
  }

  // --- what a person does ---

  #key({ pressed, keysym, scanCode }: { pressed: boolean; keysym: number; scanCode?: number }): void {
    const exact = scanCode === undefined || scanCode === 0 ? undefined : keyOfScanCode(scanCode);
    const key = exact === undefined ? keyOfKeysym(keysym) : { code: exact };
    if (key === undefined) return;
    const { code, shifted } = key;
    // A program that types sends capitals without the Shift that a person would hold.
    const shift =
      pressed && shifted === true && !this.#pressed.has('ShiftLeft') && !this.#pressed.has('ShiftRight');
    if (shift) this.#press('ShiftLeft', true);
    this.#press(code, pressed);
    if (shift) this.#press('ShiftLeft', false);
  }

  #press(code: string, pressed: boolean): void {
    if (pressed) this.#pressed.add(code);
    else if (!this.#pressed.delete(code)) return;
    this.#host.input({ kind: 'key', code, pressed });
  }

  /** By places where the guest takes them; else the mouse is one that tells ways. */
  #movePointer({ x, y, buttons }: { x: number; y: number; buttons: number }): void {
    const before = this.#pointer ?? { x, y, buttons: 0 };
    this.#pointer = { x, y, buttons };
    const held =
      (buttons & Button.left ? 1 : 0) | (buttons & Button.right ? 2 : 0) | (buttons & Button.middle ? 4 : 0);
    const turned = buttons & ~before.buttons;
    const dz = (turned & Button.wheelDown ? 1 : 0) - (turned & Button.wheelUp ? 1 : 0);
    if (x === before.x && y === before.y && buttons === before.buttons) return;
    if (this.#host.takesTablet())
      this.#host.input({ kind: 'tablet', ...this.#place(x, y), dz, buttons: held });
    else
      this.#host.input({
        kind: 'mouse',
        dx: clamp(x - before.x),
        dy: clamp(before.y - y),
        dz,
        buttons: held,
      });
  }

  /** A pixel of the picture as a tablet has it. */
  #place(x: number, y: number): { x: number; y: number } {
    const { width, height } = this.#size;
    return { x: tabletPlace(x, width), y: tabletPlace(y, height) };
  }

  /** The viewer is gone: nothing stays pressed. */
  end(): void {
    for (const code of this.#pressed) this.#host.input({ kind: 'key', code, pressed: false });
    if (this.#pointer !== undefined && this.#pointer.buttons !== 0)
      this.#movePointer({ ...this.#pointer, buttons: 0 });
    this.#pressed.clear();
  }
}

function clamp(way: number): number {
  return Math.max(-32_768, Math.min(32_767, way));
}

function fitted(picture: Picture, { width, height }: { width: number; height: number }): Picture {
  const rgba = new Uint8Array(width * height * 4);
  const bytes = Math.min(width, picture.width) * 4;
  for (let y = 0; y < Math.min(height, picture.height); y++)
    rgba.set(picture.rgba.subarray(y * picture.width * 4, y * picture.width * 4 + bytes), y * width * 4);
  return { width, height, rgba };
}

/** RFC 6143, 7.8.1: pixels, and a bit for each that is to be seen. */
function cursorShape(format: PixelFormat): Uint8Array {
  const { size, rows } = dot;
  const pixels = Uint32Array.from(rows.join(''), (character) => (character === 'o' ? 0xff_ffff : 0));
  const mask = Uint8Array.from(rows, (row) =>
    Array.from(row).reduce((bits, one, n) => bits | (one === '.' ? 0 : 0x80 >> n), 0),
  );
  const area = { x: size >> 1, y: size >> 1, width: size, height: size };
  return joined([rectangle(area, Encoding.cursor), convert(pixels, format), mask]);
}
