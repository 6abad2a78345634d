/** `revenant cluster rebalance`. */
import { connectOptions, storedNote, withCluster } from '../../cluster/connect.ts';
import { define } from '../../command/command.ts';

export const command = define({
  words: [],
  options: connectOptions,
  examples: ['cluster rebalance --store file:/srv/revenant'],
  async run(input) {
    const by = await withCluster(input.options, (client) => client.command({ type: 'rebalance' }));
    input.show({ done: 'rebalance', by }, () => `rebalance: ${by === 'node' ? 'done' : storedNote}`);
    return undefined;
  },
});
