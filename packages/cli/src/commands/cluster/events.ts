/** `revenant cluster events`. */
import { withCluster } from '../../cluster/connect.ts';
import { eventOptions, showEvents } from '../../cluster/events.ts';
import { define } from '../../command/command.ts';

export const command = define({
  words: [],
  options: eventOptions,
  examples: ['cluster events --since 10m --node 127.0.0.1:7001', 'cluster events --follow'],
  async run({ options }) {
    await withCluster(options, (client) => showEvents(client, options));
    return undefined;
  },
});
