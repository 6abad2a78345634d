/** `revenant vm revert`. */
import { withCluster } from '../../cluster/connect.ts';
import { changeOptions, settled } from '../../cluster/settle.ts';
import { define } from '../../command/command.ts';
import { flag } from '../../command/options.ts';

export const command = define({
  words: ['NAME', 'SNAPSHOT'],
  about: `It is powered off, and what it did since is given up: take a snapshot first to keep that. It runs then if it did before; its guest can
tell by another generation ID, and its clock is put right.`,
  options: { start: flag('also start it if it is off'), ...changeOptions },
  examples: [
    'vm revert web before-upgrade --store file:/srv/revenant',
    'vm revert web before-upgrade --start --node 127.0.0.1:7001',
  ],
  async run(input) {
    const [vmId, name] = [input.word(0), input.word(1)];
    await withCluster(input.options, async (client) => {
      const start = input.options.start || (await client.vm(vmId)).desired !== 'stopped';
      await client.revert(vmId, name, { start });
      await settled(client, { verb: start ? 'start' : 'stop', vmId, by: 'node' }, input.options);
    });
    return undefined;
  },
});
