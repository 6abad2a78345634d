/** Input that comes from a pipe reaches the guest as fast as it reads, and whole. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { PipedInput } from './piped-input.ts';

function input(): { piped: PipedInput; calls: string[] } {
  const calls: string[] = [];
  const piped = new PipedInput({ pause: () => calls.push('pause'), resume: () => calls.push('resume') });
  return { piped, calls };
}
const reads = { listening: true, unread: 0 };

test('it waits until the guest reads, and goes in piece by piece', () => {
  const { piped } = input();
  piped.push(Buffer.from('a'.repeat(300)));
  assert.equal(piped.next({ listening: false, unread: 0 }), undefined);
  assert.equal(piped.next(reads)?.length, 256);
  assert.equal(piped.next({ listening: true, unread: 3 }), undefined);
  assert.equal(piped.next(reads)?.length, 44);
  assert.equal(piped.next(reads), undefined);
});

test('it is over when all of something was read; nothing is no end', () => {
  const { piped } = input();
  piped.push(Buffer.from('x'));
  assert.ok(!piped.done(reads));
  piped.end();
  assert.ok(!piped.done(reads), 'it is not delivered yet');
  piped.next(reads);
  assert.ok(!piped.done({ listening: true, unread: 1 }), 'the guest has not read it yet');
  assert.ok(piped.done(reads));
  const { piped: empty } = input();
  empty.end();
  assert.ok(!empty.done(reads));
});

test('a long stream is held back, and loses nothing', () => {
  const { piped, calls } = input();
  const whole = Buffer.from(Array.from({ length: 200_000 }, (_, n) => n & 0xff));
  for (let at = 0; at < whole.length; at += 50_000) piped.push(whole.subarray(at, at + 50_000));
  assert.ok(calls.includes('pause'));
  const got: Uint8Array[] = [];
  for (let piece = piped.next(reads); piece !== undefined; piece = piped.next(reads)) got.push(piece);
  assert.deepEqual(Buffer.concat(got), whole);
  assert.equal(calls.at(-1), 'resume');
});
