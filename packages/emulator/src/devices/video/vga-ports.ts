/**
 * The ports of a VGA from 0x3b0 to 0x3df and the registers behind them, as both VGAs have them: the text-only one and the one with the
 * Bochs extension. Reference: IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem".
 */
import { bool, bytes, integer, record, u8, type Infer } from '../schema.ts';

// prettier-ignore
export const VgaPort = {
  crtcMono: 0x3b4, statusMono: 0x3ba, attribute: 0x3c0, attributeRead: 0x3c1, misc: 0x3c2, sequencer: 0x3c4, dacMask: 0x3c6,
  dacRead: 0x3c7, dacWrite: 0x3c8, dacData: 0x3c9, feature: 0x3ca, miscRead: 0x3cc, graphics: 0x3ce, crtc: 0x3d4, status: 0x3da,
} as const;
export const vgaPorts = { first: 0x3b0, last: 0x3df } as const;
// prettier-ignore
export const Crtc = {
  horizontalEnd: 0x01, overflow: 0x07, presetRowScan: 0x08, maxScanLine: 0x09, cursorStart: 0x0a, cursorEnd: 0x0b, startHigh: 0x0c,
  startLow: 0x0d, cursorHigh: 0x0e, cursorLow: 0x0f, verticalSyncEnd: 0x11, verticalEnd: 0x12, offset: 0x13, mode: 0x17, lineCompare: 0x18,
} as const;
/** Register verticalSyncEnd, bit 7: registers 0-7 can't be written. */
const protect = 0x80;
/** Register overflow, bit 4: bit 8 of the line compare, which is never protected. */
const lineCompareBit8 = 0x10;
/** Miscellaneous output, bit 0: CRTC and input status 1 are at 0x3d?, not at 0x3b?. */
const colourPorts = 1;
/** Input status 0: switch sense. */
const switchSense = 0x10;
/** Input status 1. */
const Status = { displayDisabled: 1, verticalRetrace: 8 } as const;
const nothingThere = 0xff;
const frameNs = 14_285_714n;
const lineNs = 31_778n;
const retraceLines = 20n;

/** The fields of a device's state that the ports reach. */
export const vgaPortFields = {
  crtcIndex: u8,
  crtc: bytes(32),
  attributeIndex: u8,
  /** The next write to the attribute port is data, not an index. */
  attributeIsData: bool,
  attributes: bytes(32),
  misc: u8,
  sequencerIndex: integer(0, 7),
  sequencer: bytes(8),
  graphicsIndex: integer(0, 15),
  graphics: bytes(16),
  dacMask: u8,
  dacIndex: u8,
  /** Red, green or blue is next. */
  dacComponent: integer(0, 2),
  dacReading: bool,
  dac: bytes(768),
} as const;
export const vgaPortState = record(vgaPortFields);
export type VgaPortState = Infer<typeof vgaPortState>;

/** 80x25 at 70 Hz with 9x16 characters: mode 3 as the VGA BIOS sets it. */
const crtcMode3 = [
  0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28,
  0x1f, 0x96, 0xb9, 0xa3, 0xff,
];
const attributesMode3 = [
  0, 1, 2, 3, 4, 5, 0x14, 7, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0, 0x0f, 8, 0,
];

/** A machine that starts a kernel directly finds mode 3, as firmware would leave it. */
export function vgaPortsPowerOn(): VgaPortState {
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
    crtcIndex: 0,
    crtc: fill(32, crtcMode3),
    attributeIndex: 0,
    attributeIsData: false,
    attributes: fill(32, attributesMode3),
    misc: 0x67,
    sequencerIndex: 0,
    sequencer: fill(8, [3, 0, 3, 0, 2]),
    graphicsIndex: 0,
    graphics: fill(16, [0, 0, 0, 0, 0, 0x10, 0x0e, 0, 0xff]),
    dacMask: 0xff,
    dacIndex: 0,
    dacComponent: 0,
    dacReading: false,
    dac,
  };
}

/** Where the CRTC's ports are in colour; in monochrome they are lower. */
const asInColour = (state: VgaPortState, port: number): number =>
  port - (state.misc & colourPorts ? 0 : VgaPort.crtcMono - VgaPort.crtc);

