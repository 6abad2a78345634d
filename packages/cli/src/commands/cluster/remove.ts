/** `revenant cluster remove`. */
import { ClusterError } from '@revenant/cluster';
import { askStatus, connectOptions, storedNote, withCluster } from '../../cluster/connect.ts';
import { define } from '../../command/command.ts';

export const command = define({
  words: ['NODE'],
  about: `What is known of it stays in the store, and its name can be used: a node that starts under it is shown again.`,
  options: connectOptions,
  examples: ['cluster remove c --store file:/srv/revenant'],
  async run(input) {
    const node = input.word(0);
    const by = await withCluster(input.options, async (client) => {
      const found = (await askStatus(client, input.options)).nodes.find(({ id }) => id === node);
      if (found === undefined)
        throw new ClusterError('NOT_FOUND', `there is no node ${node}`, {
          hint: '`cluster nodes` shows them all',
        });
      return client.command({ type: 'node-remove', node, incarnation: found.incarnation });
    });
    input.show({ done: 'remove', node, by }, () => `remove ${node}: ${by === 'node' ? 'done' : storedNote}`);
    return undefined;
  },
});
