/** What a command of `revenant` is. */
import type { ExitCode } from './errors.ts';

export interface Command {
  /** One line for the list of commands. */
  summary: string;
  /** Full text of `revenant NAME --help`, with examples. */
  help: string;
  /** Of a command with commands of its own: full text of `revenant NAME WORD --help`; undefined when there is no such one. */
  helpFor?(word: string): string | undefined;
  /**
   * Runs it. Data goes to stdout, everything else to stderr.
   * @returns the exit code; a guest's debug-exit device can ask for any odd one
   * @throws CliError
   */
  run(words: string[]): Promise<ExitCode | number>;
}
