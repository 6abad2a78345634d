/** The display of a machine as somebody sees it who sits before it. Nothing here changes the machine. */
import { vgaTextScreen, type DisplayWatcher, type Rectangle } from '../devices/video/display.ts';
import { renderVga, type Picture } from '../devices/video/vga-renderer.ts';
import { textPicture } from '../devices/video/text-picture.ts';
import type { TextScreen } from '../devices/video/vga-text.ts';
import type { Board } from './boards/board.ts';
import type { MemoryMap } from './memory-map.ts';

export class MachineDisplay {
  readonly #board: Board;
  readonly #map: MemoryMap;

  constructor(board: Board, map: MemoryMap) {
    this.#board = board;
    this.#map = map;
  }

  /** The text on the screen; undefined when the machine has no VGA, or shows no text. */
  text(): TextScreen | undefined {
    const { vga, graphics } = this.#board;
    const memory = this.#map.spaceBytes('vram');
    return graphics === undefined ? vga?.screen(memory) : vgaTextScreen(graphics.registers, memory);
  }

  /** What the screen shows now; undefined when the machine has no VGA. */
  picture(): Picture | undefined {
    const { graphics } = this.#board;
    if (graphics !== undefined) return renderVga(graphics.registers, this.#map.spaceBytes('vram'));
    const text = this.text();
    return text && textPicture(text);
  }

  /** The same for somebody who looks again and again, with what changed since the last look. */
  watch(watcher: DisplayWatcher): { picture: Picture; changed: Rectangle[] } | undefined {
    const { graphics } = this.#board;
    if (graphics !== undefined) return watcher.look(graphics.registers, this.#map.spaceBytes('vram'));
    const picture = this.picture();
    return picture && watcher.see(picture);
  }
}
