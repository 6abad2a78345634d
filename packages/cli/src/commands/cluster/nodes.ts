/** `revenant cluster nodes`. */
import { askStatus, connectOptions, withCluster } from '../../cluster/connect.ts';
import { nodeTable } from '../../cluster/tables.ts';
import { define } from '../../command/command.ts';

export const command = define({
  summary: 'nodes: state with its reason, address, memory, datastores reached, VMs',
  words: [],
  options: connectOptions,
  examples: ['cluster nodes --node 127.0.0.1:7001'],
  async run(input) {
    const status = await withCluster(input.options, (client) => askStatus(client, input.options));
    input.show(status.nodes, () => nodeTable(status));
    return undefined;
  },
});
