/**
 * A picture of what a VGA shows: pure, from registers and video memory to red, green, blue, alpha (255). Blinking is shown in its lit phase.
 */
import { Crtc } from './vga-ports.ts';
import { glyph } from './font.ts';
import { Attribute, Sequencer, attributeColour, dacColour, type VgaRegisters } from './vga-registers.ts';
import { crtcStart, vgaMode, type ScanLayout, type VgaMode } from './vga-mode.ts';

/** A guest's screen: `pixels` has four bytes for each, RGBA, line after line. */
export interface Picture {
  width: number;
  height: number;
  /** Four bytes a pixel, row by row. */
  rgba: Uint8Array;
}

/** Pixels as words: R in the lowest byte, as RGBA lies in memory on the little-endian hosts that this runs on. */
type Words = Uint32Array;
const opaque = 0xff00_0000;

function colourWord([red, green, blue]: readonly number[]): number {
  return (opaque | ((blue ?? 0) << 16) | ((green ?? 0) << 8) | (red ?? 0)) >>> 0;
}

function attributePalette(state: VgaRegisters): Words {
  return Uint32Array.from({ length: 16 }, (_, n) => colourWord(dacColour(state, attributeColour(state, n))));
}

function dacPalette(state: VgaRegisters): Words {
  return Uint32Array.from({ length: 256 }, (_, n) => colourWord(dacColour(state, n)));
}

type FontLine = (character: number, attribute: number, line: number) => number;

/** Where the character maps lie in plane 2: sequencer register 3, maps A (attribute bit 3 set) and B. */
function fontOf(state: VgaRegisters, memory: Uint8Array): FontLine {
  const select = state.sequencer[Sequencer.characterMap] ?? 0;
  const base = (map: number): number => ((map & 3) << 14) + (map & 4 ? 0x2000 : 0);
  const mapB = base((select & 3) | ((select >> 2) & 4));
  const mapA = base(((select >> 2) & 3) | ((select >> 3) & 4));
  const isLoaded = (map: number): boolean => {
    for (let n = 0; n < 0x2000; n++) if (memory[(map + n) * 4 + 2] !== 0) return true;
    return false;
  };
  const [loadedA, loadedB] = [isLoaded(mapA), isLoaded(mapB)];
  return (character, attribute, line) => {
    const useA = (attribute & 8) !== 0;
    if (useA ? loadedA : loadedB) return memory[((useA ? mapA : mapB) + character * 32 + line) * 4 + 2] ?? 0;
    // Nobody loaded a font: a kernel that was started without firmware leaves that to the adapter's BIOS.
    const dots = glyph(character);
    let bits = 0;
    for (let x = 0; x < 8; x++) if (dots(x, line)) bits |= 0x80 >> x;
    return bits;
  };
}

function renderText(
  state: VgaRegisters,
  memory: Uint8Array,
  mode: VgaMode & { kind: 'text' },
  out: Words,
): void {
  const { columns, rows, cellWidth, cellHeight, width } = mode;
  const palette = attributePalette(state);
  const font = fontOf(state, memory);
  const control = state.attributes[Attribute.mode] ?? 0;
  const [lineGraphics, blinks] = [(control & 4) !== 0, (control & 8) !== 0];
  const crtc = (n: number): number => state.crtc[n] ?? 0;
  const start = crtcStart(state);
  const pitch = crtc(Crtc.offset) * 2;
  const cursorAt = (crtc(Crtc.cursorHigh) << 8) | crtc(Crtc.cursorLow);
  const cursorOn = !(crtc(Crtc.cursorStart) & 0x20);
  const [cursorTop, cursorBottom] = [crtc(Crtc.cursorStart) & 31, crtc(Crtc.cursorEnd) & 31];
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      const cell = start + row * pitch + column;
      const at = (cell & 0xffff) * 4;
      const character = memory[at] ?? 0;
      const attribute = memory[at + 1] ?? 0;
      const foreground = palette[attribute & 15] ?? 0;
      const background = palette[(attribute >> 4) & (blinks ? 7 : 15)] ?? 0;
      const ninth = lineGraphics && character >= 0xc0 && character <= 0xdf;
      for (let y = 0; y < cellHeight; y++) {
        const inCursor = cursorOn && cell === cursorAt && y >= cursorTop && y <= cursorBottom;
        let bits = inCursor ? 0x1ff : font(character, attribute, y) << 1;
        if (ninth && !inCursor) bits |= (bits >> 1) & 1;
        let to = (row * cellHeight + y) * width + column * cellWidth;
        for (let x = 0; x < cellWidth; x++) out[to++] = bits & (0x100 >> x) ? foreground : background;
      }
    }
}

type ScannedMode = VgaMode & { scan: ScanLayout };

/** Offset in video memory of the first byte of a line. */
function lineStart(scan: ScanLayout, y: number): number {
  const line = y >= scan.split ? y - scan.split : y;
  const base = y >= scan.split ? 0 : scan.start;
  return base + Math.floor(line / scan.banks) * scan.pitch + (line % scan.banks) * scan.bankBytes;
}

