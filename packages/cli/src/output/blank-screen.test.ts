/** Screens that show nothing are told from those that do. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { whyBlank } from './blank-screen.ts';

test('a screen that shows nothing is told from one that does', () => {
  const rgba = new Uint8Array(4 * 64).map((_, i) => (i % 4 === 3 ? 255 : 0));
  assert.match(whyBlank({ rgba }) ?? '', /draws nothing/);
  for (const at of [0, 4 * 63, 4 * 20 + 2]) {
    const drawn = rgba.slice();
    drawn[at] = 1;
    assert.equal(whyBlank({ rgba: drawn }), undefined, String(at));
  }
  // White, or any other colour, is nothing drawn either.
  assert.match(whyBlank({ rgba: rgba.slice().fill(255) }) ?? '', /draws nothing/);
  assert.match(whyBlank({ lines: ['', '   '] }) ?? '', /written nothing/);
  assert.equal(whyBlank({ lines: ['', ' C:\\>'] }), undefined);
});
