/** Buffers for pages are used again, within bounds. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { PageBuffers } from './page-buffers.ts';

describe('buffers for pages', () => {
  test('what is given back is used again, the smallest that fits first', () => {
    const buffers = new PageBuffers();
    const [small, large] = [buffers.take(100_000), buffers.take(10 << 20)];
    assert.notEqual(small.buffer, large.buffer);
    buffers.giveBack(large.buffer);
    buffers.giveBack(small.buffer);
    assert.equal(buffers.take(4096).buffer, small.buffer);
    assert.equal(buffers.take(4096).buffer, large.buffer);
    assert.equal(buffers.idleBytes, 0);
  });

  test('nobody gets what another has, nor more than asked for', () => {
    const buffers = new PageBuffers();
    const taken = [4096, 8192, 0, 4096].map((bytes) => buffers.take(bytes));
    assert.deepEqual(
      taken.map(({ length }) => length),
      [4096, 8192, 0, 4096],
    );
    const one = taken[0]!;
    buffers.giveBack(one.buffer);
    buffers.giveBack(one.buffer);
    assert.equal(buffers.take(4096).buffer, one.buffer);
    assert.notEqual(buffers.take(4096).buffer, one.buffer);
  });

  test('idle memory is bounded, and what can not be shared is not kept', () => {
    const buffers = new PageBuffers();
    for (let n = 0; n < 20; n++) buffers.giveBack(new SharedArrayBuffer((n + 1) << 20));
    assert.equal(buffers.idleBytes, (20 + 19 + 18 + 17) << 20);
    buffers.giveBack(new SharedArrayBuffer(256 << 20));
    buffers.giveBack(new ArrayBuffer(32 << 20));
    assert.equal(buffers.idleBytes, (20 + 19 + 18 + 17) << 20);
  });
});
