/** What a standby that takes its VM over makes of what its session told the VM's owners. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LogCopy } from './copy.ts';
import { holdsLess, isOfLife } from './lead.ts';
import { notedFor } from './reliance.ts';

const held = (next: number, mark: bigint): LogCopy => new LogCopy({ next, mark });
const promised = { boot: 0, epoch: 3, next: 20, mark: 100n };

test('a standby that holds less than its session told is found out', () => {
  assert.equal(holdsLess({ promised, epoch: 3, copy: held(20, 100n) }, 3), false);
  assert.equal(holdsLess({ promised, epoch: 3, copy: held(19, 100n) }, 3), true);
  assert.equal(holdsLess({ promised, epoch: 3, copy: held(20, 99n) }, 3), true);
  assert.equal(holdsLess({ promised: undefined, epoch: 3, copy: held(1, 1n) }, 3), false);
});

test('so is one made anew after its session led the VM and ended before the store had what it led with', () => {
  assert.equal(holdsLess({ promised, epoch: 5, copy: held(19, 100n) }, 3), true);
  assert.equal(holdsLess({ promised, epoch: 5, copy: held(20, 100n) }, 3), false);
});

test('what was told an owner on which nothing rests any more counts no longer', () => {
  assert.equal(holdsLess({ promised, epoch: 5, copy: held(19, 100n) }, undefined), false);
  assert.equal(holdsLess({ promised, epoch: 5, copy: held(19, 100n) }, 4), false);
});

test('a note of another session says nothing of what this one followed: others may have gone on from less', () => {
  const note = { node: 'n5', incarnation: 1, epoch: 1 };
  assert.equal(notedFor(note, { node: 'n5', incarnation: 1 }), 1);
  assert.equal(notedFor(note, { node: 'n4', incarnation: 1 }), undefined);
  assert.equal(notedFor(note, { node: 'n5', incarnation: 2 }), undefined);
  assert.equal(notedFor(undefined, { node: 'n5', incarnation: 1 }), undefined);
  // n4 followed epoch 1; n5, on which outputs rested, ran epoch 2, which had not taken the note back.
  assert.equal(isOfLife(1, { before: 2, noted: notedFor(note, { node: 'n4', incarnation: 1 }) }), false);
  assert.equal(isOfLife(1, { before: 2, noted: notedFor(note, { node: 'n5', incarnation: 1 }) }), true);
  assert.equal(isOfLife(2, { before: 2, noted: undefined }), true);
});
