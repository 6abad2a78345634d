/** What a VM's network carries by each output policy: one VM on one of two nodes, entered by a third, whose policy changes while it runs. */
import { setTimeout as sleep } from 'node:timers/promises';
import { freePorts } from '../../packages/cluster/src/demo/free-ports.ts';
import { until } from '../../packages/cluster/src/testing/until.ts';
import { KillableNodes } from '../network/killable-nodes.ts';
import {
  guestPorts,
  guestWord,
  measure,
  untilReady,
  type Figures,
  type HostFile,
  type Load,
} from './network-load.ts';

const vmId = 'bench';
export const policies = ['async', 'log', 'standby'] as const;
/** A change of policy holds from the next checkpoint on, and a log serves from the one behind it. */
const settleMs = 2500;
const memoryMiB = 256;

/** Calls `round` with what measures each policy, in turn. */
export async function withPolicies(
  file: HostFile,
  load: Load,
  rounds: (kinds: [name: string, measure: () => Promise<Figures>][]) => Promise<void>,
): Promise<void> {
  const nodes = await KillableNodes.prepare('network', memoryMiB);
  try {
    await nodes.start();
    const [web = 0, echo = 0, fetch = 0] = await freePorts(3);
    const places = { web, echo, fetch };
    const hostPort = await file.listen();
    await nodes.revenant('network', 'create', 'lan', '--host-port', String(hostPort));
    const publish = Object.entries(guestPorts).flatMap(([name, port]) => [
      '--publish',
      `c:${String(places[name as keyof typeof places])}:${String(port)}`,
    ]);
    const word = guestWord(`10.64.0.2:${String(hostPort)}`, load);
    const words = ['vm', 'create', vmId, 'linux-cloud', '--memory', `${String(memoryMiB)}M`, '--net', 'lan'];
    await nodes.revenant(...words, ...publish, '--append', `quiet ${word}`);
    await untilReady(places);
    await rounds(
      policies.map((outputs) => [
        outputs,
        async () => {
          await nodes.client.command({ type: 'vm-set', vmId, outputs });
          if (outputs === 'standby') await until('a standby that holds the log', () => isFollowed(nodes));
          await sleep(settleMs);
          return measure(file, places, load, () => NaN);
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
