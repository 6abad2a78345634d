/** The command line: runs the command that was named, and turns every error into one line with a hint. */
import { dispatch } from './command/dispatch.ts';
import { commands } from './commands/index.ts';
import { CliError, ExitCode, messageOf } from './errors.ts';
import { endWithParent } from './parent.ts';

/** Runs one command line of `revenant`; never throws. */
export function main(words: string[]): Promise<number> {
  return inOneLine('revenant', () => dispatch(commands, words));
}

/** Runs a program, and says in one line, with a hint, what went wrong. @returns its exit code; never throws */
export async function inOneLine(program: string, run: () => Promise<number>): Promise<number> {
  try {
    return await run();
  } catch (error) {
    // The table of all errors needs every package: `--help` and a mistyped word do without.
    const known = error instanceof CliError ? error : (await import('./failures.ts')).asCliError(error);
    const { exitCode, message, hint, cause } = known;
    process.stderr.write(`${program}: ${message.split('\n')[0] ?? ''}\n`);
    if (hint !== undefined) process.stderr.write(`  hint: ${hint}\n`);
    if (process.env['REVENANT_DEBUG'] !== undefined && cause instanceof Error)
      process.stderr.write(`${cause.stack ?? ''}\n`);
    return exitCode;
  }
}

/** Whoever read the output left (a pipe), or it can't be written. Nobody is told of the first. */
function endWithoutOutput(error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE') process.exit(ExitCode.ok);
  process.stderr.write(`revenant: can't write the output: ${messageOf(error)}\n`);
  process.exit(ExitCode.cannotWrite);
}

if (import.meta.main) {
  endWithParent();
  process.stdout.on('error', endWithoutOutput);
  process.exitCode = await main(process.argv.slice(2));
}
