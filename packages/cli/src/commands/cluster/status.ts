/** `revenant cluster status`. */
import type { ClusterStatus } from '@revenant/cluster';
import { askStatus, connectOptions, withCluster } from '../../cluster/connect.ts';
import { nodeTable, presentOf, vmTable } from '../../cluster/tables.ts';
import { define } from '../../command/command.ts';
import { flag } from '../../command/options.ts';

function text(status: ClusterStatus, hidden: string | undefined): string {
  const { nodes, vms, master, term, heartbeatStores } = status;
  const alive = nodes.filter(({ state }) => state === 'alive').length;
  const stores = heartbeatStores.map(
    ({ url, reached, reason }) =>
      `heartbeats of ${status.node} in ${url}: ${reached ? 'taken' : reason || 'not taken yet'}`,
  );
  return [
    `${alive} of ${nodes.length} nodes alive, master ${master ?? 'none'} (term ${term}), ${vms.length} VMs`,
    ...(status.disarmed === undefined ? [] : [`failover is disarmed: ${status.disarmed} (cluster arm)`]),
    ...(status.balancing === 'off'
      ? ['automatic rebalancing is off (cluster rebalance --automatic on)']
      : []),
    '',
    nodeTable(status),
    ...stores,
    ...(vms.length === 0 ? [] : ['', vmTable(vms)]),
    ...(hidden === undefined ? [] : ['', hidden]),
  ].join('\n');
}

export const command = define({
  words: [],
  options: {
    all: flag('also VMs that were deleted, and nodes that left or were removed'),
    ...connectOptions,
  },
  examples: ['cluster status --store file:/srv/revenant'],
  async run(input) {
    const status = await withCluster(input.options, (client) => askStatus(client, input.options));
    const { present, hidden } = presentOf(status);
    if (input.options.all) input.show(status, () => text(status, undefined));
    else input.show(present, () => text(present, hidden));
    return undefined;
  },
});
