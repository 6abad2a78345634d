/** The text on a screen in text mode, as lines of Unicode. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { character437, screenLines } from './screen-text.ts';

test('code page 437 has 256 characters, of which only the blanks are alike', () => {
  const characters = Array.from({ length: 256 }, (_, code) => character437(code));
  assert.equal(characters[0x01], '☺');
  assert.equal(characters[0x80], 'Ç');
  assert.equal(characters[0xb3], '│');
  assert.equal(characters[0xdb], '█');
  assert.equal(characters[0xfe], '■');
  assert.equal(new Set(characters).size, 254); // 0x00, 0x20 and 0xff look alike
});

test('a screen becomes lines without spaces at their ends', () => {
  const cells = Uint16Array.from([...'ab  c  x'].map((c) => 0x0700 | c.charCodeAt(0)));
  assert.deepEqual(screenLines({ columns: 4, rows: 2, cells }), ['ab', 'c  x']);
});
