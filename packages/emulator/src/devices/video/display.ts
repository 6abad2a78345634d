/**
 * The display of a machine for who watches it (a viewer, a screenshot): pictures, and which rectangles changed since the last look. Only lines
 * whose pages of video memory changed are drawn again. Nothing here is part of the machine's state, and the guest can't notice it.
 */
import { type TextScreen } from './vga-text.ts';
import { Crtc } from './vga-ports.ts';
import { Attribute, attributeColour, dacColour, type VgaRegisters } from './vga-registers.ts';
import { crtcStart, vgaMode } from './vga-mode.ts';
import { renderVga, type Picture } from './vga-renderer.ts';

/** Of a picture, in pixels. */
export interface Rectangle {
  x: number;
  y: number;
  width: number;
  height: number;
}

const pageBytes = 4096;
const wordsPerPage = pageBytes / 4;
/** Changed rectangles are whole tiles of this size, joined along a row. */
const tile = 32;

/** The text on the screen; undefined in a graphics mode. */
export function vgaTextScreen(state: VgaRegisters, memory: Uint8Array): TextScreen | undefined {
  const mode = vgaMode(state);
  if (mode.kind !== 'text') return undefined;
  const { columns, rows } = mode;
  const crtc = (n: number): number => state.crtc[n] ?? 0;
  const start = crtcStart(state);
  const pitch = crtc(Crtc.offset) * 2 || columns;
  const cells = new Uint16Array(columns * rows);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      const at = ((start + row * pitch + column) & 0xffff) * 4;
      cells[row * columns + column] = (memory[at] ?? 0) | ((memory[at + 1] ?? 0) << 8);
    }
  const position = ((crtc(Crtc.cursorHigh) << 8) | crtc(Crtc.cursorLow)) - start;
  const cursor = { column: position % pitch, row: Math.floor(position / pitch) };
  const shown =
    !(crtc(Crtc.cursorStart) & 0x20) && position >= 0 && cursor.row < rows && cursor.column < columns;
  const colours = Array.from({ length: 16 }, (_, n) => dacColour(state, attributeColour(state, n)));
  const blinks = ((state.attributes[Attribute.mode] ?? 0) & 8) !== 0;
  return { columns, rows, cells, cursor: shown ? cursor : undefined, colours, blinks };
}

/** The pixels of some rectangles of a picture, one after the other, row by row. */
export function picturePixels(
  { width, rgba }: Picture,
  areas: readonly Rectangle[],
): Uint8Array<ArrayBuffer> {
  const pixels = new Uint8Array(areas.reduce((sum, area) => sum + area.width * area.height * 4, 0));
  let at = 0;
  for (const area of areas)
    for (let y = area.y; y < area.y + area.height; y++) {
      const from = (y * width + area.x) * 4;
      pixels.set(rgba.subarray(from, from + area.width * 4), at);
      at += area.width * 4;
    }
  return pixels;
}

/** Rectangles in which two pictures of one size differ, in whole tiles. */
export function differences(before: Picture, after: Picture): Rectangle[] {
  const { width, height } = after;
  const [old, now] = [before, after].map(
    ({ rgba }) => new Uint32Array(rgba.buffer, rgba.byteOffset, rgba.length / 4),
  ) as [Uint32Array, Uint32Array];
  const found: Rectangle[] = [];
  for (let y = 0; y < height; y += tile) {
    const tileHeight = Math.min(tile, height - y);
    let open: Rectangle | undefined;
    for (let x = 0; x < width; x += tile) {
      const tileWidth = Math.min(tile, width - x);
      if (!tileDiffers(old, now, { x, y, width: tileWidth, height: tileHeight }, width)) open = undefined;
      else if (open !== undefined) open.width += tileWidth;
      else found.push((open = { x, y, width: tileWidth, height: tileHeight }));
    }
  }
  return found;
}

function tileDiffers(old: Uint32Array, now: Uint32Array, area: Rectangle, pitch: number): boolean {
  for (let y = area.y; y < area.y + area.height; y++)
    for (let at = y * pitch + area.x; at < y * pitch + area.x + area.width; at++)
      if (old[at] !== now[at]) return true;
  return false;
}

/** One watcher's memory of what it saw. */
export class DisplayWatcher {
  #picture: Picture | undefined;
  #registers = '';
  #memory = new Uint32Array(0);

  /**
   * The picture now and what changed since the last call: all of it the first time and after a change of size.
   * @param changed what the guest can't be seen from: undefined when nothing at all changed
   */
  look(state: VgaRegisters, memory: Uint8Array): { picture: Picture; changed: Rectangle[] } {
    const registers = registerKey(state);
    const sameRegisters = registers === this.#registers;
    const samePages = this.#takePages(memory);
    this.#registers = registers;
    const before = this.#picture;
    if (before !== undefined && sameRegisters && samePages) return { picture: before, changed: [] };
    return this.see(renderVga(state, memory));
  }

  /** The same of a picture that was made elsewhere. */
  see(picture: Picture): { picture: Picture; changed: Rectangle[] } {
    const before = this.#picture;
    this.#picture = picture;
    if (before === undefined || before.width !== picture.width || before.height !== picture.height)
      return { picture, changed: [{ x: 0, y: 0, width: picture.width, height: picture.height }] };
    return { picture, changed: differences(before, picture) };
  }

  /** Keeps a copy of video memory; true when no page differs from the last one. */
  #takePages(memory: Uint8Array): boolean {
    const words = new Uint32Array(memory.buffer, memory.byteOffset, memory.length / 4);
    if (this.#memory.length !== words.length) {
      this.#memory = words.slice();
      return false;
    }
    let same = true;
    for (let from = 0; from < words.length; from += wordsPerPage) {
      let at = from;
      const end = from + wordsPerPage;
      while (at < end && words[at] === this.#memory[at]) at++;
      if (at === end) continue;
      same = false;
      this.#memory.set(words.subarray(from, end), from);
    }
    return same;
  }
}

/** Registers that the picture depends on. */
function registerKey(state: VgaRegisters): string {
  const { crtc, attributes, attributeIndex, sequencer, graphics, dacMask, dac, vbe } = state;
  return [
    crtc,
    attributes,
    attributeIndex & 0x20,
    sequencer[1],
    sequencer[3],
    graphics[5],
    graphics[6],
    dacMask,
    dac,
    vbe,
  ].join(';');
}
