/** A text screen as a picture, 8x16 pixels a character; what blinks is shown. */
import { glyph, glyphHeight, glyphWidth, type TextScreen } from '@revenant/emulator';
import type { Picture } from './screen-canvas.tsx';

/** The first line of the character cell that the cursor covers. */
const cursorTop = 13;

type Shown = Omit<TextScreen, 'cells'> & { cells: ArrayLike<number> };

export function textPicture({ columns, rows, cells, cursor, colours, blinks }: Shown): Picture {
  const [width, height] = [columns * glyphWidth, rows * glyphHeight];
  const rgba = new Uint8ClampedArray(width * height * 4).fill(255);
  for (let n = 0; n < cells.length; n++) {
    const cell = cells[n]!;
    const [row, column] = [Math.floor(n / columns), n % columns];
    const dots = glyph(cell & 0xff);
    const foreground = colours[(cell >> 8) & 15] ?? [0, 0, 0];
    const background = colours[(cell >> 12) & (blinks ? 7 : 15)] ?? [0, 0, 0];
    const atCursor = cursor?.row === row && cursor.column === column;
    for (let y = 0; y < glyphHeight; y++)
      for (let x = 0; x < glyphWidth; x++) {
        const isSet = dots(x, y) || (atCursor && y >= cursorTop && y < glyphHeight - 1);
        rgba.set(
          isSet ? foreground : background,
          ((row * glyphHeight + y) * width + column * glyphWidth + x) * 4,
        );
      }
  }
  return { width, height, rgba };
}
