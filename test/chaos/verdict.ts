/** Checks of a chaos run that need the whole event log: who ran what under which epoch. */
import type { ClusterEvent } from '@revenant/cluster';

/**
 * What was said twice without leave. Only when the owner of a VM and its standby both ended before the store had the last of its log may
 * output come again, and then an event says so.
 */
export function repeatedWithoutLeave(
  events: readonly ClusterEvent[],
  vms: readonly { id: string; repeats: readonly number[] }[],
): string[] {
  return vms.flatMap(({ id, repeats }) => {
    const lost = events.filter(({ event, vm }) => event === 'standby-lost' && vm === id).length;
    const said = `${id}: ${repeats.join(', ')} bytes of output came again, and ${lost} times it lost both its owner and its standby`;
    return repeats.length > lost ? [said] : [];
  });
}

/** Answers that were taken back by a policy that takes nothing back, more often than it was told that owner and standby had both ended. */
export function takenBackWithoutLeave(
  events: readonly ClusterEvent[],
  vms: readonly { id: string; takenBack: number }[],
): string[] {
  return vms.flatMap(({ id, takenBack }) => {
    const lost = events.filter(({ event, vm }) => event === 'standby-lost' && vm === id).length;
    const said = `${id}: what was answered was taken back ${takenBack} times, and ${lost} times it lost both its owner and its standby`;
    return takenBack > lost ? [said] : [];
  });
}

/**
 * VMs that were given up since nodes ended under them, one after the other. Where nodes end all the time, none of them may be to blame: a person
 * who knows why they end starts them again.
 */
export function givenUp(vms: readonly { id: string; status: string; reason: string }[]): string[] {
  return vms
    .filter(({ status, reason }) => status === 'failed' && reason.includes('ended, one after the other'))
    .map(({ id }) => id);
}

export interface Window {
  node: string;
  fromMs: number;
  toMs: number;
}

/** What the events say that must never be. `calm`: a node was cut off from other nodes only, and nothing else happened meanwhile. */
export function violations(events: readonly ClusterEvent[], calm: readonly Window[]): string[] {
  const found: string[] = [];
  const owners = new Map<string, string>();
  for (const { event, vm = '', node = '', reason } of events) {
    if (event !== 'vm-executes') continue;
    const epoch = Number(/epoch (\d+)/.exec(reason)?.[1]);
    const key = `${vm} epoch ${epoch}`;
    const owner = owners.get(key);
    if (owner !== undefined) found.push(`${key} ran on ${owner} and on ${node}`);
    owners.set(key, node);
  }
  for (const { node, fromMs, toMs } of calm)
    for (const event of events)
      if (event.event === 'vm-lost' && event.node === node && event.atMs >= fromMs && event.atMs <= toMs)
        found.push(
          `${event.vm ?? ''} was taken from ${node}, which was only cut off from other nodes: ${event.reason}`,
        );
  return found;
}
