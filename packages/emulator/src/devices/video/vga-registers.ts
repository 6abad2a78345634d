/**
 * Registers of a VGA and of the Bochs VBE extension: state, names, and the rules for reading and writing each. References: IBM PS/2
 * Hardware Interface Technical Reference, "Video Subsystem"; Bochs "VBE display interface" (ports 0x1ce and 0x1cf), as QEMU documents it in
 * docs/specs/standard-vga.
 */
import { bool, bytes, integer, record, tuple, u16, u8, type Infer } from '../schema.ts';

export const Crtc = {
  horizontalEnd: 0x01, overflow: 0x07, presetRowScan: 0x08, maxScanLine: 0x09, cursorStart: 0x0a, cursorEnd: 0x0b, startHigh: 0x0c,
  startLow: 0x0d, cursorHigh: 0x0e, cursorLow: 0x0f, verticalSyncEnd: 0x11, verticalEnd: 0x12, offset: 0x13, mode: 0x17, lineCompare: 0x18,
} as const; // prettier-ignore
export const Sequencer = { clocking: 1, mapMask: 2, characterMap: 3, memoryMode: 4 } as const;
export const Graphics = { setReset: 0, enableSetReset: 1, compare: 2, rotate: 3, readMap: 4, mode: 5, miscellaneous: 6, dontCare: 7, bitMask: 8 } as const; // prettier-ignore
export const Attribute = { mode: 0x10, planeEnable: 0x12, panning: 0x13, colourSelect: 0x14 } as const;
/** Attribute index register: bit 5 lets the palette through; without it the screen is blank. */
export const paletteSource = 0x20;

/** VBE_DISPI registers. */
export const Vbe = {
  id: 0, width: 1, height: 2, depth: 3, enable: 4, bank: 5, virtualWidth: 6, virtualHeight: 7, xOffset: 8, yOffset: 9, memory64k: 10,
} as const; // prettier-ignore
const vbeCount = 11;
export const VbeEnable = {
  on: 0x01,
  capabilities: 0x02,
  dac8: 0x20,
  linear: 0x40,
  keepMemory: 0x80,
} as const;
const vbeId = { first: 0xb0c0, last: 0xb0c5 } as const;
export const vbeLimits = { width: 2560, height: 1600, depth: 32 } as const;
export const vbeDepths: readonly number[] = [4, 8, 15, 16, 24, 32];
export const videoMemoryBytes = 16 * 2 ** 20;

export const vgaRegisters = record({
  crtcIndex: u8,
  crtc: bytes(32),
  attributeIndex: u8,
  attributeIsData: bool,
  attributes: bytes(32),
  misc: u8,
  sequencerIndex: integer(0, 7),
  sequencer: bytes(8),
  graphicsIndex: integer(0, 15),
  graphics: bytes(16),
  latches: bytes(4),
  dacMask: u8,
  dacIndex: u8,
  dacComponent: integer(0, 2),
  dacReading: bool,
  dac: bytes(768),
  vbeIndex: u16,
  vbe: tuple(u16, vbeCount),
});
export type VgaRegisters = Infer<typeof vgaRegisters>;

/** 80x25 at 70 Hz with 9x16 characters: mode 3 as the VGA BIOS sets it. */
const crtcMode3 = [0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff]; // prettier-ignore
const attributesMode3 = [
  0, 1, 2, 3, 4, 5, 0x14, 7, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0, 0x0f, 8, 0,
];

/** A machine that starts a kernel directly finds mode 3, as firmware would leave it. */
export function vgaPowerOn(): VgaRegisters {
  const fill = (size: number, values: readonly number[]): Uint8Array => {
    const out = new Uint8Array(size);
    out.set(values);
    return out;
  };
  const dac = new Uint8Array(768);
  // The 64 EGA colours: bits RGBrgb, upper-case ones two thirds and lower-case ones one third of full scale.
  for (let n = 0; n < 64; n++)
    for (let c = 0; c < 3; c++) dac[n * 3 + c] = (n & (4 >> c) ? 42 : 0) + (n & (32 >> c) ? 21 : 0);
  const vbe = new Array<number>(vbeCount).fill(0);
  vbe[Vbe.id] = vbeId.last;
  vbe[Vbe.memory64k] = videoMemoryBytes / 0x1_0000;
  return {
    crtcIndex: 0, crtc: fill(32, crtcMode3), attributeIndex: paletteSource, attributeIsData: false, attributes: fill(32, attributesMode3),
    misc: 0x67, sequencerIndex: 0, sequencer: fill(8, [3, 0, 3, 0, 2]), graphicsIndex: 0,
    graphics: fill(16, [0, 0, 0, 0, 0, 0x10, 0x0e, 0, 0xff]), latches: new Uint8Array(4), dacMask: 0xff, dacIndex: 0, dacComponent: 0,
    dacReading: false, dac, vbeIndex: 0, vbe,
  }; // prettier-ignore
}

