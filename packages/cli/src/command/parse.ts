/** From the words of a command line to what a command gets. Whatever its table doesn't list is refused, with a hint. */
import { parseArgs } from 'node:util';
import { CliError, ExitCode } from '../errors.ts';
import { Input, type Command } from './command.ts';
import { helpHint, usageLine } from './help.ts';
import type { Options, Values } from './options.ts';
import { nearest } from './suggest.ts';

function unknownOption(path: string, rawName: string, options: Options): CliError {
  const near = nearest(rawName.replace(/^-+/, ''), Object.keys(options));
  return new CliError(
    ExitCode.usage,
    `${path} takes no ${rawName}`,
    near === undefined ? helpHint(path) : `did you mean --${near}? ${helpHint(path)}`,
  );
}

interface Typed {
  words: string[];
  /** What was typed for each option, in order; `''` for a switch. */
  given: Map<string, string[]>;
}

/** Splits words into options and others, or tells that help was asked for. */
function split(path: string, options: Options, args: readonly string[]): Typed | 'help' {
  const { tokens } = parseArgs({
    args: [...args],
    strict: false,
    tokens: true,
    options: {
      help: { type: 'boolean', short: 'h' },
      ...Object.fromEntries(
        Object.entries(options).map(([name, { placeholder }]) => [
          name,
          { type: placeholder === undefined ? ('boolean' as const) : ('string' as const) },
        ]),
      ),
    },
  });
  if (tokens.some((token) => token.kind === 'option' && token.name === 'help')) return 'help';
  const words: string[] = [];
  const given = new Map<string, string[]>();
  for (const token of tokens) {
    if (token.kind === 'positional') words.push(token.value);
    if (token.kind !== 'option') continue;
    const { name, rawName, value, inlineValue } = token;
    const option = Object.hasOwn(options, name) && rawName.startsWith('--') ? options[name] : undefined;
    if (option === undefined) throw unknownOption(path, rawName, options);
    if (option.placeholder === undefined && value !== undefined)
      throw new CliError(ExitCode.usage, `${rawName} takes no value`, helpHint(path));
    // What follows and begins with a dash is rather the next option, whose value would be lost.
    if (option.placeholder !== undefined && (value === undefined || (value.startsWith('-') && !inlineValue)))
      throw new CliError(
        ExitCode.usage,
        `${rawName} needs ${option.placeholder}`,
        value === undefined ? helpHint(path) : `if '${value}' is meant: ${rawName}=${value}`,
      );
    given.set(name, [...(given.get(name) ?? []), value ?? '']);
  }
  return { words, given };
}

/** Throws when words are missing or too many. */
function checkWords(path: string, command: Command, words: readonly string[]): void {
  const usage = `usage: ${usageLine(path, command)}`;
  const missing = command.words.find((name, n) => !name.startsWith('[') && words[n] === undefined);
  if (missing !== undefined)
    throw new CliError(ExitCode.usage, `${missing.replace('…', '')} is missing`, usage);
  const extra = words[command.words.length];
  if (extra !== undefined && !(command.words.at(-1) ?? '').includes('…'))
    throw new CliError(ExitCode.usage, `'${extra}' is one word too many`, usage);
}

/**
 * @param path the command's whole name, `revenant vm create`
 * @param configured what the configuration file gives for its options; what is typed counts more
 * @throws CliError for what the command doesn't take
 */
export function parseWords<O extends Options>(
  path: string,
  command: Command<O>,
  args: readonly string[],
  configured: ReadonlyMap<string, string[]> = new Map(),
): Input<O> | 'help' {
  const typed = split(path, command.options, args);
  if (typed === 'help') return 'help';
  const { words, given } = typed;
  checkWords(path, command, words);
  const values = Object.fromEntries(
    Object.entries(command.options).map(([name, option]) => [
      name,
      option.read(given.get(name) ?? configured.get(name) ?? [], `--${name}`),
    ]),
  );
  return new Input<O>(words, values as Values<O>);
}
