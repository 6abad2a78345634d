/** `revenant vm set`. */
import { withCluster } from '../../cluster/connect.ts';
import { ruleOptions, rulesOf } from '../../cluster/placement-rules.ts';
import { outputPolicy, standbyCount } from '../../cluster/output-policy.ts';
import { changeOptions, settled } from '../../cluster/settle.ts';
import { define } from '../../command/command.ts';
import { value, type Options } from '../../command/options.ts';
import { storeQuota } from '../../cluster/store-quota.ts';
import { CliError, ExitCode } from '../../errors.ts';

const setOptions = {
  output: value(
    'POLICY',
    'when what it says leaves its node: async, checkpoint, log or standby',
    outputPolicy,
  ),
  standby: value('N', '1: a machine on another node follows it; 0: none', standbyCount),
  'store-quota': value(
    'SIZE',
    'how much its checkpoints and log may hold in the store, for example 2G; none: no limit',
    storeQuota,
  ),
  ...ruleOptions,
  ...changeOptions,
} satisfies Options;

export const command = define({
  words: ['NAME'],
  options: setOptions,
  examples: [
    'vm set web --output log --store file:/srv/revenant',
    'vm set web --output log --standby 1 --store file:/srv/revenant',
    'vm set web --on a,b --anti-affinity none --store file:/srv/revenant',
    'vm set web --store-quota 4G --store file:/srv/revenant',
  ],
  async run(input) {
    const { options } = input;
    const { output, standby, 'store-quota': quota } = options;
    const vmId = input.word(0);
    const rules = rulesOf(options);
    const isNothing = output === undefined && standby === undefined && quota === undefined;
    if (isNothing && Object.keys(rules).length === 0)
      throw new CliError(ExitCode.usage, 'nothing to change', `revenant vm set ${vmId} --output log`);
    await withCluster(options, async (client) => {
      const by = await client.command({
        ...{ type: 'vm-set', vmId },
        ...rules,
        ...(output === undefined ? {} : { outputs: output }),
        ...(standby === undefined ? {} : { standby }),
        ...(quota === undefined ? {} : { storeQuotaBytes: quota }),
      });
      await settled(client, { verb: 'set', vmId, by }, options);
    });
    return undefined;
  },
});
