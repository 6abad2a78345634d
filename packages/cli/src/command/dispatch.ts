/** Finds the command that the words name, and runs it or prints its help. */
import { CliError, ExitCode } from '../errors.ts';
import { print } from '../output/print.ts';
import { versionLine } from '../version.ts';
import type { Group } from './command.ts';
import { configured } from './config.ts';
import { commandHelp, groupHelp, helpHint, overview, type Named } from './help.ts';
import { parseWords } from './parse.ts';
import { nearest } from './suggest.ts';

const isHelp = (word: string | undefined): boolean => word === '--help' || word === '-h';

export type Found = (Named | { path: string; group: Group }) & { rest: string[] };

/** Follows the words down to a command, or to a group when they end there. Throws CliError for a name that isn't. */
export async function find(root: Group, words: readonly string[], path = 'revenant'): Promise<Found> {
  const [word] = words;
  const names = Object.keys(root.commands);
  const named = word !== undefined && !word.startsWith('-');
  const name = named ? word : isHelp(word) ? undefined : root.fallback;
  if (name === undefined) return { path, group: root, rest: [...words] };
  const listed = Object.hasOwn(root.commands, name) ? root.commands[name] : undefined;
  if (listed === undefined) {
    const near = nearest(name, names);
    throw new CliError(
      ExitCode.usage,
      `there is no command '${path} ${name}'`,
      near === undefined
        ? `choose from ${names.join(', ')}`
        : `did you mean ${path} ${near}? ${helpHint(path)}`,
    );
  }
  const rest = named ? words.slice(1) : [...words];
  if (!('load' in listed)) return find(listed, rest, `${path} ${name}`);
  const { command } = await listed.load();
  return { path: `${path} ${name}`, summary: listed.summary, command, rest };
}

/** A command of the same group that takes the option, for the hint. */
async function takers(group: Group, option: string): Promise<string[]> {
  const found: string[] = [];
  for (const [name, listed] of Object.entries(group.commands))
    if ('load' in listed && Object.hasOwn((await listed.load()).command.options, option)) found.push(name);
  return found;
}

/** Adds to the refusal of an option which commands would take it. */
async function withTakers(
  root: Group,
  { path, program }: { path: string; program: string },
  error: unknown,
): Promise<unknown> {
  const [, option] = (error instanceof CliError ? / takes no --([a-z-]+)$/.exec(error.message) : null) ?? [];
  if (!(error instanceof CliError) || option === undefined || error.hint?.startsWith('did you mean'))
    return error;
  const names = path.slice(program.length).trim().split(' ').slice(0, -1);
  const found = await find(root, [...names, '--help'], program);
  const others = 'group' in found ? await takers(found.group, option) : [];
  if (others.length === 0) return error;
  const list = others.map((name) => [found.path, name].join(' ')).join(', ');
  return new CliError(error.exitCode, error.message, `it belongs to ${list}; ${helpHint(path)}`);
}

/** Runs one command line. @param program by what the commands are called @returns its exit code @throws what the command throws */
export async function dispatch(root: Group, words: readonly string[], program = 'revenant'): Promise<number> {
  if (words.length === 1 && (words[0] === '--version' || words[0] === '-v')) {
    print(versionLine());
    return ExitCode.ok;
  }
  // `revenant help vm create` is what some type first.
  const asked = words[0] === 'help' ? [...words.slice(1), '--help'] : words;
  const found = await find(root, asked, program);
  if ('group' in found) {
    const text = found.group === root ? overview(root, program) : groupHelp(found.path, found.group);
    const wanted = isHelp(found.rest[0]);
    if (!wanted && found.rest.length > 0)
      throw new CliError(
        ExitCode.usage,
        `${found.path} takes no ${found.rest[0] ?? ''}`,
        helpHint(found.path),
      );
    if (wanted) print(text);
    else process.stderr.write(`${text}\n`);
    return wanted ? ExitCode.ok : ExitCode.usage;
  }
  const { path, command, rest } = found;
  let input: ReturnType<typeof parseWords>;
  try {
    input = parseWords(
      path,
      command,
      rest,
      rest.some(isHelp) ? undefined : configured(path, command.options),
    );
  } catch (error) {
    throw await withTakers(root, { path, program }, error);
  }
  if (input !== 'help') return (await command.run(input)) ?? ExitCode.ok;
  print(commandHelp(found, program));
  return ExitCode.ok;
}

/** Runs a program that is one command, with these words. @returns its exit code @throws what the command throws */
export async function dispatchOne(
  { path, summary, command }: Named,
  words: readonly string[],
): Promise<number> {
  const input = parseWords(path, command, words);
  if (input !== 'help') return (await command.run(input)) ?? ExitCode.ok;
  print(commandHelp({ path, summary, command }, path));
  return ExitCode.ok;
}
