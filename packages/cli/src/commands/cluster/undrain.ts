/** `revenant cluster undrain`. */
import { connectOptions, storedNote, withCluster } from '../../cluster/connect.ts';
import { define } from '../../command/command.ts';

export const command = define({
  words: ['NODE'],
  options: connectOptions,
  examples: ['cluster undrain a --node 127.0.0.1:7001'],
  async run(input) {
    const node = input.word(0);
    const by = await withCluster(input.options, (client) => client.command({ type: 'undrain', node }));
    input.show(
      { done: 'undrain', node, by },
      () => `undrain ${node}: ${by === 'node' ? 'done' : storedNote}`,
    );
    return undefined;
  },
});
