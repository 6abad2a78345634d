/** `revenant images path`. */
import { define } from '../../command/command.ts';
import { CliError, ExitCode } from '../../errors.ts';
import { findImage } from '../../images/image.ts';
import { requireImageFiles } from '../../images/named.ts';
import { print } from '../../output/print.ts';

export const command = define({
  words: ['NAME'],
  options: {},
  examples: ['images path linux-amd64'],
  async run(input) {
    const name = input.word(0);
    await requireImageFiles(name);
    const image = await findImage(name);
    if (image === undefined)
      throw new CliError(
        ExitCode.unavailable,
        `image '${name}' has not been made yet`,
        `revenant images fetch ${name}`,
      );
    print(image.folder);
    return undefined;
  },
});
