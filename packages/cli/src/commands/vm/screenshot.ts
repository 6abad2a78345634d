/** `revenant vm screenshot`. */
import { connectOptions, withCluster } from '../../cluster/connect.ts';
import { define } from '../../command/command.ts';
import { text } from '../../command/options.ts';
import { writeOutput } from '../../output/file.ts';
import { screenPng } from '../../output/screen-picture.ts';

export const command = define({
  summary: 'its text screen, as text or as a picture',
  words: ['NAME'],
  options: { png: text('FILE', 'a picture, written to this file'), ...connectOptions },
  examples: ['vm screenshot web', 'vm screenshot web --png web.png'],
  async run(input) {
    const { png } = input.options;
    const screen = await withCluster(input.options, (client) => client.screen(input.word(0)));
    if (png !== undefined) writeOutput(png, screenPng(screen));
    if (input.json || png === undefined) input.show(screen.lines, () => screen.lines.join('\n'));
    return undefined;
  },
});
