/** `revenant network list`. */
import { askStatus, connectOptions, withCluster } from '../../cluster/connect.ts';
import { define } from '../../command/command.ts';
import { table } from '../../output/print.ts';

export const command = define({
  words: [],
  options: connectOptions,
  examples: ['network list --store file:/srv/revenant'],
  async run(input) {
    const { networks, vms } = await withCluster(input.options, (client) => askStatus(client, input.options));
    const shown = Object.entries(networks).map(([name, spec]) => ({
      name,
      ...spec,
      vms: vms.flatMap(({ id, nic, status, spec: { network } }) =>
        network?.name === name && nic !== undefined && status !== 'deleted' ? [{ id, ...nic }] : [],
      ),
    }));
    const rows = shown.map(({ name, subnet, outbound, guard, vms: members }) => [
      name,
      subnet,
      outbound ? 'yes' : 'no',
      guard ? 'yes' : 'no',
      members.map(({ id, address }) => `${id} ${address}`).join(', ') || 'none',
    ]);
    input.show(shown, () =>
      rows.length === 0 ? 'no networks' : table(['NAME', 'SUBNET', 'OUTWARDS', 'GUARDED', 'VMS'], rows),
    );
    return undefined;
  },
});
