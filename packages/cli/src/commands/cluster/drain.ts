/** `revenant cluster drain`. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClusterClient } from '@revenant/cluster';
import { connectOptions, storedNote, withCluster } from '../../cluster/connect.ts';
import { define } from '../../command/command.ts';
import { CliError, ExitCode } from '../../errors.ts';

const pollMs = 200;

/** Waits until nothing runs on the node. Throws when something stays, and why. */
async function untilEmpty(client: ClusterClient, node: string): Promise<void> {
  let begun = false;
  for (;;) {
    const { vms, nodes, maintenance } = await client.status();
    const left = vms.filter(({ assignment, status }) => assignment?.node === node && status !== 'stopped');
    if (begun && !maintenance.includes(node))
      throw new CliError(ExitCode.refused, `the drain of ${node} was cancelled; ${stay(left, node)}`);
    const runs = nodes.find(({ id }) => id === node)?.view?.powerOn.length ?? 0;
    // The node that answers may not have the list yet in which the drain stands.
    begun ||= maintenance.includes(node);
    if (begun && left.length === 0 && runs === 0) return;
    const settled = vms.every(({ moving, status }) => !moving && status !== 'starting');
    if (begun && left.length > 0 && settled && left.every(({ stays }) => stays !== undefined))
      throw new CliError(
        ExitCode.refused,
        `${node} is not empty: ${stay(left, node)}`,
        'make room on other nodes; they move as soon as there is, unless you say `cluster undrain`',
      );
    await sleep(pollMs);
  }
}

function stay(vms: readonly { id: string; stays?: string }[], node: string): string {
  if (vms.length === 0) return `nothing runs on ${node}`;
  const each = vms.map(({ id, stays }) => (stays === undefined ? id : `${id} (${stays})`));
  return `${each.join(', ')} ${vms.length === 1 ? 'stays' : 'stay'} on ${node}`;
}

export const command = define({
  words: ['NODE'],
  options: connectOptions,
  examples: ['cluster drain a --node 127.0.0.1:7001'],
  async run(input) {
    const node = input.word(0);
    const by = await withCluster(input.options, async (client) => {
      const taken = await client.command({ type: 'drain', node });
      if (taken === 'node') await untilEmpty(client, node);
      return taken;
    });
    input.show({ done: 'drain', node, by }, () => `drain ${node}: ${by === 'node' ? 'done' : storedNote}`);
    return undefined;
  },
});
