/** LZ4 blocks of our own codec against those of a native library. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeLz4Block, encodeLz4Block } from './lz4-block.ts';
import * as browser from './lz4-browser.ts';
import * as node from './lz4-node.ts';

/** Bytes as memory has them: runs, repetitions near and far, noise. */
const memory = fc
  .array(
    fc.record({
      bytes: fc.uint8Array({ maxLength: 40 }),
      times: fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 50, max: 3000 })),
    }),
    { maxLength: 12 },
  )
  .map(
    (parts) =>
      new Uint8Array(
        Buffer.concat(parts.flatMap(({ bytes, times }) => Array.from({ length: times }, () => bytes))),
      ),
  );

test('what one encodes the other decodes, in both directions', () => {
  fc.assert(
    fc.property(memory, (bytes) => {
      for (const encoder of [browser, node])
        for (const decoder of [browser, node])
          assert.deepEqual(new Uint8Array(decoder.uncompressSized(encoder.compressSized(bytes))), bytes);
    }),
  );
});

test('what repeats becomes small, and what does not hardly larger', () => {
  const page = new Uint8Array(4096).fill(7);
  assert.ok(encodeLz4Block(page).length < 40);
  const noise = Uint8Array.from({ length: 4096 }, (_, i) => Math.imul(i + 1, 2_654_435_761) >>> 13);
  assert.ok(encodeLz4Block(noise).length <= 4096 + 20);
});

test('matches may overlap, reach back to the start, and not before it', () => {
  const out = new Uint8Array(32).fill(9);
  // One literal, a match at distance 1 of 11, five literals.
  const block = new Uint8Array([0x17, 5, 1, 0, 0x50, 1, 2, 3, 4, 5]);
  assert.equal(decodeLz4Block(block, out, 4), 21);
  assert.deepEqual([...out.subarray(0, 22)], [9, 9, 9, 9, ...Array(12).fill(5), 1, 2, 3, 4, 5, 9]);
  assert.throws(
    () => decodeLz4Block(new Uint8Array([0x17, 5, 2, 0, 0x50, 1, 2, 3, 4, 5]), out, 4),
    RangeError,
  );
});

test('a block that no encoder makes is refused, and nothing is written beyond the end', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), fc.nat(64), (block, size) => {
      const room = new Uint8Array(128).fill(0xee);
      try {
        assert.ok(decodeLz4Block(block, room.subarray(0, size)) <= size);
      } catch (error) {
        assert.ok(error instanceof RangeError);
      }
      assert.ok(room.subarray(size).every((byte) => byte === 0xee));
    }),
    { numRuns: 2000 },
  );
  for (const cut of [[0xf0], [0xf0, 255, 255], [0x40, 1, 2], [0x10, 1, 1], [0x1f, 1, 1, 0]])
    assert.throws(() => decodeLz4Block(new Uint8Array(cut), new Uint8Array(1000)), RangeError, String(cut));
});
