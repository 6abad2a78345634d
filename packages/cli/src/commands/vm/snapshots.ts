/** `revenant vm snapshots`. */
import { forksAmong } from '@revenant/cluster/protocol';
import { askStatus, connectOptions, withCluster } from '../../cluster/connect.ts';
import { snapshotTree } from '../../cluster/snapshot-tree.ts';
import { define } from '../../command/command.ts';

export const command = define({
  words: ['NAME'],
  options: connectOptions,
  examples: ['vm snapshots web --store file:/srv/revenant', 'vm snapshots web --node 127.0.0.1:7001 --json'],
  async run(input) {
    const vmId = input.word(0);
    await withCluster(input.options, async (client) => {
      const snapshots = await client.snapshots(vmId);
      const { vms } = await askStatus(client, input.options);
      const forks = forksAmong(vms);
      input.show({ snapshots, forks: forks.filter(({ of }) => of === vmId) }, () =>
        snapshotTree(vmId, { snapshots, forks }),
      );
    });
    return undefined;
  },
});
