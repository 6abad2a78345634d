/** Output reaches a terminal no faster than it draws. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TerminalFeed } from './terminal-feed.ts';

/** Draws when told to. */
function slowTerminal() {
  const drawn: Uint8Array[] = [];
  const undrawn: (() => void)[] = [];
  return {
    drawn,
    write: (bytes: Uint8Array, done: () => void): void => void (drawn.push(bytes), undrawn.push(done)),
    drawAll: (): void => {
      while (undrawn.length > 0) undrawn.shift()!();
    },
  };
}

const textOf = (pieces: Uint8Array[]): string => Buffer.concat(pieces).toString();

test('a terminal gets everything, in order, as fast as it draws', () => {
  const terminal = slowTerminal();
  const feed = new TerminalFeed(terminal);
  const said = Array.from({ length: 5000 }, (_, n) => `line ${String(n)} of a guest that prints\n`);
  for (const line of said) feed.write(Buffer.from(line));
  terminal.drawAll();
  assert.equal(textOf(terminal.drawn), said.join(''));
});

test('of a hundred megabytes at once only the end is drawn, and what was left out is said', () => {
  const terminal = slowTerminal();
  const feed = new TerminalFeed(terminal);
  const piece = new Uint8Array(64 << 10).fill(0x61);
  for (let n = 0; n < 1600; n++) feed.write(piece);
  feed.write(Buffer.from('the end'));
  terminal.drawAll();
  const text = textOf(terminal.drawn);
  assert.ok(text.length < 4 << 20, String(text.length));
  assert.ok(text.endsWith('the end'));
  const skipped = Number(/\[(\d+) bytes came faster/.exec(text)?.[1]);
  const shown = text.replace('\x18\r\n', '').replace(/\[\d+ [^\]]*\]\r\n/, '');
  assert.equal(shown.length + skipped, 1600 * piece.length + 'the end'.length);
});