/** @param nowNs virtual time, by which the beam is somewhere on the screen */
export function readVgaPort(state: VgaPortState, port: number, nowNs: bigint): number {
  switch (port) {
    case VgaPort.attribute:
      return state.attributeIndex;
    case VgaPort.attributeRead:
      return state.attributes[state.attributeIndex & 31] ?? 0;
    case VgaPort.misc: // input status 0
      return switchSense;
    case VgaPort.miscRead:
      return state.misc;
    case VgaPort.sequencer:
      return state.sequencerIndex;
    case VgaPort.sequencer + 1:
      return state.sequencer[state.sequencerIndex] ?? 0;
    case VgaPort.graphics:
      return state.graphicsIndex;
    case VgaPort.graphics + 1:
      return state.graphics[state.graphicsIndex] ?? 0;
    case VgaPort.dacMask:
      return state.dacMask;
    case VgaPort.dacRead:
      return state.dacReading ? 3 : 0;
    case VgaPort.dacWrite:
      return state.dacIndex;
    case VgaPort.dacData:
      return readDac(state);
    case VgaPort.feature:
      return 0;
    default:
      return readCrtc(state, asInColour(state, port), nowNs);
  }
}

function readCrtc(state: VgaPortState, port: number, nowNs: bigint): number {
  if (port === VgaPort.crtc) return state.crtcIndex;
  if (port === VgaPort.crtc + 1) return state.crtc[state.crtcIndex & 31] ?? 0;
  if (port !== VgaPort.status) return nothingThere;
  state.attributeIsData = false;
  const inFrame = nowNs % frameNs;
  const vertical = inFrame >= frameNs - retraceLines * lineNs;
  const blank = vertical || inFrame % lineNs >= (lineNs * 4n) / 5n;
  return (vertical ? Status.verticalRetrace : 0) | (blank ? Status.displayDisabled : 0);
}

/** @param dacBits of a colour's component: 6, or 8 where an extension says so */
export function writeVgaPort(state: VgaPortState, port: number, value: number, dacBits: 6 | 8): void {
  switch (port) {
    case VgaPort.attribute:
      if (state.attributeIsData) state.attributes[state.attributeIndex & 31] = value;
      else state.attributeIndex = value & 0x3f;
      state.attributeIsData = !state.attributeIsData;
      return;
    case VgaPort.misc:
      state.misc = value;
      return;
    case VgaPort.sequencer:
      state.sequencerIndex = value & 7;
      return;
    case VgaPort.sequencer + 1:
      state.sequencer[state.sequencerIndex] = value;
      return;
    case VgaPort.graphics:
      state.graphicsIndex = value & 15;
      return;
    case VgaPort.graphics + 1:
      state.graphics[state.graphicsIndex] = value;
      return;
    case VgaPort.dacMask:
      state.dacMask = value;
      return;
    case VgaPort.dacRead:
    case VgaPort.dacWrite:
      state.dacIndex = value;
      state.dacComponent = 0;
      state.dacReading = port === VgaPort.dacRead;
      return;
    case VgaPort.dacData:
      state.dac[state.dacIndex * 3 + state.dacComponent] = value & (2 ** dacBits - 1);
      nextComponent(state);
      return;
    default:
      writeCrtc(state, asInColour(state, port), value);
  }
}

function writeCrtc(state: VgaPortState, port: number, value: number): void {
  const { crtc, crtcIndex } = state;
  if (port === VgaPort.crtc) state.crtcIndex = value & 31;
  if (port !== VgaPort.crtc + 1) return;
  const locked = crtcIndex <= Crtc.overflow && ((crtc[Crtc.verticalSyncEnd] ?? 0) & protect) !== 0;
  if (!locked) crtc[crtcIndex & 31] = value;
  else if (crtcIndex === Crtc.overflow)
    crtc[Crtc.overflow] = ((crtc[Crtc.overflow] ?? 0) & ~lineCompareBit8) | (value & lineCompareBit8);
}

function readDac(state: VgaPortState): number {
  const value = state.dac[state.dacIndex * 3 + state.dacComponent] ?? 0;
  nextComponent(state);
  return value;
}

function nextComponent(state: VgaPortState): void {
  const { dacComponent, dacIndex } = state;
  state.dacComponent = dacComponent === 2 ? 0 : dacComponent + 1;
  if (dacComponent === 2) state.dacIndex = (dacIndex + 1) & 0xff;
}
