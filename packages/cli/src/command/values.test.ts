/** Values of options: sizes, fractions, numbers, addresses, names and times, and how wrong ones are refused. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { CliError, ExitCode } from '../errors.ts';
import {
  address,
  commaSeparated,
  count,
  ioPort,
  oneOf,
  positive,
  size,
  time,
  wholeNumber,
} from './values.ts';

/** A usage error of one line that names where it was typed, with a hint. */
const refused = (error: unknown): boolean =>
  error instanceof CliError &&
  error.exitCode === ExitCode.usage &&
  error.message.startsWith('--x: ') &&
  error.hint !== undefined;

test('sizes', () => {
  assert.equal(size('256M', '--x'), 256 * 2 ** 20);
  assert.equal(size('1g', '--x'), 2 ** 30);
  assert.equal(size('4KiB', '--x'), 4096);
  for (const bad of ['', '12', 'M', '-1M', '1.5G', '0M', '9999999999G', '1e3M'])
    assert.throws(() => size(bad, '--x'), refused, bad);
});

test('fractions, and several with commas', () => {
  assert.equal(positive('0.05', '--x'), 0.05);
  for (const bad of ['', '0', '-1', 'NaN', 'Infinity', 'x'])
    assert.throws(() => positive(bad, '--x'), refused, bad);
  assert.deepEqual(commaSeparated(wholeNumber(1))('256,2048', '--x'), [256, 2048]);
  assert.deepEqual(commaSeparated(oneOf(['a', 'b']))('', '--x'), []);
  assert.throws(() => commaSeparated(oneOf(['a', 'b']))('a,c', '--x'), refused);
});

test('numbers, within their bounds', () => {
  assert.equal(wholeNumber()('0', '--x'), 0);
  assert.equal(wholeNumber(1, 16)('0x10', '--x'), 16);
  for (const bad of ['', '17', '0', '-1', '1.5', '1e1', 'NaN', 'Infinity', '0x'])
    assert.throws(() => wholeNumber(1, 16)(bad, '--x'), refused, bad);
  assert.throws(() => wholeNumber()('99999999999999999999', '--x'), refused);
  assert.equal(count('123_456_789_012', '--x'), 123_456_789_012n);
  assert.equal(ioPort('0xf4', '--x'), 0xf4);
  assert.throws(() => ioPort('65536', '--x'), refused);
});

test('addresses are 64 bits wide, and may leave the 0x out where a letter tells', () => {
  assert.equal(address('0xffffffff81000000', '--x'), 0xffff_ffff_8100_0000n);
  assert.equal(address('ffffffff81000000', '--x'), 0xffff_ffff_8100_0000n);
  assert.equal(address('512', '--x'), 512n);
  for (const bad of ['here', '', '0x1_0000_0000_0000_0000'])
    assert.throws(() => address(bad, '--x'), refused);
});

test('one of some names', () => {
  assert.equal(oneOf(['a', 'b'])('b', '--x'), 'b');
  assert.throws(() => oneOf(['a', 'b'])('constructor', '--x'), refused);
});

test('times are ages or dates', () => {
  const at = time(() => 1_000_000);
  assert.equal(at('10m', '--x'), 400_000);
  assert.equal(at('2026-01-31T12:00Z', '--x'), Date.UTC(2026, 0, 31, 12));
  assert.throws(() => at('soon', '--x'), refused);
});
