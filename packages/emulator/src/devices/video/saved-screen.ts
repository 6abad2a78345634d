/** The screen of a machine that does not run: from the saved state of its video adapter and its video memory. */
import type { Clock } from '../device.ts';
import { VgaText, type TextScreen } from './vga-text.ts';

const stopped: Clock = {
  now: () => 0n,
  timer: () => ({ arm: () => undefined, cancel: () => undefined, deadlineNs: undefined }),
};

/**
 * What the screen shows.
 * @param vram the 32 KiB at 0xb8000
 * @throws DeviceStateError when the state can't be used
 */
export function savedScreen(device: { version: number; state: unknown }, vram: Uint8Array): TextScreen {
  const vga = new VgaText({ clock: stopped });
  vga.restore(device.state, device.version);
  return vga.screen(vram);
}
