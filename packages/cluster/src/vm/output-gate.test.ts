import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { StampedOutput } from '@revenant/emulator';
import { durableUpTo, isFull, newGate, said } from './output-gate.ts';

const output = (count: number, size = 1): StampedOutput => ({
  instructions: BigInt(count),
  timeNs: 0n,
  number: count,
  output: { kind: 'serial', port: 0, bytes: new Uint8Array(size) },
});
const counts = (outputs: readonly StampedOutput[]): number[] => outputs.map(({ number }) => number);

describe('the output gate', () => {
  test('async: all leaves at once', () => {
    const { state, leave } = said(newGate('async'), [output(1), output(2)]);
    assert.deepEqual(counts(leave), [1, 2]);
    assert.deepEqual(state, newGate('async'));
  });

  test('else an output leaves once its count is durable, in order, and each once', () => {
    for (const policy of ['checkpoint', 'log', 'standby'] as const) {
      const first = said(newGate(policy), [output(1), output(5)]);
      assert.deepEqual(counts(first.leave), []);
      const second = durableUpTo(first.state, 4n);
      assert.deepEqual(counts(second.leave), [1]);
      // What is said up to there afterwards waits behind what waits already.
      const third = said(second.state, [output(5), output(6)]);
      assert.deepEqual(counts(third.leave), []);
      const fourth = durableUpTo(durableUpTo(third.state, 5n).state, 3n);
      assert.deepEqual(counts(fourth.leave), []);
      assert.deepEqual(counts(fourth.state.held), [6]);
      assert.deepEqual(counts(durableUpTo(third.state, 9n).leave), [5, 5, 6]);
      assert.deepEqual(counts(said(durableUpTo(third.state, 9n).state, [output(7)]).leave), [7]);
    }
  });

  test('tells when the guest has to stand still', () => {
    let state = newGate('log');
    let pieces = 0;
    for (; !isFull(state) && pieces < 1000; pieces++) ({ state } = said(state, [output(1, 65_536)]));
    assert.ok(pieces > 10 && pieces < 100);
    assert.ok(!isFull(durableUpTo(state, 1n).state));
  });
});
