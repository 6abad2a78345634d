/** A guest's text screen as escape sequences for a terminal (ECMA-48, and 24-bit colours as xterm has them): what changed since it was painted last. */
import { character437, type TextScreen } from '@revenant/emulator';

const esc = '\x1b[';
export const enterScreen = `${esc}?1049h${esc}?25l${esc}2J`;
export const leaveScreen = `${esc}0m${esc}?25h${esc}?1049l`;
const bothPlain = `${esc}0m`;

const place = (row: number, column: number): string => `${esc}${String(row + 1)};${String(column + 1)}H`;

function colours({ colours: palette, blinks }: TextScreen, attribute: number): string {
  const [foreground, background] = [attribute & 15, (attribute >> 4) & (blinks ? 7 : 15)];
  const one = (kind: 38 | 48, n: number): string =>
    `${esc}${String(kind)};2;${(palette[n] ?? [0, 0, 0]).join(';')}m`;
  return one(38, foreground) + one(48, background);
}

const sameSize = (one: TextScreen, other: TextScreen): boolean =>
  one.columns === other.columns && one.rows === other.rows;
const samePalette = (one: TextScreen, other: TextScreen): boolean =>
  one.blinks === other.blinks && one.colours.join() === other.colours.join();

/** From what the terminal shows (`before`) to `screen`. */
export function paintScreen(screen: TextScreen, before: TextScreen | undefined): string {
  const { columns, rows, cells, cursor } = screen;
  const old =
    before !== undefined && sameSize(screen, before) && samePalette(screen, before)
      ? before.cells
      : undefined;
  let out = old === undefined ? `${bothPlain}${esc}2J` : '';
  let attribute: number | undefined;
  for (let row = 0; row < rows; row++) {
    let at: number | undefined;
    for (let column = 0; column < columns; column++) {
      const cell = cells[row * columns + column] ?? 0;
      if (old !== undefined && old[row * columns + column] === cell) continue;
      if (at !== column) out += place(row, column);
      if (attribute !== cell >> 8) out += colours(screen, cell >> 8);
      attribute = cell >> 8;
      out += character437(cell & 0xff);
      at = column + 1;
    }
  }
  if (out === '' && before?.cursor?.row === cursor?.row && before?.cursor?.column === cursor?.column)
    return '';
  return `${out}${bothPlain}${cursor === undefined ? `${esc}?25l` : `${place(cursor.row, cursor.column)}${esc}?25h`}`;
}
