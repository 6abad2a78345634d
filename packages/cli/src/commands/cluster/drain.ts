/** `revenant cluster drain`. */
import { connectOptions, storedNote, withCluster } from '../../cluster/connect.ts';
import { define } from '../../command/command.ts';

export const command = define({
  summary: 'put a node in maintenance: its VMs move away, live; nothing new is placed there',
  words: ['NODE'],
  options: connectOptions,
  examples: ['cluster drain a --node 127.0.0.1:7001'],
  async run(input) {
    const node = input.word(0);
    const by = await withCluster(input.options, (client) => client.command({ type: 'drain', node }));
    input.show({ done: 'drain', node, by }, () => `drain ${node}: ${by === 'node' ? 'done' : storedNote}`);
    return undefined;
  },
});
