/** All commands: what they list is what they take, and what they don't list is refused with a hint. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { commands } from '../commands/index.ts';
import { CliError, ExitCode } from '../errors.ts';
import { Input, type Group } from './command.ts';
import { dispatch, find } from './dispatch.ts';
import { commandHelp, groupHelp, overview, type Named } from './help.ts';
import { parseWords } from './parse.ts';

async function all(group: Group, path = 'revenant'): Promise<{ verbs: Named[]; groups: [string, Group][] }> {
  const found: { verbs: Named[]; groups: [string, Group][] } = { verbs: [], groups: [[path, group]] };
  for (const [name, listed] of Object.entries(group.commands)) {
    const here = `${path} ${name}`;
    if ('load' in listed) {
      const { command } = await listed.load();
      found.verbs.push({ path: here, summary: listed.summary, command });
      continue;
    }
    const below = await all(listed, here);
    found.verbs.push(...below.verbs);
    found.groups.push(...below.groups);
  }
  return found;
}

const { verbs, groups } = await all(commands);

/** Words as a shell splits them: quotes hold words together. */
function shellWords(line: string): string[] {
  return Array.from(line.matchAll(/(?:"[^"]*"|'[^']*'|\S)+/g), ([word]) =>
    word.replaceAll(/"([^"]*)"|'([^']*)'/g, (_, double: string, single: string) => double ?? single),
  );
}

function usage(pattern: RegExp, hint: RegExp) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof CliError);
    assert.equal(error.exitCode, ExitCode.usage);
    assert.match(error.message, pattern);
    assert.match(error.hint ?? '', hint);
    return true;
  };
}

test('each example of each command is a command line that it takes', async () => {
  for (const { path, command } of verbs) {
    assert.ok(command.examples.length > 0, `${path} has no example`);
    for (const example of command.examples) {
      const found = await find(commands, shellWords(example));
      assert.ok('command' in found && found.path === path, `${path}: example '${example}' is another's`);
      assert.ok(parseWords(found.path, command, found.rest) instanceof Input, example);
    }
  }
});

test('help tells each option with its lines, within the width of a page', async () => {
  for (const named of verbs) {
    const { path, summary, command } = named;
    const help = commandHelp(named);
    for (const name of Object.keys(command.options))
      assert.ok(help.includes(`  --${name}`), `${path} --${name}`);
    for (const line of help.split('\n')) assert.ok(line.length <= 150, line);
    assert.ok(!help.includes('undefined') && /^[^A-Z].*[^.]$/.test(summary), help);
  }
  for (const [path, group] of groups) {
    const text = group === commands ? overview(group) : groupHelp(path, group);
    for (const line of text.split('\n')) assert.ok(line.length <= 150, line);
    for (const name of Object.keys(group.commands)) assert.match(text, new RegExp(`^  ${name}\\b`, 'm'));
  }
});

test('an option that a command does not list is refused, whichever command it is', () => {
  for (const { path, command } of verbs) {
    const words = command.words.filter((word) => !word.startsWith('[')).map(() => 'x');
    for (const option of ['--frobnicate', '--frobnicate=1', '-x', '--__proto__', '--constructor'])
      assert.throws(
        () => parseWords(path, command, [...words, option]),
        usage(/ takes no -/, /--help lists what it takes/),
        `${path} ${option}`,
      );
  }
});

test('words that are missing or too many are refused, whichever command it is', () => {
  for (const { path, command } of verbs) {
    const required = command.words.filter((word) => !word.startsWith('['));
    if (required.length > 0)
      assert.throws(() => parseWords(path, command, []), usage(/ is missing$/, /^usage: revenant /), path);
    if (!(command.words.at(-1) ?? '').includes('…'))
      assert.throws(
        () => parseWords(path, command, [...command.words, 'extra']),
        usage(/'extra' is one word too many/, /^usage: revenant /),
        path,
      );
  }
});

test('an option without its value, a switch with one, and a value that looks like an option', async () => {
  const found = await find(commands, ['vm', 'create', 'web', 'builtin']);
  assert.ok('command' in found);
  const parse = (...words: string[]): unknown => parseWords(found.path, found.command, ['web', ...words]);
  assert.throws(() => parse('--memory'), usage(/^--memory needs SIZE$/, /--help/));
  assert.throws(() => parse('--memory', '--no-start'), usage(/^--memory needs SIZE$/, /--memory=--no-start/));
  assert.throws(() => parse('--no-start=yes'), usage(/^--no-start takes no value$/, /--help/));
  assert.ok(parse('--append=-v', '--', '--memory') instanceof Input);
});

test('hints name what was probably meant, or who takes the option', async () => {
  const cases: [string[], RegExp, RegExp][] = [
    [['vm', 'create', 'web', '--memry', '1G'], /takes no --memry/, /did you mean --memory\?/],
    [['vm', 'list', '--memory', '1G'], /takes no --memory/, /it belongs to revenant vm create/],
    [['vm', 'strat', 'web'], /no command 'revenant vm strat'/, /did you mean revenant vm start\?/],
    [['rnu'], /no command 'revenant rnu'/, /did you mean revenant run\?/],
    [['constructor'], /no command 'revenant constructor'/, /choose from run, /],
    [['vm', '__proto__'], /no command 'revenant vm __proto__'/, /choose from /],
    [['checkpoint', '--json'], /revenant checkpoint takes no --json/, /--help/],
    [['--verbose'], /revenant takes no --verbose/, /--help/],
  ];
  for (const [words, message, hint] of cases)
    await assert.rejects(dispatch(commands, words), usage(message, hint), words.join(' '));
});

test('a group without a command is its usual one', async () => {
  for (const [words, path] of [
    [['vm', '--store', 'memory:'], 'revenant vm list'],
    [['images'], 'revenant images list'],
    [['cluster', '--json'], 'revenant cluster status'],
  ] as const)
    assert.equal((await find(commands, words)).path, path);
});
