import { test } from 'node:test';
import assert from 'node:assert/strict';
import { CliError } from '../errors.ts';
import { parseRunOptions, parseSize } from './options.ts';

test('sizes', () => {
  assert.equal(parseSize('256M'), 256 * 2 ** 20);
  assert.equal(parseSize('1g'), 2 ** 30);
  for (const bad of ['', '12', 'M', '-1M', '1.5G']) assert.throws(() => parseSize(bad), CliError, bad);
});

test('everything that can be given', () => {
  const options = parseRunOptions(
    '--kernel k --initrd i --append a=b --memory 64M --cpu pentium --serial file:out --max-instructions 12345678901 --save s --debug-exit 0xf4 --debug-console 0xe9=log --engine translator'.split(
      ' ',
    ),
  );
  assert.deepEqual(options, {
    kernel: 'k',
    initrd: 'i',
    append: 'a=b',
    memoryBytes: 64 * 2 ** 20,
    cpu: 'pentium',
    serial: { kind: 'file', path: 'out' },
    maxInstructions: 12345678901n,
    save: 's',
    debugExitPort: 0xf4,
    debugConsole: { port: 0xe9, path: 'log' },
    engine: 'translator',
  });
});

test('what makes no sense is refused with a hint', () => {
  for (const words of [
    '',
    'a b',
    'a --kernel k',
    'a --cpu 8086',
    'a --serial disk',
    'a --debug-exit 70000',
    'a --debug-console 0xe9',
    'a --max-instructions -',
    'a --engine fast',
  ]) {
    assert.throws(
      () => parseRunOptions(words.split(' ').filter((word) => word !== '')),
      (error) => error instanceof Error && (!(error instanceof CliError) || error.hint !== undefined),
      words,
    );
  }
});
