/** `revenant cluster nodes`. */
import { askStatus, connectOptions, withCluster } from '../../cluster/connect.ts';
import { nodeTable, presentOf } from '../../cluster/tables.ts';
import { define } from '../../command/command.ts';
import { flag } from '../../command/options.ts';

export const command = define({
  words: [],
  options: { all: flag('also nodes that left or were removed'), ...connectOptions },
  examples: ['cluster nodes --node 127.0.0.1:7001'],
  async run(input) {
    const status = await withCluster(input.options, (client) => askStatus(client, input.options));
    const shown = input.options.all ? status : presentOf(status).present;
    input.show(shown.nodes, () => nodeTable(shown));
    return undefined;
  },
});
