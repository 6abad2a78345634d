/**
 * VGA in text mode: the registers that text drivers use, and the 32 KiB of colour text memory at 0xb8000, which are plain pages of the
 * machine (space `vram`). Reference: IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem". No graphics modes.
 */
import { StatefulDevice, type AccessSize, type Clock } from '../device.ts';
import { defineState } from '../schema.ts';
import {
  Crtc,
  readVgaPort,
  vgaPorts,
  vgaPortsPowerOn,
  vgaPortState,
  writeVgaPort,
  type VgaPortState,
} from './vga-ports.ts';

export const vgaTextBase = 0xb_8000;
export const vgaTextBytes = 0x8000;
const cursorOff = 0x20;
/** Attribute controller, mode control (index 0x10), bit 3: enable blinking. */
const modeControl = { register: 0x10, blink: 8 } as const;

const definition = defineState<VgaPortState>({ name: 'vga-text', version: 1, schema: vgaPortState });

/** What is on the screen: `cells[row * columns + column]` = character in the low byte, attribute in the high byte. */
export interface TextScreen {
  columns: number;
  rows: number;
  cells: Uint16Array;
  /** Undefined when it is hidden or outside. */
  cursor: { column: number; row: number } | undefined;
  /** The 16 colours of attributes: red, green, blue, 0 to 255. */
  colours: [number, number, number][];
  /** Bit 7 of an attribute blinks (and does not brighten the background). */
  blinks: boolean;
}

export class VgaText extends StatefulDevice<VgaPortState> {
  readonly name = 'vga-text';
  readonly ports = [vgaPorts];
  readonly #clock: Clock;

  constructor(options: { clock: Clock }) {
    super(definition, vgaPortsPowerOn);
    this.#clock = options.clock;
  }

  /** The screen as `vram` (the 32 KiB at 0xb8000) and the CRTC say. */
  screen(vram: Uint8Array): TextScreen {
    const crtc = (n: number): number => this.state.crtc[n] ?? 0;
    const columns = crtc(Crtc.horizontalEnd) + 1;
    const overflow = crtc(Crtc.overflow);
    const lines = (crtc(Crtc.verticalEnd) | ((overflow & 2) << 7) | ((overflow & 0x40) << 3)) + 1;
    const rows = Math.max(1, Math.floor(lines / ((crtc(Crtc.maxScanLine) & 31) + 1)));
    const start = (crtc(Crtc.startHigh) << 8) | crtc(Crtc.startLow);
    const pitch = crtc(Crtc.offset) * 2 || columns;
    const cells = new Uint16Array(columns * rows);
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++) {
        const at = ((start + row * pitch + column) * 2) & (vgaTextBytes - 1);
        cells[row * columns + column] = (vram[at] ?? 0) | ((vram[at + 1] ?? 0) << 8);
      }
    const position = ((crtc(Crtc.cursorHigh) << 8) | crtc(Crtc.cursorLow)) - start;
    const cursor = { column: position % pitch, row: Math.floor(position / pitch) };
    const shown =
      !(crtc(Crtc.cursorStart) & cursorOff) && position >= 0 && cursor.row < rows && cursor.column < columns;
    return { columns, rows, cells, cursor: shown ? cursor : undefined, ...this.#palette() };
  }

  #palette(): Pick<TextScreen, 'colours' | 'blinks'> {
    const { attributes, dac, dacMask } = this.state;
    const colours = Array.from({ length: 16 }, (_, n): [number, number, number] => {
      const at = ((attributes[n] ?? 0) & 0x3f & dacMask) * 3;
      const level = (component: number): number => Math.round(((dac[at + component] ?? 0) * 255) / 63);
      return [level(0), level(1), level(2)];
    });
    return { colours, blinks: ((attributes[modeControl.register] ?? 0) & modeControl.blink) !== 0 };
  }

  readPort(port: number, _size: AccessSize): number {
    return readVgaPort(this.state, port, this.#clock.now());
  }

  writePort(port: number, _size: AccessSize, value: number): void {
    writeVgaPort(this.state, port, value, 6);
  }
}
