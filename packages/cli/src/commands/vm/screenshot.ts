/** `revenant vm screenshot`. */
import { connectOptions, withCluster } from '../../cluster/connect.ts';
import { define } from '../../command/command.ts';
import { text } from '../../command/options.ts';
import { writeOutput } from '../../output/file.ts';
import { whyBlank } from '../../output/blank-screen.ts';
import { say } from '../../output/print.ts';
import { encodeRgbPng } from '../../output/png.ts';

export const command = define({
  words: ['NAME'],
  options: { png: text('FILE', 'a picture, written to this file'), ...connectOptions },
  examples: ['vm screenshot web', 'vm screenshot web --png web.png'],
  async run(input) {
    const { png } = input.options;
    const vmId = input.word(0);
    const noteBlank = (why: string | undefined): void => {
      if (why !== undefined) say(`${vmId}: ${why}`);
    };
    await withCluster(input.options, async (client) => {
      if (png !== undefined) {
        const picture = await client.picture(vmId);
        writeOutput(png, encodeRgbPng(picture));
        noteBlank(whyBlank(picture));
        if (input.json) input.show({ png, width: picture.width, height: picture.height }, () => '');
        return;
      }
      const { lines } = await client.screen(vmId);
      input.show(lines, () => lines.join('\n'));
      noteBlank(whyBlank({ lines }));
    });
    return undefined;
  },
});
