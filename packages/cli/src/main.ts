/** The command line: finds the command, prints help, and turns every error into one line with a hint. */
import type { Command } from './command.ts';
import { CliError, ExitCode, exitCodeMeanings, messageOf } from './errors.ts';

/** Loaded when they are asked for, so that `--help` is quick. */
const commands: Record<string, () => Promise<{ command: Command }>> = {
  run: () => import('./commands/run.ts'),
  images: () => import('./commands/images.ts'),
  node: () => import('./commands/node.ts'),
  vm: () => import('./commands/vm.ts'),
  checkpoint: () => import('./commands/checkpoint.ts'),
  cluster: () => import('./commands/cluster.ts'),
  debug: () => import('./commands/debug.ts'),
  demo: () => import('./commands/demo.ts'),
};

async function overview(): Promise<string> {
  const lines = await Promise.all(
    Object.entries(commands).map(
      async ([name, load]) => `  ${name.padEnd(12)}${(await load()).command.summary}`,
    ),
  );
  const codes = exitCodeMeanings.map(([code, meaning]) => `  ${String(code).padEnd(4)}${meaning}`);
  return `revenant: x86 virtual machines that outlive their hosts

Usage: revenant COMMAND [OPTIONS]

Commands:
${lines.join('\n')}

Examples:
  revenant demo
  revenant run linux-cloud
  revenant run --kernel bzImage --initrd initrd.gz --append "console=ttyS0" --memory 256M
  revenant images list
  revenant node --store file:/srv/revenant --name a
  revenant vm create web linux-cloud --store file:/srv/revenant

Exit codes:
${codes.join('\n')}

'revenant COMMAND --help' tells about a command.`;
}

async function execute(words: string[]): Promise<number> {
  const [name, ...rest] = words;
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    process.stdout.write(`${await overview()}\n`);
    return name === undefined ? ExitCode.usage : ExitCode.ok;
  }
  const load = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (load === undefined) {
    throw new CliError(
      ExitCode.usage,
      `there is no command '${name}'`,
      `revenant --help lists them: ${Object.keys(commands).join(', ')}`,
    );
  }
  const { command } = await load();
  if (rest.includes('--help') || rest.includes('-h')) {
    const help = command.helpFor?.(rest[0] ?? '') ?? command.help;
    process.stdout.write(`${help.trimEnd()}\n`);
    return ExitCode.ok;
  }
  return command.run(rest);
}

/** `parseArgs` errors are the person's, not ours. */
function asCliError(error: unknown): CliError {
  if (error instanceof CliError) return error;
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (code.startsWith('ERR_PARSE_ARGS')) {
    const [line] = messageOf(error).split('. ');
    return new CliError(
      ExitCode.usage,
      line ?? messageOf(error),
      'revenant COMMAND --help lists the options',
    );
  }
  return new CliError(ExitCode.internal, messageOf(error), 'please report this, with what you did', error);
}

/** Runs one command line; never throws. */
export async function main(words: string[]): Promise<number> {
  try {
    return await execute(words);
  } catch (error) {
    const { exitCode, message, hint, cause } = asCliError(error);
    process.stderr.write(`revenant: ${message.split('\n')[0] ?? ''}\n`);
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
  process.stdout.on('error', endWithoutOutput);
  process.exitCode = await main(process.argv.slice(2));
}
