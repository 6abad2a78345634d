/**
 * Registers of a VGA and of the Bochs VBE extension: state, names, and the rules for reading and writing each. References: IBM PS/2
 * Hardware Interface Technical Reference, "Video Subsystem"; Bochs "VBE display interface" (ports 0x1ce and 0x1cf), as QEMU documents it in
 * docs/specs/standard-vga.
 */
import { bytes, record, tuple, u16, type Infer } from '../schema.ts';
import { vgaPortFields, vgaPortsPowerOn } from './vga-ports.ts';

export const Sequencer = { clocking: 1, mapMask: 2, characterMap: 3, memoryMode: 4 } as const;
export const Graphics = {
  setReset: 0,
  enableSetReset: 1,
  compare: 2,
  rotate: 3,
  readMap: 4,
  mode: 5,
  miscellaneous: 6,
  dontCare: 7,
  bitMask: 8,
} as const;
export const Attribute = { mode: 0x10, planeEnable: 0x12, panning: 0x13, colourSelect: 0x14 } as const;
/** Attribute index register: bit 5 lets the palette through; without it the screen is blank. */
export const paletteSource = 0x20;

/** VBE_DISPI registers. */
// prettier-ignore
export const Vbe = {
  id: 0, width: 1, height: 2, depth: 3, enable: 4, bank: 5, virtualWidth: 6, virtualHeight: 7, xOffset: 8, yOffset: 9, memory64k: 10,
} as const;
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
  ...vgaPortFields,
  latches: bytes(4),
  vbeIndex: u16,
  vbe: tuple(u16, vbeCount),
});
export type VgaRegisters = Infer<typeof vgaRegisters>;

/** A machine that starts a kernel directly finds mode 3, as firmware would leave it. */
export function vgaPowerOn(): VgaRegisters {
  const vbe = new Array<number>(vbeCount).fill(0);
  vbe[Vbe.id] = vbeId.last;
  vbe[Vbe.memory64k] = videoMemoryBytes / 0x1_0000;
  return {
    ...vgaPortsPowerOn(),
    attributeIndex: paletteSource,
    latches: new Uint8Array(4),
    vbeIndex: 0,
    vbe,
  };
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
