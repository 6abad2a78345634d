/** A text screen as lines of Unicode: code page 437, the character set of the VGA's font in ROM. */
import type { TextScreen } from './vga-text.ts';

const low = ' ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼';
const high =
  'ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■ ';

/** The character of a code of code page 437; 0 is a space. */
export function character437(code: number): string {
  if (code < 0x20) return low[code] ?? ' ';
  if (code < 0x7f) return String.fromCharCode(code);
  return code === 0x7f ? '⌂' : (high[code - 0x80] ?? ' ');
}

/** Its rows, from the top, without spaces at their ends. */
export function screenLines({
  columns,
  rows,
  cells,
}: Pick<TextScreen, 'columns' | 'rows' | 'cells'>): string[] {
  return Array.from({ length: rows }, (_, row) =>
    Array.from(cells.subarray(row * columns, (row + 1) * columns), (cell) => character437(cell & 0xff))
      .join('')
      .trimEnd(),
  );
}
