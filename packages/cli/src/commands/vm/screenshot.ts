/** `revenant vm screenshot`. */
import { connectOptions, withCluster } from '../../cluster/connect.ts';
import { define } from '../../command/command.ts';
import { text } from '../../command/options.ts';
import { writeOutput } from '../../output/file.ts';
import { encodeRgbPng } from '../../output/png.ts';

export const command = define({
  summary: 'its screen: the text on it, or a picture in any mode',
  words: ['NAME'],
  options: { png: text('FILE', 'a picture, written to this file'), ...connectOptions },
  examples: ['vm screenshot web', 'vm screenshot web --png web.png'],
  async run(input) {
    const { png } = input.options;
    const vmId = input.word(0);
    await withCluster(input.options, async (client) => {
      if (png !== undefined) {
        const picture = await client.picture(vmId);
        writeOutput(png, encodeRgbPng(picture));
        if (input.json) input.show({ png, width: picture.width, height: picture.height }, () => '');
        return;
      }
      const { lines } = await client.screen(vmId);
      input.show(lines, () => lines.join('\n'));
    });
    return undefined;
  },
});
