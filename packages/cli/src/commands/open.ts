/** `revenant open`: where a checkpoint of the cluster goes on in a browser tab. */
import { connectOptions, withCluster } from '../cluster/connect.ts';
import { parseTarget } from '../checkpoint/opener.ts';
import { define } from '../command/command.ts';
import { flag } from '../command/options.ts';
import { CliError, ExitCode } from '../errors.ts';

export const command = define({
  words: ['VM[@EPOCH-SEQUENCE]'],
  about: `Prints an address of the node that answers. A browser that opens it runs the checkpoint, the newest if none is named, in the tab:
detached from the cluster, which goes on as it was. Where the cluster has a token, log in at the page first (role operate or admin).`,
  options: { interpreter: flag('in the interpreter, rather than the translator'), ...connectOptions },
  examples: ['open web', 'open web@3-12 --node 127.0.0.1:7001'],
  async run(input) {
    const { vmId, which } = parseTarget(input.word(0));
    if (which?.includes('-') === false)
      throw new CliError(
        ExitCode.usage,
        `'${which}' is no whole name of a checkpoint`,
        `write ${vmId}@EPOCH-SEQUENCE, as 'checkpoint list' and the page show it`,
      );
    const address = await withCluster(input.options, async (client) => {
      await client.vm(vmId);
      const { nodes, node } = await client.status();
      return nodes.find(({ id }) => id === node)?.address;
    });
    if (address === undefined)
      throw new CliError(ExitCode.refused, 'no node serves a page just now', 'start one: revenant node …');
    const origin = address.startsWith('https://') ? address : `http://${address}`;
    const engine = input.options.interpreter ? '&engine=interpreter' : '';
    const target = `${encodeURIComponent(vmId)}${which === undefined ? '' : `@${which}`}`;
    const url = `${origin}/run.html#open=${target}${engine}`;
    input.show({ url }, () => url);
    return undefined;
  },
});
