/** Options from the configuration file, and those typed over it. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { CliError, ExitCode } from '../errors.ts';
import { define } from './command.ts';
import { configured } from './config.ts';
import { flag, list, text, value } from './options.ts';
import { parseWords } from './parse.ts';
import { wholeNumber } from './values.ts';

const command = define({
  words: ['[NAME]'],
  options: {
    store: text('URL', 'where'),
    memory: value('N', 'how much', wholeNumber(1, 100), 7),
    limit: list('NAME=N', 'bounds'),
    drills: flag('allow them'),
  },
  examples: [],
  run: () => Promise.resolve(undefined),
});

describe('configuration file', () => {
  let folder: string, file: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'revenant-config-'));
    file = join(folder, 'c.toml');
  });
  afterEach(() => rm(folder, { recursive: true }));

  async function options(toml: string, ...words: string[]) {
    await writeFile(file, toml);
    const given = configured('revenant vm create', command.options, { REVENANT_CONFIG: file });
    const input = parseWords('revenant vm create', command, words, given);
    assert.ok(input !== 'help');
    return input.options;
  }

  test('gives the options of its command; what is typed counts more', async () => {
    const toml = `
store = "file:/a"
token-file = "which this command does not take"
[vm.create]
memory = 20
limit = ["a=1", "b=2"]
drills = true
[node]
anything = "of another command"
`;
    assert.deepEqual(await options(toml), {
      store: 'file:/a',
      memory: 20,
      limit: ['a=1', 'b=2'],
      drills: true,
    });
    const typed = await options(toml, '--store', 'file:/b', '--memory=30', '--limit', 'c=3');
    assert.deepEqual(typed, { store: 'file:/b', memory: 30, limit: ['c=3'], drills: true });
  });

  test('a switch that is false is not given, and a table wins over what stands above', async () => {
    const toml = 'store = "file:/a"\n[vm.create]\nstore = "file:/c"\ndrills = false';
    assert.deepEqual(await options(toml), { store: 'file:/c', memory: 7, limit: [], drills: false });
  });

  const refused: [name: string, toml: string, message: RegExp][] = [
    ['no TOML', 'store = = 1', /c\.toml: line 1: /],
    ['an option that the command lacks', '[vm.create]\nmemroy = 1', /has 'memroy', which revenant vm create/],
    ['an option outside of its table', 'memory = 1', /'memory' belongs into the table of a command/],
    ['a switch with a text', '[vm.create]\ndrills = "yes"', /'drills' is a switch/],
    ['a date', '[vm.create]\nmemory = 2026-01-01', /'memory' is neither/],
    ['a name of Object itself', '[vm.create]\nconstructor = 1', /has 'constructor'/],
    ['a command that is no table', 'vm = 1', /'vm' belongs into the table/],
  ];
  for (const [name, toml, message] of refused)
    test(`refuses ${name}`, async () => {
      await assert.rejects(options(toml), (error: unknown) => {
        assert.ok(error instanceof CliError);
        assert.equal(error.exitCode, ExitCode.badInput);
        assert.match(error.message, message);
        return true;
      });
    });

  test('a wrong value is refused as if it had been typed', async () => {
    await assert.rejects(options('[vm.create]\nmemory = 1000'), /--memory/);
  });

  test('a variable of the environment counts more than what stands above all tables', async () => {
    await writeFile(file, 'store = "file:/a"');
    const env = { REVENANT_CONFIG: file, REVENANT_STORE: 'file:/b' };
    assert.equal(configured('revenant vm create', command.options, env).size, 0);
  });

  test('a named file that is not there is refused; none at the usual place is fine', async () => {
    assert.throws(
      () => configured('revenant run', {}, { REVENANT_CONFIG: join(folder, 'none') }),
      /none: can't be read/,
    );
    assert.equal(configured('revenant run', {}, {}).size, 0);
  });
});