export function vbeEnabled(state: VgaRegisters): boolean {
  return ((state.vbe[Vbe.enable] ?? 0) & VbeEnable.on) !== 0;
}

export function readVbe(state: VgaRegisters, index = state.vbeIndex): number {
  const capabilities = (state.vbe[Vbe.enable] ?? 0) & VbeEnable.capabilities;
  if (capabilities && index === Vbe.width) return vbeLimits.width;
  if (capabilities && index === Vbe.height) return vbeLimits.height;
  if (capabilities && index === Vbe.depth) return vbeLimits.depth;
  return state.vbe[index] ?? 0;
}

/** Bytes from one line of the VBE frame buffer to the next. */
export function vbePitch(state: VgaRegisters): number {
  const width = state.vbe[Vbe.virtualWidth] ?? 0;
  const depth = state.vbe[Vbe.depth] ?? 0;
  return depth === 4 ? width >> 1 : width * ((depth + 7) >> 3);
}

/** The virtual screen is as high as the memory reaches, and the offsets stay in it. */
function fitVirtualScreen(state: VgaRegisters): void {
  const { vbe } = state;
  const width = vbe[Vbe.width] ?? 0;
  if ((vbe[Vbe.virtualWidth] ?? 0) < width) vbe[Vbe.virtualWidth] = width;
  const pitch = Math.max(1, vbePitch(state));
  vbe[Vbe.virtualHeight] = Math.min(0xffff, Math.floor(videoMemoryBytes / pitch));
}

/** Bytes at the start of video memory that a mode set clears, or 0. */
export function writeVbe(state: VgaRegisters, value: number, index = state.vbeIndex): number {
  const { vbe } = state;
  switch (index) {
    case Vbe.id:
      if (value >= vbeId.first && value <= vbeId.last) vbe[Vbe.id] = value;
      return 0;
    case Vbe.width:
      if (value >= 8 && value <= vbeLimits.width) vbe[Vbe.width] = value & ~7;
      return 0;
    case Vbe.height:
      if (value > 0 && value <= vbeLimits.height) vbe[Vbe.height] = value;
      return 0;
    case Vbe.depth:
      if (value === 0 || vbeDepths.includes(value)) vbe[Vbe.depth] = value === 0 ? 8 : value;
      return 0;
    case Vbe.bank:
      if (value < videoMemoryBytes / 0x1_0000) vbe[Vbe.bank] = value;
      return 0;
    case Vbe.virtualWidth:
      vbe[Vbe.virtualWidth] = value & ~7;
      fitVirtualScreen(state);
      return 0;
    case Vbe.xOffset:
    case Vbe.yOffset:
      vbe[index] = value;
      return 0;
    case Vbe.enable:
      return enableVbe(state, value);
    default:
      return 0;
  }
}

function enableVbe(state: VgaRegisters, value: number): number {
  const { vbe } = state;
  const before = vbeEnabled(state);
  vbe[Vbe.enable] = value & 0xff;
  if (!(value & VbeEnable.on)) {
    vbe[Vbe.bank] = 0;
    return 0;
  }
  if (before) return 0;
  for (const [register, least] of [
    [Vbe.width, 640],
    [Vbe.height, 480],
    [Vbe.depth, 8],
  ] as const)
    if (vbe[register] === 0) vbe[register] = least;
  Object.assign(vbe, {
    [Vbe.virtualWidth]: vbe[Vbe.width],
    [Vbe.xOffset]: 0,
    [Vbe.yOffset]: 0,
    [Vbe.bank]: 0,
  });
  fitVirtualScreen(state);
  if (value & VbeEnable.keepMemory) return 0;
  return Math.min(
    videoMemoryBytes,
    vbePitch(state) * (vbe[Vbe.height] ?? 0) * (vbe[Vbe.depth] === 4 ? 4 : 1),
  );
}

/** A colour of the DAC by its index, 0 to 255 each. */
export function dacColour(state: VgaRegisters, index: number): [number, number, number] {
  const at = (index & state.dacMask) * 3;
  const wide = vbeEnabled(state) && ((state.vbe[Vbe.enable] ?? 0) & VbeEnable.dac8) !== 0;
  const level = (n: number): number =>
    wide ? (state.dac[at + n] ?? 0) : Math.round((((state.dac[at + n] ?? 0) & 63) * 255) / 63);
  return [level(0), level(1), level(2)];
}

/** The DAC's index for one of the 16 colours of the attribute controller (its registers 0-15, mode control bit 7, colour select). */
export function attributeColour(state: VgaRegisters, colour: number): number {
  const entry = (state.attributes[colour & 15] ?? 0) & 0x3f;
  const select = state.attributes[Attribute.colourSelect] ?? 0;
  const low = (state.attributes[Attribute.mode] ?? 0) & 0x80 ? (entry & 0x0f) | ((select & 3) << 4) : entry;
  return low | ((select & 0x0c) << 4);
}
