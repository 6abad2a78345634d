/** Text of a guest is made harmless before a terminal sees it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { printable } from './printable.ts';

test("a guest's text can't command the terminal", () => {
  assert.equal(
    printable('a\tb\n\u001b]52;c;eA==\u0007\u009b2J\u007f é'),
    'a\tb\n\\x1b]52;c;eA==\\x07\\x9b2J\\x7f é',
  );
});
