/** `revenant images fetch`. */
import { define } from '../../command/command.ts';
import { flag } from '../../command/options.ts';
import { fetchImage } from '../../images/image.ts';
import { requireImageFiles } from '../../images/named.ts';
import { print, say } from '../../output/print.ts';

export const command = define({
  words: ['NAME'],
  about: 'Prints the folder with its kernel, initrd and manifest.json.',
  options: { again: flag('make it anew, also when the cache has it') },
  examples: ['images fetch linux-amd64', 'images fetch linux-amd64 --again'],
  async run(input) {
    const name = input.word(0);
    await requireImageFiles(name);
    const image = await fetchImage(name, say, input.options.again);
    print(image.folder);
    return undefined;
  },
});
