/** Frames between nodes: numbered, authenticated and bounded. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { pack } from 'msgpackr';
import { isClusterError } from '../errors.ts';
import { maxFrameBytes } from '../protocol/limits.ts';
import { decodeMessage, type Message } from '../protocol/link.ts';
import { FrameReader, FrameWriter, linkKey } from './frames.ts';

const key = linkKey('a token of some length', Buffer.alloc(16, 1), Buffer.alloc(16, 2));
const message: Message = { type: 'give-up', vmId: 'v', epoch: 3 };
const refused = (run: () => unknown): void => {
  assert.throws(run, (error) => isClusterError(error, 'PROTOCOL'));
};

test('what was written is read, in order', () => {
  const writer = new FrameWriter(key);
  const reader = new FrameReader(key);
  for (let epoch = 0; epoch < 3; epoch++)
    assert.deepEqual(reader.decode(writer.encode({ ...message, epoch })), { ...message, epoch });
});

test('a repeated, a skipped, a foreign and a flipped frame are refused', () => {
  const first = new FrameWriter(key).encode(message);
  const reader = new FrameReader(key);
  reader.decode(first);
  refused(() => reader.decode(first));
  const writer = new FrameWriter(key);
  writer.encode(message);
  refused(() => new FrameReader(key).decode(writer.encode(message)));
  const otherKey = linkKey('a token of some length', Buffer.alloc(16, 1), Buffer.alloc(16, 3));
  refused(() => new FrameReader(otherKey).decode(first));
  for (let bit = 0; bit < first.length * 8; bit++) {
    const flipped = Buffer.from(first);
    flipped[bit >> 3]! ^= 1 << (bit & 7);
    refused(() => new FrameReader(key).decode(flipped));
  }
});

test('an oversized frame is refused on both sides', () => {
  refused(() => new FrameReader(key).decode(new Uint8Array(maxFrameBytes + 1)));
  refused(() => new FrameWriter(key).encode({ type: 'released', vmId: 'x'.repeat(maxFrameBytes) }));
});

/** REVENANT_FRAMES=1000000: so many random frames of each kind. */
const frames = Number(process.env['REVENANT_FRAMES'] ?? 20_000);

/** Decodes, or refuses with the one error that callers know. */
function survives(bytes: Uint8Array): void {
  try {
    decodeMessage(bytes);
  } catch (error) {
    assert.ok(isClusterError(error, 'PROTOCOL'), String(error));
  }
}

test('no bytes make the decoder fail otherwise', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 256 }), survives), { numRuns: frames });
});

test('no values make the decoder fail otherwise', () => {
  const types = ['heartbeat', 'list', 'released', 'give-up', 'command', 'answer', 'other'];
  const names = [
    'view',
    'list',
    'vmId',
    'epoch',
    'hears',
    'master',
    'ping',
    'counter',
    'command',
    'answer',
    'id',
  ];
  const value = fc
    .record({ type: fc.constantFrom(...types) })
    .chain((head) =>
      fc.dictionary(fc.constantFrom(...names), fc.jsonValue()).map((rest) => ({ ...rest, ...head })),
    );
  fc.assert(
    fc.property(value, (made) => survives(pack(made))),
    { numRuns: Math.ceil(frames / 4) },
  );
});
