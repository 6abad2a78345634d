/**
 * The processor's view of video memory at 0xa0000: IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem", graphics
 * controller. The four planes lie interleaved: byte `offset` of plane p at 4 * offset + p. Where the hardware spreads odd/even and chained
 * addresses over the planes with gaps, they follow here without gaps, so that chained memory is one linear range.
 */
import { Graphics, Sequencer, Vbe, vbeEnabled, type VgaRegisters } from './vga-registers.ts';

export const vgaWindow = { base: 0xa_0000, length: 0x2_0000 } as const;
const chain4 = 0x08;
const oddEven = 0x10;
const ramEnable = 0x02;

/** Part of the window that the adapter answers to, by miscellaneous register bits 3-2. */
export function windowOf(state: VgaRegisters): { offset: number; length: number } {
  if (!(state.misc & ramEnable)) return { offset: 0, length: 0 };
  switch (((state.graphics[Graphics.miscellaneous] ?? 0) >> 2) & 3) {
    case 0:
      return { offset: 0, length: 0x2_0000 };
    case 1:
      return { offset: 0, length: 0x1_0000 };
    case 2:
      return { offset: 0x1_0000, length: 0x8000 };
    default:
      return { offset: 0x1_8000, length: 0x8000 };
  }
}

/** The part of video memory that lies in the window as it is, so that the processor may reach it as plain memory. */
export function linearWindow(
  state: VgaRegisters,
): { offset: number; length: number; memory: number } | undefined {
  if (vbeEnabled(state) && state.vbe[Vbe.depth] !== 4)
    return { offset: 0, length: 0x1_0000, memory: (state.vbe[Vbe.bank] ?? 0) * 0x1_0000 };
  const isChained = ((state.sequencer[Sequencer.memoryMode] ?? 0) & chain4) !== 0;
  const allPlanes = ((state.sequencer[Sequencer.mapMask] ?? 0) & 15) === 15;
  const window = windowOf(state);
  return isChained && allPlanes && window.length > 0 ? { ...window, memory: 0 } : undefined;
}

/** One byte of the window; undefined where the adapter does not answer. Fills the latches as a read does. */
export function readWindow(state: VgaRegisters, memory: Uint8Array, offset: number): number | undefined {
  const { graphics } = state;
  const window = windowOf(state);
  const at = offset - window.offset;
  if (at < 0 || at >= window.length) return undefined;
  if ((state.sequencer[Sequencer.memoryMode] ?? 0) & chain4) return memory[at];
  const mode = graphics[Graphics.mode] ?? 0;
  const map = graphics[Graphics.readMap] ?? 0;
  if (mode & oddEven) return memory[((at & ~1) << 1) | (map & 2) | (at & 1)];
  state.latches.set(memory.subarray(at * 4, at * 4 + 4));
  if (!(mode & 8)) return state.latches[map & 3];
  // Read mode 1: a bit is 1 where all planes that matter have the wanted colour.
  let different = 0;
  for (let plane = 0; plane < 4; plane++) {
    if (!(((graphics[Graphics.dontCare] ?? 0) >> plane) & 1)) continue;
    const wanted = ((graphics[Graphics.compare] ?? 0) >> plane) & 1 ? 0xff : 0;
    different |= (state.latches[plane] ?? 0) ^ wanted;
  }
  return ~different & 0xff;
}

/** Writes one byte of the window. Returns the offset in video memory of what changed (up to four bytes), or undefined. */
export function writeWindow(
  state: VgaRegisters,
  memory: Uint8Array,
  offset: number,
  value: number,
): number | undefined {
  const window = windowOf(state);
  const at = offset - window.offset;
  if (at < 0 || at >= window.length) return undefined;
  const mapMask = state.sequencer[Sequencer.mapMask] ?? 0;
  const chained = ((state.sequencer[Sequencer.memoryMode] ?? 0) & chain4) !== 0;
  if (chained || (state.graphics[Graphics.mode] ?? 0) & oddEven) {
    const map = (state.graphics[Graphics.readMap] ?? 0) & 2;
    const index = chained ? at : ((at & ~1) << 1) | map | (at & 1);
    if (!((mapMask >> (index & 3)) & 1)) return undefined;
    memory[index] = value;
    return index;
  }
  for (let plane = 0; plane < 4; plane++)
    if ((mapMask >> plane) & 1) memory[at * 4 + plane] = planeByte(state, plane, value);
  return at * 4;
}

/** What the graphics controller writes to one plane: write modes 0 to 3, with set/reset, rotation, function and bit mask. */
function planeByte(state: VgaRegisters, plane: number, value: number): number {
  const { graphics, latches } = state;
  const register = (n: number): number => graphics[n] ?? 0;
  const latch = latches[plane] ?? 0;
  const mode = register(Graphics.mode) & 3;
  if (mode === 1) return latch;
  const count = register(Graphics.rotate) & 7;
  const rotated = ((value >> count) | (value << (8 - count))) & 0xff;
  const set = (register(Graphics.setReset) >> plane) & 1 ? 0xff : 0;
  let mask = register(Graphics.bitMask);
  let data: number;
  if (mode === 0) data = (register(Graphics.enableSetReset) >> plane) & 1 ? set : rotated;
  else if (mode === 2) data = (value >> plane) & 1 ? 0xff : 0;
  else {
    data = set;
    mask &= rotated;
  }
  const logic = (register(Graphics.rotate) >> 3) & 3;
  const combined =
    logic === 1 ? data & latch : logic === 2 ? data | latch : logic === 3 ? data ^ latch : data;
  return (combined & mask) | (latch & ~mask & 0xff);
}
