/** The screen of a machine that does not run: from the saved state of its video adapter and its video memory. */
import type { Clock } from '../device.ts';
import { vgaTextScreen } from './display.ts';
import { VgaText, type TextScreen } from './vga-text.ts';
import { renderVga, type Picture } from './vga-renderer.ts';
import { Vga } from './vga.ts';

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

/**
 * What the display of a full PC shows: its text in text modes, and its picture.
 * @param vram all video memory
 * @throws DeviceStateError when the state can't be used
 */
export function savedPicture(
  device: { version: number; state: unknown },
  vram: Uint8Array,
): { text: TextScreen | undefined; picture: Picture } {
  const nothing = (): void => undefined;
  const vga = new Vga({
    clock: stopped,
    video: { memory: () => vram, changed: nothing, map: nothing },
    rom: () => new Uint8Array(0),
  });
  vga.restore(device.state, device.version);
  return { text: vgaTextScreen(vga.registers, vram), picture: renderVga(vga.registers, vram) };
}
