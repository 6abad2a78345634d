/** `revenant vm list`. */
import { askStatus, connectOptions, withCluster } from '../../cluster/connect.ts';
import { presentOf, vmTable } from '../../cluster/tables.ts';
import { define } from '../../command/command.ts';
import { flag } from '../../command/options.ts';

export const command = define({
  words: [],
  options: { all: flag('also those that were deleted'), ...connectOptions },
  examples: ['vm list --store file:/srv/revenant', 'vm list --node 127.0.0.1:7001 --json'],
  async run(input) {
    const status = await withCluster(input.options, (client) => askStatus(client, input.options));
    const { vms } = input.options.all ? status : presentOf(status).present;
    input.show(vms, () => (vms.length === 0 ? 'no VMs' : vmTable(vms)));
    return undefined;
  },
});
