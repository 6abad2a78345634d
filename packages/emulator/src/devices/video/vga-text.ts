/**
 * VGA in text mode: the registers that text drivers use, and the 32 KiB of colour text memory at 0xb8000, which are plain pages of the
 * machine (space `vram`). Reference: IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem". No graphics modes.
 */
import { StatefulDevice, type AccessSize, type Clock } from '../device.ts';
import { bool, bytes, defineState, record, u8, type Infer } from '../schema.ts';

export const vgaTextBase = 0xb_8000;
export const vgaTextBytes = 0x8000;
const Port = {
  crtcMono: 0x3b4, statusMono: 0x3ba, attribute: 0x3c0, attributeRead: 0x3c1, misc: 0x3c2, sequencer: 0x3c4, dacMask: 0x3c6,
  dacRead: 0x3c7, dacWrite: 0x3c8, dacData: 0x3c9, feature: 0x3ca, miscRead: 0x3cc, graphics: 0x3ce, crtc: 0x3d4, status: 0x3da,
} as const; // prettier-ignore
const Crtc = { maxScanLine: 0x09, cursorStart: 0x0a, startHigh: 0x0c, startLow: 0x0d, cursorHigh: 0x0e, cursorLow: 0x0f, offset: 0x13, verticalEnd: 0x12, overflow: 0x07, horizontalEnd: 0x01 } as const; // prettier-ignore
const cursorOff = 0x20;
/** 80x25 at 70 Hz with 9x16 characters: mode 3 as the VGA BIOS sets it. */
const crtcMode3 = [0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff]; // prettier-ignore
const attributesMode3 = [
  0, 1, 2, 3, 4, 5, 0x14, 7, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0, 0x0f, 8, 0,
];
const frameNs = 14_285_714n;
const lineNs = 31_778n;

const schema = record({
  crtcIndex: u8,
  crtc: bytes(32),
  attributeIndex: u8,
  attributeIsData: bool,
  attributes: bytes(32),
  misc: u8,
  sequencerIndex: u8,
  sequencer: bytes(8),
  graphicsIndex: u8,
  graphics: bytes(16),
  dacMask: u8,
  dacIndex: u8,
  dacComponent: u8,
  dacReading: bool,
  dac: bytes(768),
});
type State = Infer<typeof schema>;
const definition = defineState<State>({ name: 'vga-text', version: 1, schema });

function powerOn(): State {
  const fill = (size: number, values: readonly number[]): Uint8Array => {
    const out = new Uint8Array(size);
    out.set(values);
    return out;
  };
  const dac = new Uint8Array(768);
  // The 64 EGA colours: bits RGBrgb, upper-case ones two thirds and lower-case ones one third of full scale.
  for (let n = 0; n < 64; n++)
    for (let c = 0; c < 3; c++) dac[n * 3 + c] = (n & (4 >> c) ? 42 : 0) + (n & (32 >> c) ? 21 : 0);
  return {
    crtcIndex: 0, crtc: fill(32, crtcMode3), attributeIndex: 0, attributeIsData: false, attributes: fill(32, attributesMode3),
    misc: 0x67, sequencerIndex: 0, sequencer: fill(8, [3, 0, 3, 0, 2]), graphicsIndex: 0,
    graphics: fill(16, [0, 0, 0, 0, 0, 0x10, 0x0e, 0, 0xff]), dacMask: 0xff, dacIndex: 0, dacComponent: 0, dacReading: false, dac,
  }; // prettier-ignore
}

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

export class VgaText extends StatefulDevice<State> {
  readonly name = 'vga-text';
  readonly ports = [{ first: 0x3b0, last: 0x3df }];
  readonly #clock: Clock;

  constructor(options: { clock: Clock }) {
    super(definition, powerOn);
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
    // Attribute controller, mode control (index 0x10), bit 3: enable blinking.
    return { colours, blinks: ((attributes[0x10] ?? 0) & 8) !== 0 };
  }

