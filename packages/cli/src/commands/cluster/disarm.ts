/** `revenant cluster disarm`. */
import { connectOptions, storedNote, withCluster } from '../../cluster/connect.ts';
import { define } from '../../command/command.ts';
import { text } from '../../command/options.ts';

export const command = define({
  words: [],
  about: `For work on the network or the hosts. VMs go on where they run, and can be started, stopped and moved; but no node is declared dead, and no VM
that is lost, fails or hangs is started again, until \`cluster arm\`. Then what was held happens at once.`,
  options: { reason: text('TEXT', 'what for: said wherever something is held'), ...connectOptions },
  examples: ['cluster disarm --reason "new switch in rack 2" --store file:/srv/revenant'],
  async run(input) {
    const { reason = 'maintenance' } = input.options;
    const by = await withCluster(input.options, (client) => client.command({ type: 'disarm', reason }));
    input.show(
      { done: 'disarm', reason, by },
      () => `failover is disarmed: ${reason}${by === 'node' ? '' : ` (${storedNote})`}`,
    );
    return undefined;
  },
});
