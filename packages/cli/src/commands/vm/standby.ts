/** `revenant vm standby`. */
import type { StandbyAnswer } from '@revenant/cluster';
import { connectOptions, withCluster } from '../../cluster/connect.ts';
import { define } from '../../command/command.ts';
import { fields } from '../../output/print.ts';

const conditions = {
  preparing: 'preparing: it could not take over yet',
  'in-sync': 'in sync: it holds all that came in',
  lagging: 'lagging: outputs wait for the store instead',
} as const;

function text({ node, condition, reason, lagMs, behindInstructions, checked }: StandbyAnswer): string {
  if (node === null) return `no standby: ${reason}`;
  return fields([
    ['node', node],
    ['state', condition === undefined ? 'unknown' : conditions[condition]],
    ...(reason === '' ? [] : [['why', reason] as [string, string]]),
    ['lag', `${lagMs.toFixed(1)} ms`],
    ['behind', `${String(behindInstructions)} instructions`],
    ['alike at', checked === null ? 'no checkpoint yet' : `checkpoint ${checked}`],
  ]);
}

export const command = define({
  words: ['NAME'],
  options: connectOptions,
  examples: ['vm standby web --store file:/srv/revenant', 'vm standby web --node 127.0.0.1:7001 --json'],
  async run(input) {
    const answer = await withCluster(input.options, (client) => client.standby(input.word(0)));
    input.show(answer, () => text(answer));
    return undefined;
  },
});
