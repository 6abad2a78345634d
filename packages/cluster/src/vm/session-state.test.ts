/** A session goes through its life in one direction. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SessionLife, type SessionState } from './session-state.ts';

const isTaken = (life: SessionLife, state: SessionState): boolean => {
  try {
    life.enter(state);
    return true;
  } catch (error) {
    assert.match(String(error), /a fault of Revenant/);
    return false;
  }
};

test('what runs may leave or end, and what has ended never lives again', () => {
  const life = new SessionLife('resuming');
  assert.ok(!isTaken(life, 'starting') && !isTaken(life, 'preparing'));
  assert.ok(isTaken(life, 'running') && isTaken(life, 'handing-over'));
  assert.ok(!isTaken(life, 'running'), 'whoever is handed over does not come back');
  assert.ok(isTaken(life, 'ending') && isTaken(life, 'ended'));
  for (const state of ['starting', 'resuming', 'running', 'handing-over', 'ending'] as const)
    assert.ok(!isTaken(life, state), state);
  assert.ok(isTaken(life, 'ended'));
  assert.equal(life.state, 'ended');
});
