/** `revenant vm disk list`. */
import { inspecting, storeOptions } from '../../../checkpoint/opener.ts';
import { disksIn } from '../../../checkpoint/disks.ts';
import { define } from '../../../command/command.ts';
import { bytesText } from '../../../output/text.ts';

export const command = define({
  words: ['VM[@WHICH]'],
  options: storeOptions,
  examples: ['vm disk list db --store file:/srv/revenant'],
  async run(input) {
    await inspecting(input.options, async (opener) => {
      const disks = disksIn(await opener.checkpoint(input.word(0)));
      const line = ({ name, attach, bytes, readOnly }: (typeof disks)[number]): string =>
        `${name} ${attach} ${bytesText(bytes)}${readOnly ? ' read-only' : ''}`;
      input.show(disks, () => (disks.length === 0 ? 'no disks' : disks.map(line).join('\n')));
    });
    return undefined;
  },
});
