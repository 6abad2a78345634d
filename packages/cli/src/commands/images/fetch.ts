/** `revenant images fetch`. */
import { define } from '../../command/command.ts';
import { flag } from '../../command/options.ts';
import { CliError, ExitCode } from '../../errors.ts';
import { fetchImage, importedNames } from '../../images/image.ts';
import { requireImageFiles } from '../../images/named.ts';
import { print, say } from '../../output/print.ts';

export const command = define({
  words: ['NAME'],
  about: 'Prints the folder with its kernel, initrd and manifest.json.',
  options: { again: flag('make it anew, also when the cache has it') },
  examples: ['images fetch linux-amd64', 'images fetch linux-amd64 --again'],
  async run(input) {
    const name = input.word(0);
    const { again } = input.options;
    await requireImageFiles(name);
    if (again && (await importedNames()).includes(name))
      throw new CliError(
        ExitCode.usage,
        `'${name}' was imported: it is made from no package`,
        'revenant images import SOURCE',
      );
    const image = await fetchImage(name, say, again);
    print(image.folder);
    return undefined;
  },
});
