/** `revenant network delete`. */
import { connectOptions, storedNote, withCluster } from '../../cluster/connect.ts';
import { define } from '../../command/command.ts';

export const command = define({
  words: ['NAME'],
  options: connectOptions,
  examples: ['network delete web --store file:/srv/revenant'],
  async run(input) {
    const network = input.word(0);
    const by = await withCluster(input.options, (client) =>
      client.command({ type: 'network-delete', network }),
    );
    input.show(
      { done: 'network-delete', network, by },
      () => `${network} is deleted${by === 'node' ? '' : `; ${storedNote}`}`,
    );
    return undefined;
  },
});
