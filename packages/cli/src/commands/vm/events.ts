/** `revenant vm events`. */
import { withCluster } from '../../cluster/connect.ts';
import { eventOptions, showEvents } from '../../cluster/events.ts';
import { define } from '../../command/command.ts';

export const command = define({
  words: ['NAME'],
  options: eventOptions,
  examples: ['vm events web --since 1h --node 127.0.0.1:7001', 'vm events web --follow --json'],
  async run({ words, options }) {
    await withCluster(options, (client) => showEvents(client, options, words[0]));
    return undefined;
  },
});
