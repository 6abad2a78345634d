/** `revenant cluster rebalance`. */
import { connectOptions, storedNote, withCluster } from '../../cluster/connect.ts';
import { define } from '../../command/command.ts';
import { value } from '../../command/options.ts';
import { oneOf } from '../../command/values.ts';

export const command = define({
  words: [],
  about: `Moves VMs, live, until no node would be fuller than the one that it takes a VM from. Nodes do much the same by themselves, one VM at a time, once
nothing else was under way for a minute, and only from a node that stays at least 10 % fuller: --automatic off keeps them from it.`,
  options: {
    automatic: value(
      'on|off',
      'do nothing now, but say whether nodes do it by themselves (they do)',
      oneOf(['on', 'off']),
    ),
    ...connectOptions,
  },
  examples: [
    'cluster rebalance --store file:/srv/revenant',
    'cluster rebalance --automatic off --store file:/srv/revenant',
  ],
  async run(input) {
    const { automatic } = input.options;
    const by = await withCluster(input.options, (client) =>
      client.command(
        automatic === undefined
          ? { type: 'rebalance' }
          : { type: 'balancing', automatic: automatic === 'on' },
      ),
    );
    const note = by === 'node' ? '' : ` (${storedNote})`;
    if (automatic === undefined) input.show({ done: 'rebalance', by }, () => `rebalance: done${note}`);
    else
      input.show({ done: 'balancing', automatic, by }, () => `automatic rebalancing is ${automatic}${note}`);
    return undefined;
  },
});
