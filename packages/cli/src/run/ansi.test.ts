/** A guest's screen in a terminal: what is painted, and which keys are understood. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import type { TextScreen } from '@revenant/emulator';
import { keysTyped } from './ansi-keys.ts';
import { paintScreen } from './ansi-screen.ts';

const colours = Array.from({ length: 16 }, (_, n): [number, number, number] => [n, n * 2, n * 3]);

function screenOf(lines: readonly string[], attribute = 7): TextScreen {
  const columns = lines[0]?.length ?? 0;
  const cells = Uint16Array.from(lines.join(''), (letter) => letter.charCodeAt(0) | (attribute << 8));
  return { columns, rows: lines.length, cells, cursor: { column: 1, row: 1 }, colours, blinks: true };
}

/** What a terminal shows after these sequences: characters with the colours that were set, and where the cursor is. */
function shownBy(text: string, columns: number, rows: number): { cells: string[]; cursor: string } {
  const cells = Array.from({ length: columns * rows }, () => ' ');
  let [row, column, colour] = [0, 0, ''];
  // eslint-disable-next-line no-control-regex
  const parts = text.matchAll(/\x1b\[([?\d;]*)([A-Za-z])|([^\x1b])/g);
  for (const [, parameters = '', final = '', letter = ''] of parts)
    if (letter !== '') cells[row * columns + column++] = `${letter}${colour}`;
    else if (final === 'H') [row = 0, column = 0] = parameters.split(';').map((n) => Number(n) - 1);
    else if (final === 'm') colour = parameters === '0' ? '' : `${colour}/${parameters}`;
  return { cells, cursor: `${String(column)},${String(row)}` };
}

test('a screen is painted, then only what changed of it', () => {
  const first = screenOf(['hello', 'world']);
  const whole = paintScreen(first, undefined);
  const { cells, cursor } = shownBy(whole, 5, 2);
  assert.deepEqual(cells.map((cell) => cell[0]).join(''), 'helloworld');
  assert.ok(cells.every((cell) => cell.endsWith('/38;2;7;14;21/48;2;0;0;0')));
  assert.equal(cursor, '1,1');
  assert.equal(paintScreen(first, first), '');
  const next = screenOf(['hello', 'wOrLd']);
  const changes = paintScreen(next, first);
  assert.equal(
    shownBy(changes, 5, 2)
      .cells.map((cell) => cell[0])
      .join(''),
    '      O L ',
  );
  // Bit 7 of an attribute blinks here, and brightens no background.
  assert.ok(paintScreen(screenOf(['x'], 0xf1), undefined).includes('48;2;7;14;21m'));
  assert.ok(paintScreen({ ...screenOf(['x']), cursor: undefined }, screenOf(['x'])).endsWith('\x1b[?25l'));
});

test('what is typed at a terminal is keys', () => {
  const typed = (text: string): string =>
    keysTyped(Buffer.from(text, 'latin1'))
      .map((chord) => chord.join('+'))
      .join(' ');
  assert.equal(typed('aB!\r'), 'KeyA ShiftLeft+KeyB ShiftLeft+Digit1 Enter');
  assert.equal(typed('\x03\x7f\t'), 'ControlLeft+KeyC Backspace Tab');
  assert.equal(typed('\x1b[A\x1bOB\x1b[5~\x1b[24~\x1bOP'), 'ArrowUp ArrowDown PageUp F12 F1');
  assert.equal(typed('\x1b'), 'Escape');
  assert.equal(typed('\x1bx'), 'AltLeft+KeyX');
  assert.equal(typed('\xfc\x1b[99~'), '');
});
