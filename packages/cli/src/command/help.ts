/** Help texts, made from the tables of commands and options. */
import { exitCodeMeanings } from '../errors.ts';
import type { Command, Group } from './command.ts';
import type { Options } from './options.ts';

const nameColumn = 27;

export const helpHint = (path: string): string => `${path} --help lists what it takes`;

export function usageLine(path: string, { words, options }: Pick<Command, 'words' | 'options'>): string {
  return [path, ...words, ...(Object.keys(options).length === 0 ? [] : ['[OPTIONS]'])].join(' ');
}

/** `  --memory SIZE   for example 256M`, further lines below the first. */
function optionLines(options: Options): string {
  return Object.entries(options)
    .map(([name, { placeholder, help }]) => {
      const left = `  --${name}${placeholder === undefined ? '' : ` ${placeholder}`}`;
      const lines = help.split('\n');
      const indent = ' '.repeat(nameColumn);
      const first = left.length < nameColumn - 1 ? `${left.padEnd(nameColumn)}${lines.shift() ?? ''}` : left;
      return [first, ...lines.map((line) => `${indent}${line}`)].join('\n');
    })
    .join('\n');
}

/** A command by its whole name, as in `revenant vm create`, with its line of the list. */
export interface Named {
  path: string;
  summary: string;
  command: Command;
}

/** The whole text of `revenant vm create --help`. @param program what stands before each example */
export function commandHelp({ path, summary, command }: Named, program = 'revenant'): string {
  const { about, options, examples } = command;
  const sections = [
    `Usage: ${usageLine(path, command)}`,
    `${(summary[0] ?? '').toUpperCase()}${summary.slice(1)}.`,
    about,
    Object.keys(options).length === 0 ? undefined : `Options:\n${optionLines(options)}`,
    examples.length === 0
      ? undefined
      : `${examples.length === 1 ? 'Example' : 'Examples'}:\n${examples.map((line) => `  ${program} ${line}`).join('\n')}`,
  ];
  return sections.filter((section) => section !== undefined).join('\n\n');
}

/** The list of a group's commands: a line for each. */
function listOf({ commands }: Group): string {
  return Object.entries(commands)
    .map(([name, { summary }]) => `  ${name.padEnd(13)}${summary}`)
    .join('\n');
}

/** The whole text of `revenant vm --help`. */
export function groupHelp(path: string, group: Group): string {
  const { fallback, about } = group;
  return [
    `Usage: ${path} COMMAND [OPTIONS]`,
    `Commands:\n${listOf(group)}`,
    about,
    `${fallback === undefined ? '' : `Without a command: ${fallback}. `}'${path} COMMAND --help' tells about a command.`,
  ]
    .filter((section) => section !== undefined)
    .join('\n\n');
}

/** The whole text of `revenant --help`. */
export function overview(group: Group, program = 'revenant'): string {
  const codes = exitCodeMeanings.map(([code, meaning]) => `  ${String(code).padEnd(4)}${meaning}`);
  return `${program}: ${group.summary}

Usage: ${program} COMMAND [OPTIONS]

Commands:
${listOf(group)}

${group.about ?? ''}

Exit codes:
${codes.join('\n')}

'${program} COMMAND --help' tells about a command.`;
}