  readPort(port: number, _size: AccessSize): number {
    const state = this.state;
    const colour = (state.misc & 1) !== 0;
    switch (port) {
      case Port.attribute:
        return state.attributeIndex;
      case Port.attributeRead:
        return state.attributes[state.attributeIndex & 31] ?? 0;
      case Port.misc: // input status 0: switch sense
        return 0x10;
      case Port.miscRead:
        return state.misc;
      case Port.sequencer:
        return state.sequencerIndex;
      case Port.sequencer + 1:
        return state.sequencer[state.sequencerIndex & 7] ?? 0;
      case Port.graphics:
        return state.graphicsIndex;
      case Port.graphics + 1:
        return state.graphics[state.graphicsIndex & 15] ?? 0;
      case Port.dacMask:
        return state.dacMask;
      case Port.dacRead:
        return state.dacReading ? 3 : 0;
      case Port.dacWrite:
        return state.dacIndex;
      case Port.dacData:
        return this.#readDac();
      case Port.feature:
        return 0;
      default:
        return this.#readCrtc(port - (colour ? 0 : Port.crtcMono - Port.crtc));
    }
  }

  /** CRTC registers and input status 1, at 0x3d? in colour and at 0x3b? in monochrome. */
  #readCrtc(port: number): number {
    const state = this.state;
    if (port === Port.crtc) return state.crtcIndex;
    if (port === Port.crtc + 1) return state.crtc[state.crtcIndex & 31] ?? 0;
    if (port !== Port.status) return 0xff;
    state.attributeIsData = false;
    const inFrame = this.#clock.now() % frameNs;
    const vertical = inFrame >= frameNs - 20n * lineNs;
    const blank = vertical || inFrame % lineNs >= (lineNs * 4n) / 5n;
    return (vertical ? 8 : 0) | (blank ? 1 : 0);
  }

  writePort(port: number, _size: AccessSize, value: number): void {
    const state = this.state;
    const colour = (state.misc & 1) !== 0;
    switch (port) {
      case Port.attribute:
        if (state.attributeIsData) state.attributes[state.attributeIndex & 31] = value;
        else state.attributeIndex = value & 0x3f;
        state.attributeIsData = !state.attributeIsData;
        return;
      case Port.misc:
        state.misc = value;
        return;
      case Port.sequencer:
        state.sequencerIndex = value & 7;
        return;
      case Port.sequencer + 1:
        state.sequencer[state.sequencerIndex] = value;
        return;
      case Port.graphics:
        state.graphicsIndex = value & 15;
        return;
      case Port.graphics + 1:
        state.graphics[state.graphicsIndex] = value;
        return;
      case Port.dacMask:
        state.dacMask = value;
        return;
      case Port.dacRead:
      case Port.dacWrite:
        state.dacIndex = value;
        state.dacComponent = 0;
        state.dacReading = port === Port.dacRead;
        return;
      case Port.dacData:
        this.#writeDac(value);
        return;
      default:
        this.#writeCrtc(port - (colour ? 0 : Port.crtcMono - Port.crtc), value);
    }
  }

  #writeCrtc(port: number, value: number): void {
    const state = this.state;
    if (port === Port.crtc) state.crtcIndex = value & 31;
    // Bit 7 of register 0x11 protects registers 0-7.
    else if (port === Port.crtc + 1 && !(state.crtcIndex < 8 && (state.crtc[0x11] ?? 0) & 0x80))
      state.crtc[state.crtcIndex & 31] = value;
  }

  #readDac(): number {
    const value = this.state.dac[this.state.dacIndex * 3 + this.state.dacComponent] ?? 0;
    this.#nextComponent();
    return value;
  }

  #writeDac(value: number): void {
    this.state.dac[this.state.dacIndex * 3 + this.state.dacComponent] = value & 0x3f;
    this.#nextComponent();
  }

  #nextComponent(): void {
    const { dacComponent, dacIndex } = this.state;
    this.state.dacComponent = dacComponent === 2 ? 0 : dacComponent + 1;
    if (dacComponent === 2) this.state.dacIndex = (dacIndex + 1) & 0xff;
  }

  protected override checkState(state: State): void {
    if (state.dacComponent > 2) this.refuseState('dacComponent must be 0-2');
    if (state.sequencerIndex > 7 || state.graphicsIndex > 15)
      this.refuseState('a register index is out of range');
  }
}
