/** `revenant checkpoint`: looks into checkpoints, in a store or in a file, and moves them about. */
import type { Command } from '../command.ts';
import { CliError, ExitCode } from '../errors.ts';
import { Context, type CheckpointCommand } from '../checkpoint/context.ts';
import { command as diff } from '../checkpoint/diff.ts';
import { linuxCommand } from '../checkpoint/linux/command.ts';
import { command as list } from '../checkpoint/list.ts';
import { disassembleCommand, memoryCommand } from '../checkpoint/memory.ts';
import { command as pages } from '../checkpoint/pages.ts';
import { command as registers } from '../checkpoint/registers.ts';
import { consoleCommand, screenCommand } from '../checkpoint/screen.ts';
import { command as search } from '../checkpoint/search.ts';
import { command as show } from '../checkpoint/show.ts';
import { asCliError } from '../checkpoint/target.ts';
import { exportCommand, gcCommand, importCommand } from '../checkpoint/transfer.ts';
import { command as verify } from '../checkpoint/verify.ts';

const commands: Record<string, CheckpointCommand> = {
  list, show, diff, verify, registers, memory: memoryCommand, disassemble: disassembleCommand, pages, screen: screenCommand, console: consoleCommand, linux: linuxCommand, search, export: exportCommand, import: importCommand, gc: gcCommand,
}; // prettier-ignore

const naming = `CHECKPOINT is VM, VM@latest, VM@SEQUENCE or VM@EPOCH-SEQUENCE of the store that --store URL (or REVENANT_STORE) names,
or an exported file (a path with a slash, or the name of a file when no store is given). REVENANT_KEY or
REVENANT_KEY_FILE gives the key of encrypted ones. --json prints JSON; numbers beyond 2^53 are text there.`;

function helpOf(command: CheckpointCommand): string {
  return `Usage: revenant checkpoint ${command.usage}\n\n${command.summary}\n\n${command.details}\n\n${naming}`;
}

export const command: Command = {
  summary:
    'look into checkpoints: registers, memory, code, screen, log, Linux; verify, export, import, collect',
  help: `Usage: revenant checkpoint COMMAND …

${Object.values(commands)
  .map(({ usage, summary }) => `  ${usage}\n        ${summary}`)
  .join('\n')}

${naming}

'revenant checkpoint COMMAND --help' tells about a command. Exit codes: 0 done; 2 the command line is wrong;
4 a checkpoint is damaged or not there; 6 a file can't be written; 16 refused; 18 the store does not answer.

A checkpoint to look at:
  revenant run linux-cloud --max-instructions 1500000000 --save linux.checkpoint
  revenant checkpoint show linux.checkpoint`,
  async run(words) {
    const [name, ...rest] = words;
    const found = name !== undefined && Object.hasOwn(commands, name) ? commands[name] : undefined;
    if (found === undefined)
      throw new CliError(
        ExitCode.usage,
        name === undefined ? 'a command is missing' : `there is no command 'checkpoint ${name}'`,
        `choose from ${Object.keys(commands).join(', ')}`,
      );
    const context = new Context(found, rest);
    try {
      return (await found.run(context)) ?? ExitCode.ok;
    } catch (error) {
      throw asCliError(error);
    } finally {
      await context.opener.close();
    }
  },
  helpFor: (name) => {
    const found = Object.hasOwn(commands, name) ? commands[name] : undefined;
    return found && helpOf(found);
  },
};
