/** `revenant store release`. */
import { livingNodes, makeSettings } from '@revenant/cluster';
import { openStore, releaseStore, systemHost } from '@revenant/storage';
import { define } from '../../command/command.ts';
import { jsonOption } from '../../command/options.ts';
import { CliError, ExitCode } from '../../errors.ts';

export const command = define({
  words: ['URL'],
  about:
    'Its VMs and checkpoints stay. Refused while a node of its cluster is alive, which takes some seconds to find out.',
  options: { json: jsonOption },
  examples: ['store release file:/srv/revenant'],
  async run(input) {
    const store = await openStore(input.word(0), { probe: false });
    try {
      const living = await livingNodes(store, makeSettings('default').deadMs);
      if (living.length > 0)
        throw new CliError(
          ExitCode.refused,
          `${living.join(', ')} of its cluster is alive`,
          'stop all nodes first',
        );
      const cluster = (await releaseStore(store, systemHost)) ?? null;
      input.show({ store: store.url, cluster }, () =>
        cluster === null
          ? `${store.url} belongs to no cluster`
          : `${store.url} belonged to ${cluster}; it is free now`,
      );
    } finally {
      await store.close();
    }
    return undefined;
  },
});
