/** `revenant vm list`. */
import { askStatus, connectOptions, withCluster } from '../../cluster/connect.ts';
import { vmTable } from '../../cluster/tables.ts';
import { define } from '../../command/command.ts';

export const command = define({
  summary: 'the VMs of the cluster: state, node, memory, why',
  words: [],
  options: connectOptions,
  examples: ['vm list --store file:/srv/revenant', 'vm list --node 127.0.0.1:7001 --json'],
  async run(input) {
    const { vms } = await withCluster(input.options, (client) => askStatus(client, input.options));
    const present = vms.filter(({ status }) => status !== 'deleted');
    input.show(present, () => (present.length === 0 ? 'no VMs' : vmTable(present)));
    return undefined;
  },
});
