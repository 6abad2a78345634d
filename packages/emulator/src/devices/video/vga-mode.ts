/** What the registers of a VGA put on the screen: pure, from state to a description of the mode. */
import { Crtc } from './vga-ports.ts';
import {
  Attribute,
  Graphics,
  Sequencer,
  Vbe,
  paletteSource,
  vbeEnabled,
  vbePitch,
  type VgaRegisters,
} from './vga-registers.ts';

interface Sized {
  /** Pixels of the picture, each as the mode means it: lines that the CRTC repeats are not repeated. */
  width: number;
  height: number;
}

export type VgaMode =
  | ({ kind: 'blank' } & Sized)
  | ({ kind: 'text'; columns: number; rows: number; cellWidth: 8 | 9; cellHeight: number } & Sized)
  /** Four planes of one bit (EGA, VGA, also with two colours); two planes of two bits interleaved (CGA); bytes. */
  | ({ kind: 'planar' | 'cga' | 'byte'; scan: ScanLayout } & Sized)
  | ({ kind: 'linear'; depth: number; pitch: number; start: number } & Sized);

/** How rows of a register-programmed graphics mode follow each other in memory, in bytes of interleaved planes. */
export interface ScanLayout {
  start: number;
  pitch: number;
  /** CGA and Hercules: low bits of the line number choose a bank. */
  banks: 1 | 2 | 4;
  bankBytes: number;
  /** Line from which the picture begins at address 0 (split screen). */
  split: number;
  /** Pixels to leave out on the left. */
  panning: number;
}

const register = (bytes: Uint8Array, n: number): number => bytes[n] ?? 0;

export function crtcStart({ crtc }: VgaRegisters): number {
  return (register(crtc, Crtc.startHigh) << 8) | register(crtc, Crtc.startLow);
}

function scanLines({ crtc }: VgaRegisters): number {
  const overflow = register(crtc, Crtc.overflow);
  return (register(crtc, Crtc.verticalEnd) | ((overflow & 2) << 7) | ((overflow & 0x40) << 3)) + 1;
}

function lineCompare({ crtc }: VgaRegisters): number {
  const high =
    ((register(crtc, Crtc.overflow) & 0x10) << 4) | ((register(crtc, Crtc.maxScanLine) & 0x40) << 3);
  return register(crtc, Crtc.lineCompare) | high;
}

function linearMode(state: VgaRegisters): VgaMode {
  const { vbe } = state;
  const value = (index: number): number => vbe[index] ?? 0;
  const [width, height, depth] = [value(Vbe.width), value(Vbe.height), value(Vbe.depth)];
  const pitch = vbePitch(state);
  const x = depth === 4 ? value(Vbe.xOffset) >> 3 : value(Vbe.xOffset) * ((depth + 7) >> 3);
  if (depth !== 4)
    return { kind: 'linear', width, height, depth, pitch, start: value(Vbe.yOffset) * pitch + x };
  const planePitch = value(Vbe.virtualWidth) >> 3;
  const scan = {
    start: (value(Vbe.yOffset) * planePitch + x) * 4,
    pitch: planePitch * 4,
    banks: 1 as const,
    bankBytes: 0,
    split: height,
    panning: 0,
  };
  return { kind: 'planar', width, height, scan };
}

/** CRTC register 0x17: bits 0 and 1 clear put row scan bits into address bits 13 and 14. */
function scanLayout(state: VgaRegisters, repeat: number): ScanLayout {
  const { crtc } = state;
  const mode = register(crtc, Crtc.mode);
  const banks = mode & 1 ? 1 : mode & 2 ? 2 : 4;
  const byteMode = (mode & 0x40) !== 0;
  return {
    start: crtcStart(state) * 4,
    pitch: register(crtc, Crtc.offset) * 8,
    banks,
    bankBytes: byteMode ? 0x8000 : 0x4000,
    split: Math.floor((lineCompare(state) + 1) / repeat),
    panning: register(state.attributes, Attribute.panning) & 7,
  };
}

function graphicsMode(state: VgaRegisters, width: number, lines: number): VgaMode {
  const { crtc, graphics } = state;
  const scan = register(crtc, Crtc.maxScanLine);
  const perRow = (scan & 31) + 1;
  const doubled = scan & 0x80 ? 2 : 1;
  const banked = (register(crtc, Crtc.mode) & 3) !== 3;
  const repeat = doubled * (banked ? 1 : perRow);
  const height = Math.max(1, Math.floor(lines / repeat));
  const layout = scanLayout(state, repeat);
  const shift = (register(graphics, Graphics.mode) >> 5) & 3;
  if (shift === 0) return { kind: 'planar', width, height, scan: layout };
  if (shift === 1) return { kind: 'cga', width, height, scan: layout };
  // Each byte is shown for two clocks, unless the attribute controller puts two nibbles together only once.
  const panning = layout.panning >> 1;
  return { kind: 'byte', width: width >> 1, height, scan: { ...layout, panning } };
}

export function vgaMode(state: VgaRegisters): VgaMode {
  const { crtc, sequencer } = state;
  const lines = scanLines(state);
  const columns = register(crtc, Crtc.horizontalEnd) + 1;
  const clocking = register(sequencer, Sequencer.clocking);
  const shown = (state.attributeIndex & paletteSource) !== 0 && !(clocking & 0x20);
  if (vbeEnabled(state)) return linearMode(state);
  const isGraphics = (register(state.graphics, Graphics.miscellaneous) & 1) !== 0;
  if (isGraphics) {
    const mode = graphicsMode(state, columns * 8, lines);
    return shown ? mode : { kind: 'blank', width: mode.width, height: mode.height };
  }
  const cellHeight = (register(crtc, Crtc.maxScanLine) & 31) + 1;
  const cellWidth = clocking & 1 ? 8 : 9;
  const doubled = register(crtc, Crtc.maxScanLine) & 0x80 ? 2 : 1;
  const rows = Math.max(1, Math.floor(lines / (cellHeight * doubled)));
  const size = { width: columns * cellWidth, height: rows * cellHeight };
  return shown ? { kind: 'text', columns, rows, cellWidth, cellHeight, ...size } : { kind: 'blank', ...size };
}
