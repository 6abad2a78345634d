/** `revenant vm resume`. */
import { withCluster } from '../../cluster/connect.ts';
import { changeOptions, changeVm } from '../../cluster/settle.ts';
import { define } from '../../command/command.ts';

export const command = define({
  words: ['NAME'],
  options: changeOptions,
  examples: ['vm resume web --store file:/srv/revenant'],
  async run(input) {
    await withCluster(input.options, (client) => changeVm(client, 'resume', input.word(0), input.options));
    return undefined;
  },
});
