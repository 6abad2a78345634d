/** A text screen as a picture, 8x16 pixels a character; what blinks is shown. */
import { glyph, glyphHeight, glyphWidth } from './font.ts';
import type { Picture } from './vga-renderer.ts';
import type { TextScreen } from './vga-text.ts';

/** Lines of the character cell that the cursor covers. */
const cursorTop = 13;
const cursorEnd = glyphHeight - 1;

const opaque = 0xff00_0000;

/** Its cells may be any list of numbers, as messages have them. */
type Shown = Omit<TextScreen, 'cells'> & { cells: ArrayLike<number> };

/** The picture of a text screen. */
export function textPicture({ columns, rows, cells, cursor, colours, blinks }: Shown): Picture {
  const [width, height] = [columns * glyphWidth, rows * glyphHeight];
  // Red in the lowest byte, as RGBA lies in memory on little-endian hosts.
  const words = new Uint32Array(width * height);
  const palette = Uint32Array.from({ length: 16 }, (_, n) => {
    const [red = 0, green = 0, blue = 0] = colours[n] ?? [];
    return opaque | (blue << 16) | (green << 8) | red;
  });
  for (let n = 0; n < columns * rows; n++) {
    const cell = cells[n] ?? 0;
    const [row, column] = [Math.floor(n / columns), n % columns];
    const dots = glyph(cell & 0xff);
    const foreground = palette[(cell >> 8) & 15] ?? opaque;
    const background = palette[(cell >> 12) & (blinks ? 7 : 15)] ?? opaque;
    const atCursor = cursor?.row === row && cursor.column === column;
    for (let y = 0; y < glyphHeight; y++) {
      const line = (row * glyphHeight + y) * width + column * glyphWidth;
      const inCursor = atCursor && y >= cursorTop && y < cursorEnd;
      for (let x = 0; x < glyphWidth; x++) words[line + x] = inCursor || dots(x, y) ? foreground : background;
    }
  }
  return { width, height, rgba: new Uint8Array(words.buffer) };
}
