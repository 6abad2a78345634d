/** `revenant vm insert`. */
import { connectOptions, withCluster } from '../../cluster/connect.ts';
import { driveOf, mediumOf } from '../../cluster/media.ts';
import { define } from '../../command/command.ts';

export const command = define({
  words: ['NAME', 'cdrom|floppy', 'MEDIUM'],
  about:
    'Media are given when a VM is made (vm create --cdrom A --cdrom B), and named by the file that they came from.',
  options: connectOptions,
  examples: ['vm insert old cdrom second.iso'],
  async run(input) {
    const vmId = input.word(0);
    await withCluster(input.options, async (client) => {
      const drive = driveOf(input.word(1));
      const { spec } = await client.vm(vmId);
      const image = mediumOf(spec.description, drive, input.word(2));
      await client.changeMedium(vmId, { drive, image });
      if (input.json) input.show({ id: vmId, drive, medium: image }, () => '');
    });
    return undefined;
  },
});
