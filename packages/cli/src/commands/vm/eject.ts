/** `revenant vm eject`. */
import { connectOptions, withCluster } from '../../cluster/connect.ts';
import { driveOf } from '../../cluster/media.ts';
import { define } from '../../command/command.ts';

export const command = define({
  words: ['NAME', 'cdrom|floppy'],
  options: connectOptions,
  examples: ['vm eject old cdrom'],
  async run(input) {
    const vmId = input.word(0);
    await withCluster(input.options, async (client) => {
      const drive = driveOf(input.word(1));
      await client.changeMedium(vmId, { drive, image: null });
      if (input.json) input.show({ id: vmId, drive, medium: null }, () => '');
    });
    return undefined;
  },
});
