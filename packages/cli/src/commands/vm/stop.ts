/** `revenant vm stop`. */
import { withCluster } from '../../cluster/connect.ts';
import { changeOptions, changeVm } from '../../cluster/settle.ts';
import { define } from '../../command/command.ts';

export const command = define({
  summary: 'power it off: it is not restarted, its disks stay',
  words: ['NAME'],
  options: changeOptions,
  examples: ['vm stop web --store file:/srv/revenant'],
  async run(input) {
    await withCluster(input.options, (client) => changeVm(client, 'stop', input.word(0), input.options));
    return undefined;
  },
});
