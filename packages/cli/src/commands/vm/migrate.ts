/** `revenant vm migrate`. */
import { withCluster } from '../../cluster/connect.ts';
import { changeOptions, settled } from '../../cluster/settle.ts';
import { define } from '../../command/command.ts';
import { text } from '../../command/options.ts';

export const command = define({
  words: ['NAME'],
  options: { to: text('NODE', 'where to (default: where there is most room)'), ...changeOptions },
  examples: ['vm migrate web --to b --node 127.0.0.1:7001'],
  async run({ options, words }) {
    const [vmId = ''] = words;
    const { to } = options;
    await withCluster(options, async (client) => {
      const by = await client.command({ type: 'vm-migrate', vmId, ...(to === undefined ? {} : { to }) });
      await settled(client, { verb: 'migrate', vmId, by }, options);
    });
    return undefined;
  },
});
