/** `revenant vm snapshot`. */
import { connectOptions, withCluster } from '../../cluster/connect.ts';
import { define } from '../../command/command.ts';
import { flag } from '../../command/options.ts';

export const command = define({
  words: ['NAME', 'SNAPSHOT'],
  about: `A snapshot stores nothing that a checkpoint does not have, is kept until it is deleted, and goes with its VM. The VM runs on.`,
  options: { delete: flag('give it up; what its VM and forks have stays'), ...connectOptions },
  examples: [
    'vm snapshot web before-upgrade --store file:/srv/revenant',
    'vm snapshot web before-upgrade --delete --node 127.0.0.1:7001',
  ],
  async run(input) {
    const [vmId, name] = [input.word(0), input.word(1)];
    await withCluster(input.options, async (client) => {
      if (input.options.delete) {
        await client.dropSnapshot(vmId, name);
        return input.show({ vm: vmId, name, deleted: true }, () => `${vmId}: snapshot ${name} is deleted`);
      }
      const taken = await client.takeSnapshot(vmId, name);
      input.show(taken, () => `${vmId}: snapshot ${name} of checkpoint ${taken.checkpoint}`);
    });
    return undefined;
  },
});
