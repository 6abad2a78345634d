/** The screen of a machine that does not run: from the saved state of its video adapter and its video memory. */
import type { Clock } from './device.ts';
import { VgaText, type TextScreen } from './vga-text.ts';

export interface SavedScreen extends TextScreen {
  /** The 16 colours of attributes: red, green, blue, 0 to 255. */
  colours: [number, number, number][];
  /** Bit 7 of an attribute blinks (and does not brighten the background). */
  blinks: boolean;
}

const stopped: Clock = {
  now: () => 0n,
  timer: () => ({ arm: () => undefined, cancel: () => undefined, deadlineNs: undefined }),
};

/**
 * What the screen shows.
 * @param vram the 32 KiB at 0xb8000
 * @throws DeviceStateError when the state can't be used
 */
export function savedScreen(device: { version: number; state: unknown }, vram: Uint8Array): SavedScreen {
  const vga = new VgaText({ clock: stopped });
  vga.restore(device.state, device.version);
  const { attributes, dac, dacMask } = vga.save();
  const colours = Array.from({ length: 16 }, (_, n): [number, number, number] => {
    const at = ((attributes[n] ?? 0) & 0x3f & dacMask) * 3;
    const level = (component: number): number => Math.round(((dac[at + component] ?? 0) * 255) / 63);
    return [level(0), level(1), level(2)];
  });
  // Attribute controller, mode control (index 0x10), bit 3: enable blinking.
  return { ...vga.screen(vram), colours, blinks: ((attributes[0x10] ?? 0) & 8) !== 0 };
}
