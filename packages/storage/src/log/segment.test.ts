/** Segments of the log: encoding, damage, encryption. */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { CheckpointKey } from '../encryption.ts';
import { isStorageError } from '../errors.ts';
import { systemHost } from '../host.ts';
import { decodeSegment, encodeSegment, type Segment } from './segment.ts';

const segments = fc
  .record({
    epoch: fc.integer({ min: 1, max: 9_999_999_999 }),
    ordinal: fc.integer({ min: 1, max: 9_999_999_999 }),
    from: fc.bigInt({ min: 0n, max: 2n ** 62n }),
    mark: fc.bigInt({ min: 0n, max: 2n ** 40n }),
    firstInput: fc.bigInt({ min: 1n, max: 2n ** 63n }),
    before: fc.option(
      fc.record({
        epoch: fc.nat(),
        ordinal: fc.integer({ min: 1 }),
        hash: fc.uint8Array({ minLength: 32, maxLength: 32 }),
      }),
      { nil: undefined },
    ),
    inputs: fc.array(fc.tuple(fc.bigInt({ min: 0n, max: 2n ** 45n }), fc.uint8Array({ maxLength: 300 })), {
      maxLength: 40,
    }),
  })
  .map(({ mark, inputs, before, ...of }): Segment => {
    // The first of its epoch names one of an epoch before, or none; the others the one before.
    const isFirst = before === undefined || before.epoch < of.epoch;
    const rest = { ...of, ordinal: isFirst ? 1 : Math.max(2, of.ordinal) };
    const previous = isFirst
      ? before && { ...before }
      : { ...before, epoch: rest.epoch, ordinal: rest.ordinal - 1 };
    let count = rest.from;
    const entries = inputs.map(([delta, payload]) => ({ count: (count += delta), payload }));
    return { ...rest, previous, vmId: 'a-vm.1', opened: 1, to: count + mark, entries };
  });

describe('segments', () => {
  for (const key of [undefined, new CheckpointKey(new Uint8Array(32).fill(9))])
    test(`what is encoded is decoded${key === undefined ? '' : ', encrypted'}`, () => {
      fc.assert(
        fc.property(segments, (segment) => {
          const bytes = encodeSegment(segment, { key, host: systemHost });
          const { key: name, hash: sum, nextInput, ...found } = decodeSegment('a-vm.1', segment, bytes, key);
          assert.deepEqual(found, segment);
          assert.ok(name.startsWith('vms/a-vm.1/log/') && Buffer.from(sum).equals(bytes.slice(-32)));
          assert.equal(nextInput, segment.firstInput + BigInt(segment.entries.length));
        }),
      );
    });

  test('any flipped bit, and any cut, is damage; with the checksum set right, never more than an error', () => {
    const key = 'vm';
    const segment: Segment = {
      vmId: key,
      epoch: 1,
      ordinal: 2,
      opened: 1,
      from: 100n,
      to: 1000n,
      firstInput: 3n,
      previous: { epoch: 1, ordinal: 1, hash: new Uint8Array(32).fill(1) },
      entries: [
        { count: 150n, payload: new Uint8Array([1, 2, 3]) },
        { count: 150n, payload: new Uint8Array(0) },
      ],
    };
    const bytes = encodeSegment(segment, { host: systemHost });
    const isDamage = (error: unknown): boolean =>
      isStorageError(error, 'LOG_DAMAGED') && error.message.startsWith('vms/vm/log/0000000001-0000000002: ');
    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes);
      changed[at]! ^= 1 << (at % 8);
      assert.throws(() => decodeSegment(key, segment, changed, undefined), isDamage);
      assert.throws(() => decodeSegment(key, segment, bytes.subarray(0, at), undefined), isDamage);
      if (at < 32 || at >= bytes.length - 32) continue;
      changed.set(hash('sha256', changed.subarray(0, -32), 'buffer'), changed.length - 32);
      try {
        const { to, from, entries } = decodeSegment(key, segment, changed, undefined);
        assert.ok(to >= from && entries.length <= bytes.length);
      } catch (error) {
        assert.ok(isDamage(error), String(error));
      }
    }
  });

  test('an encrypted one needs its key, and is sealed to its place', () => {
    const key = new CheckpointKey(new Uint8Array(32).fill(9));
    const segment: Segment = {
      vmId: 'vm',
      epoch: 1,
      ordinal: 1,
      opened: 1,
      from: 0n,
      to: 5n,
      firstInput: 1n,
      previous: undefined,
      entries: [],
    };
    const bytes = encodeSegment(segment, { key, host: systemHost });
    const other = new CheckpointKey(new Uint8Array(32).fill(8));
    assert.throws(
      () => decodeSegment('vm', segment, bytes, undefined),
      (error) => isStorageError(error, 'KEY_NEEDED'),
    );
    assert.throws(
      () => decodeSegment('vm', segment, bytes, other),
      (error) => isStorageError(error, 'KEY_WRONG'),
    );
    assert.throws(
      () => decodeSegment('vm', { epoch: 1, ordinal: 2 }, bytes, key),
      (error) => isStorageError(error, 'KEY_WRONG'),
    );
  });
});
