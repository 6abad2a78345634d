/** `revenant vm stop`. */
import { withCluster } from '../../cluster/connect.ts';
import { changeOptions, changeVm, settled } from '../../cluster/settle.ts';
import { define } from '../../command/command.ts';
import { flag } from '../../command/options.ts';

export const command = define({
  words: ['NAME'],
  options: {
    ...changeOptions,
    graceful: flag('press its power button, so that its system shuts down by itself'),
  },
  examples: ['vm stop web --store file:/srv/revenant', 'vm stop web --graceful'],
  async run(input) {
    const vmId = input.word(0);
    if (input.options.graceful) {
      await withCluster(input.options, async (client) => {
        await client.pressPowerButton(vmId);
        await settled(client, { verb: 'stop', vmId, by: 'node' }, input.options);
      });
      return undefined;
    }
    await withCluster(input.options, (client) => changeVm(client, 'stop', vmId, input.options));
    return undefined;
  },
});
