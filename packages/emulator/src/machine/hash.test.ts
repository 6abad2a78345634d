/** Hashes of a machine's state: SHA-256 and the canonical encoding. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { hashValue, sha256, toHex } from './hash.ts';

test('SHA-256 agrees with the host library for all lengths around block borders and odd pieces', () => {
  const data = Uint8Array.from({ length: 1000 }, (_, n) => (n * 37 + 11) & 0xff);
  for (const length of [0, 1, 55, 56, 57, 63, 64, 65, 119, 120, 127, 128, 129, 1000]) {
    const hash = sha256();
    for (let at = 0; at < length; at += 7) hash.update(data.subarray(at, Math.min(length, at + 7)));
    const expected = createHash('sha256').update(data.subarray(0, length)).digest('hex');
    assert.equal(toHex(hash.digest()), expected, `length ${String(length)}`);
  }
});

test('the canonical encoding does not depend on the order of keys and tells types and borders apart', () => {
  const digest = (value: unknown): string => {
    const hash = sha256();
    hashValue(hash, value);
    return toHex(hash.digest());
  };
  assert.equal(digest({ a: 1, b: [2n, 'x'] }), digest({ b: [2n, 'x'], a: 1 }));
  const different = [
    1,
    1n,
    '1',
    [1],
    ['1', '2'],
    ['12'],
    { a: 1 },
    { a: null },
    {},
    [],
    true,
    new Uint8Array([1]),
  ];
  assert.equal(new Set(different.map(digest)).size, different.length);
});
