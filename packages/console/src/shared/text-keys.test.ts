/** The keys that write a text. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { strokesOf } from './text-keys.ts';

test('every character that can be printed has one key, with or without Shift', () => {
  const printable = Array.from({ length: 95 }, (_, n) => String.fromCharCode(0x20 + n));
  const { strokes, missing } = strokesOf(printable.join(''));
  assert.deepEqual(missing, []);
  const named = strokes.map(({ code, shift }) => `${shift ? 'Shift+' : ''}${code}`);
  assert.equal(new Set(named).size, 95);
  assert.deepEqual(strokesOf('aB;:\n').strokes, [
    { code: 'KeyA', shift: false },
    { code: 'KeyB', shift: true },
    { code: 'Semicolon', shift: false },
    { code: 'Semicolon', shift: true },
    { code: 'Enter', shift: false },
  ]);
});

test('ends of lines are one key each, and what no key writes is named', () => {
  const { strokes, missing } = strokesOf('a\r\nb\rcä→ä');
  assert.equal(strokes.filter(({ code }) => code === 'Enter').length, 2);
  assert.deepEqual(missing, ['ä', '→']);
});
