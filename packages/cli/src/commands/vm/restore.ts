/** `revenant vm restore`. */
import { restoreVm } from '@revenant/cluster/client';
import { formatId, keyFromEnvironment, openStore, PagePool } from '@revenant/storage';
import { chosenStore, connectOptions, withCluster } from '../../cluster/connect.ts';
import { settled } from '../../cluster/settle.ts';
import { define } from '../../command/command.ts';
import { flag, text } from '../../command/options.ts';
import { CliError, ExitCode } from '../../errors.ts';
import { say } from '../../output/print.ts';
import { waitingUntil } from '../../output/waiting.ts';

export const command = define({
  words: ['NAME', 'BACKUP'],
  about: `Makes a VM of what 'vm backup' put into the store BACKUP, in the cluster whose store is named, with its memory, disks, MAC and address. It goes
on from that moment, with a new generation ID and the right time.`,
  options: {
    as: text('NEW', 'name of the VM (default: NAME)'),
    at: text('CHECKPOINT', 'this copy, not the newest'),
    verify: flag('read each page back from the cluster, too'),
    'no-network': flag('its card is in no network, as for a copy beside the VM that it was'),
    'no-start': flag('only enter it in the list'),
    'no-wait': flag('only until it is entered, not until it runs'),
    ...connectOptions,
  },
  examples: [
    'vm restore web file:/mnt/backups --store file:/srv/revenant',
    'vm restore web file:/mnt/backups --store file:/srv/revenant --as web-monday --at 12-1 --no-network',
  ],
  async run(input) {
    const [vmId, url] = [input.word(0), input.word(1)];
    const { as = vmId, at, verify: readBack, 'no-network': apart, 'no-start': stopped } = input.options;
    const store = chosenStore(input.options);
    if (store === undefined)
      throw new CliError(
        ExitCode.usage,
        'the store of the cluster is not named',
        'give --store URL, or set REVENANT_STORE',
      );
    const pool = new PagePool();
    const to = await openStore(store, { create: false });
    const backup = await openStore(url, { create: false, probe: false });
    try {
      await withCluster(input.options, async (client) => {
        const options = {
          ...{ key: await keyFromEnvironment(), pool, readBack, apart },
          ...(at === undefined ? {} : { checkpoint: at }),
        };
        const { id, by: entered } = await waitingUntil(`${vmId} is in ${store}`, () =>
          restoreVm(client, { backup, vmId, to, as }, options),
        );
        if (!input.options.json) say(`${as} begins with ${vmId}@${formatId(id)} of ${url}`);
        const by = stopped ? entered : await client.command({ type: 'vm-start', vmId: as });
        await settled(client, { verb: 'create', vmId: as, by }, input.options);
      });
    } finally {
      await backup.close();
      await to.close();
      await pool.close();
    }
    return undefined;
  },
});
