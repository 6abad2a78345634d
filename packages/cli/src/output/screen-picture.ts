/** A text screen as a picture. */
import { glyph, glyphHeight, glyphWidth, type TextScreen } from '@revenant/emulator';

import { encodePng } from './png.ts';

/** Lines of the character cell that the cursor covers. */
const cursorTop = 13;

/** The screen as a picture, 8x16 pixels a character; what blinks is shown. */
export function screenPng(screen: TextScreen): Buffer {
  const { columns, rows, cells, cursor, colours, blinks } = screen;
  const width = columns * glyphWidth;
  const pixels = new Uint8Array(width * rows * glyphHeight);
  for (const [n, cell] of cells.entries()) {
    const row = Math.floor(n / columns);
    const column = n % columns;
    const dots = glyph(cell & 0xff);
    const foreground = (cell >> 8) & 15;
    const background = (cell >> 12) & (blinks ? 7 : 15);
    const atCursor = cursor?.row === row && cursor.column === column;
    for (let y = 0; y < glyphHeight; y++)
      for (let x = 0; x < glyphWidth; x++) {
        const set = dots(x, y) || (atCursor && y >= cursorTop && y < glyphHeight - 1);
        pixels[(row * glyphHeight + y) * width + column * glyphWidth + x] = set ? foreground : background;
      }
  }
  return encodePng({ width, height: rows * glyphHeight, pixels, palette: colours });
}