function renderPlanar(state: VgaRegisters, memory: Uint8Array, mode: ScannedMode, out: Words): void {
  const palette = attributePalette(state);
  const planes = (state.attributes[Attribute.planeEnable] ?? 0) & 15;
  const { width, height, scan } = mode;
  for (let y = 0; y < height; y++) {
    const from = lineStart(scan, y);
    for (let x = 0; x < width; x++) {
      const dot = x + scan.panning;
      const at = from + (dot >> 3) * 4;
      const bit = 7 - (dot & 7);
      let colour = 0;
      for (let plane = 0; plane < 4; plane++) colour |= (((memory[at + plane] ?? 0) >> bit) & 1) << plane;
      out[y * width + x] = palette[colour & planes] ?? 0;
    }
  }
}

/** Two bits a pixel: planes 0 and 2 give the first four pixels of a group, planes 1 and 3 the next (shift register interleave). */
function renderCga(state: VgaRegisters, memory: Uint8Array, mode: ScannedMode, out: Words): void {
  const palette = attributePalette(state);
  const planes = (state.attributes[Attribute.planeEnable] ?? 0) & 15;
  const { width, height, scan } = mode;
  for (let y = 0; y < height; y++) {
    const from = lineStart(scan, y);
    for (let x = 0; x < width; x++) {
      const dot = x + scan.panning;
      const at = from + (dot >> 3) * 4 + ((dot >> 2) & 1);
      const shift = 6 - (dot & 3) * 2;
      const colour = (((memory[at] ?? 0) >> shift) & 3) | ((((memory[at + 2] ?? 0) >> shift) & 3) << 2);
      out[y * width + x] = palette[colour & planes] ?? 0;
    }
  }
}

function renderBytes(state: VgaRegisters, memory: Uint8Array, mode: ScannedMode, out: Words): void {
  const palette = dacPalette(state);
  const { width, height, scan } = mode;
  for (let y = 0; y < height; y++) {
    const from = lineStart(scan, y) + scan.panning;
    for (let x = 0; x < width; x++) out[y * width + x] = palette[memory[from + x] ?? 0] ?? 0;
  }
}

const scale5 = Uint8Array.from({ length: 32 }, (_, n) => Math.round((n * 255) / 31));
const scale6 = Uint8Array.from({ length: 64 }, (_, n) => Math.round((n * 255) / 63));

type PixelReader = (memory: Uint8Array, at: number) => number;

function pixelReader(state: VgaRegisters, depth: number): { bytes: number; read: PixelReader } {
  const word = (memory: Uint8Array, at: number): number => (memory[at] ?? 0) | ((memory[at + 1] ?? 0) << 8);
  const rgb = (red = 0, green = 0, blue = 0): number => (opaque | (blue << 16) | (green << 8) | red) >>> 0;
  switch (depth) {
    case 8: {
      const palette = dacPalette(state);
      return { bytes: 1, read: (memory, at) => palette[memory[at] ?? 0] ?? 0 };
    }
    case 15:
      return {
        bytes: 2,
        read: (memory, at) => {
          const p = word(memory, at);
          return rgb(scale5[(p >> 10) & 31], scale5[(p >> 5) & 31], scale5[p & 31]);
        },
      };
    case 16:
      return {
        bytes: 2,
        read: (memory, at) => {
          const p = word(memory, at);
          return rgb(scale5[p >> 11], scale6[(p >> 5) & 63], scale5[p & 31]);
        },
      };
    default:
      return { bytes: depth >> 3, read: (memory, at) => rgb(memory[at + 2], memory[at + 1], memory[at]) };
  }
}

function renderLinear(
  state: VgaRegisters,
  memory: Uint8Array,
  mode: VgaMode & { kind: 'linear' },
  out: Words,
): void {
  const { width, height, depth, pitch, start } = mode;
  const { bytes, read } = pixelReader(state, depth);
  for (let y = 0; y < height; y++) {
    let at = start + y * pitch;
    for (let x = 0; x < width; x++, at += bytes)
      out[y * width + x] = at + bytes <= memory.length ? read(memory, at) : opaque;
  }
}

/** What is on the screen. `memory` is all video memory. */
export function renderVga(state: VgaRegisters, memory: Uint8Array): Picture {
  const mode = vgaMode(state);
  const { width, height } = mode;
  const words = new Uint32Array(width * height);
  switch (mode.kind) {
    case 'text':
      renderText(state, memory, mode, words);
      break;
    case 'planar':
      renderPlanar(state, memory, mode, words);
      break;
    case 'cga':
      renderCga(state, memory, mode, words);
      break;
    case 'byte':
      renderBytes(state, memory, mode, words);
      break;
    case 'linear':
      renderLinear(state, memory, mode, words);
      break;
    default:
      words.fill(opaque >>> 0);
  }
  return { width, height, rgba: new Uint8Array(words.buffer) };
}
