/** What the words behind `revenant run` ask for, as the command itself reads them. */
import assert from 'node:assert/strict';
import { parseWords } from '../src/command/parse.ts';
import { command } from '../src/commands/run.ts';
import { runRequest, type RunOptions } from '../src/run/options.ts';

export function runRequestOf(words: readonly string[]): RunOptions {
  const input = parseWords('revenant run', command, words);
  assert.ok(input !== 'help');
  return runRequest(input.options, input.words[0]);
}
