/** The output gate lets outputs leave when their policy allows, each once and in order. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { StampedOutput } from '@revenant/emulator';
import { OutputGate } from './output-gate.ts';

const output = (number: number, size = 1): StampedOutput => ({
  // While the processor waits the count stands still: the gate must not look at it.
  instructions: 7n,
  timeNs: 0n,
  number,
  output: { kind: 'serial', port: 0, bytes: new Uint8Array(size) },
});
const numbers = (outputs: readonly StampedOutput[]): number[] => outputs.map(({ number }) => number);

describe('the output gate', () => {
  test('async: all leaves at once', () => {
    const gate = new OutputGate('async');
    assert.deepEqual(numbers(gate.said(1, [output(1), output(2)])), [1, 2]);
    assert.equal(gate.heldBytes, 0);
  });

  test('else an output leaves once its position is durable, in order, and each once', () => {
    for (const policy of ['checkpoint', 'log'] as const) {
      const gate = new OutputGate(policy);
      assert.deepEqual(numbers(gate.said(1, [output(1)])), []);
      assert.deepEqual(numbers(gate.said(2, [output(2)])), []);
      assert.deepEqual(numbers(gate.durableUpTo(1)), [1]);
      assert.deepEqual(numbers(gate.said(3, [output(3)])), []);
      assert.deepEqual(numbers(gate.durableUpTo(2)), [2]);
      // An older checkpoint that becomes durable later says nothing new.
      assert.deepEqual(numbers(gate.durableUpTo(1)), []);
      assert.deepEqual(numbers(gate.durableUpTo(3)), [3]);
      // Behind a message without outputs.
      gate.said(9, []);
      gate.durableUpTo(9);
      assert.deepEqual(numbers(gate.said(9, [output(4)])), [4]);
      assert.equal(gate.heldBytes, 0);
    }
  });

  test('positions that fall, and durable ones that were never reached, are a fault of ours', () => {
    const gate = new OutputGate('log');
    gate.said(5, [output(1)]);
    assert.throws(() => gate.said(4, [output(2)]), /a fault of Revenant/);
    assert.throws(() => gate.durableUpTo(6), /a fault of Revenant/);
    assert.deepEqual(numbers(gate.durableUpTo(5)), [1]);
  });

  test('a network frame waits among the bytes that were said before and after it', () => {
    const frame: StampedOutput = {
      ...output(0),
      output: { kind: 'frame', nic: 0, bytes: new Uint8Array(60) },
    };
    const gate = new OutputGate('log');
    gate.said(1, [output(1), frame, output(2)]);
    assert.deepEqual(
      gate.durableUpTo(1).map(({ output: { kind } }) => kind),
      ['serial', 'frame', 'serial'],
    );
  });

  test('another policy holds what is said from then on, and async lets all out', () => {
    const gate = new OutputGate('async');
    gate.said(1, [output(1)]);
    gate.setPolicy('checkpoint');
    assert.deepEqual(numbers(gate.said(2, [output(2)])), []);
    assert.deepEqual(numbers(gate.setPolicy('log')), []);
    assert.deepEqual(numbers(gate.setPolicy('async')), [2]);
  });

  test('tells when the guest has to stand still', () => {
    const gate = new OutputGate('log');
    let pieces = 0;
    for (; !gate.isFull && pieces < 1000; pieces++) gate.said(1, [output(1, 65_536)]);
    assert.ok(pieces > 10 && pieces < 100);
    gate.durableUpTo(1);
    assert.ok(!gate.isFull);
  });
});
