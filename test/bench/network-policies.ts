/** What a VM's network carries by each output policy: one VM on one of two nodes, entered by a third, whose policy changes while it runs. */
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../../packages/cluster/src/testing/until.ts';
import { KillableNodes } from '../network/killable-nodes.ts';
import {
  freePlaces,
  guestPorts,
  guestWord,
  image,
  measure,
  untilReady,
  type Figures,
} from './network-load.ts';

const vmId = 'bench';
export const policies = ['async', 'log', 'standby'] as const;
/** A change of policy holds from the next checkpoint on, and a log serves from the one behind it. */
const settleMs = 2500;
const memoryMiB = 256;

/** Calls `round` with what measures each policy, in turn. */
export async function withPolicies(
  seconds: number,
  rounds: (kinds: [name: string, measure: () => Promise<Figures>][]) => Promise<void>,
): Promise<void> {
  const nodes = await KillableNodes.prepare('network', memoryMiB);
  try {
    await nodes.start();
    const places = await freePlaces();
    await nodes.revenant('network', 'create', 'lan');
    const publish = Object.entries(guestPorts).flatMap(([name, port]) => [
      '--publish',
      `c:${String(places[name as keyof typeof places])}:${String(port)}`,
    ]);
    const words = ['vm', 'create', vmId, image, '--memory', `${String(memoryMiB)}M`, '--net', 'lan'];
    await nodes.revenant(...words, ...publish, '--append', `quiet ${guestWord()}`);
    await untilReady(places);
    await rounds(
      policies.map((outputs) => [
        outputs,
        async () => {
          await nodes.client.command({ type: 'vm-set', vmId, outputs });
          if (outputs === 'standby') await until('a standby that holds the log', () => isFollowed(nodes));
          await sleep(settleMs);
          return measure(places, seconds, () => NaN);
        },
      ]),
    );
  } finally {
    await nodes.close();
  }
}

async function isFollowed({ client }: KillableNodes): Promise<boolean> {
  const { condition } = await client.standby(vmId).catch(() => ({ condition: undefined }));
  return condition === 'in-sync';
}
