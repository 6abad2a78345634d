/** The options of `run`: all that can be given, and what is refused. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { CliError, ExitCode } from '../errors.ts';
import { runRequestOf } from '../../test-support/run-request.ts';

test('everything that can be given', () => {
  const options = runRequestOf(
    '--kernel k --initrd i --append a=b --memory 64M --cpu pentium --cpus 4 --serial file:out --max-instructions 12345678901 --save s --debug-exit 0xf4 --debug-console 0xe9=log --engine translator'.split(
      ' ',
    ),
  );
  assert.deepEqual(options, {
    kernel: 'k',
    initrd: 'i',
    append: 'a=b',
    memoryBytes: 64 * 2 ** 20,
    cpu: 'pentium',
    cpuCount: 4,
    serial: { kind: 'file', path: 'out' },
    maxInstructions: 12345678901n,
    save: 's',
    debugExitPort: 0xf4,
    debugConsole: { port: 0xe9, path: 'log' },
    engine: 'translator',
    atEof: 'leave',
  });
});

test('what makes no sense is refused with a hint', () => {
  for (const words of [
    '',
    'a b',
    'a --kernel k',
    'a --cpu 8086',
    'a --cpus 0',
    'a --cpus 17',
    'a --cpus two',
    'a --serial disk',
    'a --debug-exit 70000',
    'a --debug-console 0xe9',
    'a --max-instructions -',
    'a --engine fast',
    'a --memory 1.5G',
    'a --save x --disk d,rw',
    'a --store file:/x',
  ]) {
    assert.throws(
      () => runRequestOf(words.split(' ').filter((word) => word !== '')),
      (error) => error instanceof CliError && error.exitCode === ExitCode.usage && error.hint !== undefined,
      words,
    );
  }
});
