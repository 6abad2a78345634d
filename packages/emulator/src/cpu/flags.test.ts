/** The lazy form of the arithmetic flags. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { flagsToLazy, lazyToFlags } from './flags.ts';
import { arithmeticFlags } from './layout.ts';

test('every combination of the arithmetic flags survives the lazy form', () => {
  for (let eflags = 0; eflags < 0x1000; eflags++) {
    const wanted = eflags & arithmeticFlags;
    assert.equal(lazyToFlags(flagsToLazy(eflags)), wanted);
  }
});
