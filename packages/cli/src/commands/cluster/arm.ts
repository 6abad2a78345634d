/** `revenant cluster arm`. */
import { connectOptions, storedNote, withCluster } from '../../cluster/connect.ts';
import { define } from '../../command/command.ts';

export const command = define({
  words: [],
  options: connectOptions,
  examples: ['cluster arm --store file:/srv/revenant'],
  async run(input) {
    const by = await withCluster(input.options, (client) => client.command({ type: 'arm' }));
    input.show({ done: 'arm', by }, () => `failover is armed${by === 'node' ? '' : ` (${storedNote})`}`);
    return undefined;
  },
});
