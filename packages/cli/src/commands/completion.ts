/** `revenant completion`: a script for the shell. */
import { define, type Command, type Group } from '../command/command.ts';
import { completionScript, shellNames } from '../command/completion.ts';
import { CliError, ExitCode } from '../errors.ts';

/** @param root all commands, which this one is among */
export const completionOf = (root: Group): Command =>
  define({
    words: ['SHELL'],
    about: `SHELL is one of ${shellNames.join(', ')}. For this session: source <(revenant completion bash); for all, put its output where the shell
looks for completions, such as ~/.local/share/bash-completion/completions/revenant.`,
    options: {},
    examples: ['completion bash'],
    async run(input) {
      const shell = input.word(0);
      const script = await completionScript(root, shell);
      if (script === undefined)
        throw new CliError(
          ExitCode.usage,
          `there is no completion for '${shell}'`,
          `choose from ${shellNames.join(', ')}`,
        );
      process.stdout.write(script);
      return undefined;
    },
  });
