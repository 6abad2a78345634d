/** When outputs may leave on a standby's word, and when the note in the owner record may change. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Reliance } from './reliance.ts';

const s = { node: 's', incarnation: 2 };
const t = { node: 't', incarnation: 1 };
const note = (session: typeof s, epoch = 3) => ({ ...session, epoch });

function noted(session = s): Reliance {
  const reliance = new Reliance({ epoch: 3, found: undefined, left: -1 });
  reliance.want(session);
  assert.deepEqual(reliance.next, { note: note(session) });
  reliance.writing();
  reliance.wrote(note(session), 'done');
  return reliance;
}

test('nothing leaves on the word of a standby before the record names it', () => {
  const reliance = new Reliance({ epoch: 3, found: undefined, left: -1 });
  reliance.want(s);
  assert.equal(reliance.holds(s, 7), false);
  reliance.writing();
  assert.equal(reliance.holds(s, 8), false);
  reliance.wrote(note(s), 'unknown');
  assert.equal(reliance.holds(s, 9), false);
  assert.deepEqual(reliance.next, { note: note(s) });
  reliance.writing();
  reliance.wrote(note(s), 'done');
  assert.equal(reliance.holds(s, 10), true);
  assert.equal(reliance.holds(t, 11), false);
});

test('a note goes once the store has what left on its word, and nothing leaves on it meanwhile', () => {
  const reliance = noted();
  assert.equal(reliance.holds(s, 10), true);
  reliance.want(undefined);
  assert.equal(reliance.holds(s, 11), false);
  reliance.stored(9);
  assert.equal(reliance.next, 'rest');
  reliance.stored(10);
  assert.deepEqual(reliance.next, { note: undefined });
});

test('another standby is named once it, or the store, has what left on the word of the one before', () => {
  for (const has of ['the other', 'the store']) {
    const reliance = noted();
    assert.equal(reliance.holds(s, 10), true);
    reliance.want(t);
    assert.equal(reliance.holds(t, 9), false);
    assert.equal(reliance.next, 'rest');
    if (has === 'the store') reliance.stored(10);
    else assert.equal(reliance.holds(t, 10), false);
    assert.deepEqual(reliance.next, { note: note(t) });
  }
});

test('the note of the epoch before stays until the state of the new owner is durable', () => {
  const reliance = new Reliance({ epoch: 3, found: note(s, 2), left: 1 });
  assert.equal(reliance.restsOn(s), false);
  reliance.stored(0);
  assert.equal(reliance.next, 'rest');
  reliance.stored(1);
  assert.deepEqual(reliance.next, { note: undefined });
  assert.equal(reliance.isSettled, false);
});
