/**
 * What a command of `revenant` is: one file with one table of options and one text, and a line in the list of its group. Parsing (parse.ts)
 * and help (help.ts) follow from the table, so that no command can accept what it doesn't list. The lists stand beside the commands, so that
 * a command's file, and all that it needs, is loaded only when it is its turn.
 */
import { print, printJson } from '../output/print.ts';
import type { Options, Values } from './options.ts';

/** What a command gets: its words and options, checked. */
export class Input<O extends Options = Options> {
  /** Words that are no options; at least as many as the command requires. */
  readonly words: readonly string[];
  readonly options: Values<O>;

  constructor(words: readonly string[], options: Values<O>) {
    this.words = words;
    this.options = options;
  }

  /** The n-th word, which the command requires. Commands take it out of their input. */
  readonly word = (n: number): string => {
    const word = this.words[n];
    if (word === undefined) throw new Error(`the command asks for word ${n}, but doesn't require it`);
    return word;
  };

  get json(): boolean {
    return 'json' in this.options && this.options.json === true;
  }

  /** Data on stdout: JSON with --json, else the text. */
  show(value: unknown, text: () => string): void {
    if (this.json) printJson(value);
    else print(text());
  }
}

export interface Command<O extends Options = Options> {
  /** Words behind its name: `NAME` is required, `[NAME]` may be missing, `NAME…` is one or more, `[NAME…]` any number. */
  words: readonly string[];
  /** What `--help` says between usage and options. */
  about?: string;
  options: O;
  /** Lines behind `revenant`, each a whole command; a test checks that each parses. */
  examples: readonly string[];
  /**
   * Runs it. Data goes to stdout, everything else to stderr.
   * @returns the exit code, 0 when there is none; a guest's debug-exit device can ask for any odd one
   * @throws CliError, or an error that failures.ts knows
   */
  run(input: Input<O>): Promise<number | undefined>;
}

/** A command in the list of its group. */
export interface Entry {
  /** One line for the list, and the first one of its own help. */
  summary: string;
  /** Loads its file. */
  load: () => Promise<{ command: Command }>;
}

/** Commands under one word: `revenant vm …`. */
export interface Group {
  summary: string;
  /** What `--help` says behind the list of commands. */
  about?: string;
  commands: Readonly<Record<string, Entry | Group>>;
  /** The command that is meant when none is named. */
  fallback?: string;
}

/** A line in the list of a group. @param summary begins with a small letter and ends without a full stop */
export function entry(summary: string, load: Entry['load']): Entry {
  return { summary, load };
}

/** Keeps the type of the table of options for `run`. */
export function define<const O extends Options>(command: Command<O>): Command<O> {
  return command;
}
