/** How states and times are put into words. */
import type { ClusterStatus, ProtectedVm, VmSeen } from '@revenant/cluster/protocol';

export function clock(atMs: number): string {
  return new Date(atMs).toLocaleTimeString(undefined, { hour12: false });
}

/** The node that runs it now: during a live move that is still the one before. Undefined when none does. */
export function placeOf(status: ClusterStatus, vm: ProtectedVm): { node: string; epoch: number } | undefined {
  const holders = status.nodes
    .filter(({ state }) => state !== 'dead')
    .flatMap(({ id, view }) =>
      (view?.powerOn ?? [])
        .filter(({ vmId, state }) => vmId === vm.id && state !== 'leaving')
        .map(({ epoch }) => ({ node: id, epoch })),
    );
  return holders.sort((a, b) => b.epoch - a.epoch)[0];
}

/** Status and reason of a VM for people: the list says `running` also while its node has no lease. */
export function statusOf(vm: VmSeen): { status: string; reason: string } {
  const { status, desired, reason, stays, suspendedMs, assignment } = vm;
  if (suspendedMs !== undefined)
    return {
      status: 'suspended',
      reason: `the store does not answer since ${clock(Date.now() - suspendedMs)}`,
    };
  return {
    status: status === desired || desired === 'running' ? status : `${status} (to be ${desired})`,
    reason: stays === undefined ? reason : `stays on ${assignment?.node ?? 'its node'}: ${stays}`,
  };
}

export type Tone = 'good' | 'warn' | 'bad' | 'quiet' | 'accent';

export function nodeTone(state: string): Tone {
  if (state === 'alive') return 'good';
  if (state === 'maintenance') return 'quiet';
  return state === 'dead' ? 'bad' : 'warn';
}

export function vmTone(status: string): Tone {
  if (status === 'running') return 'good';
  if (status === 'failed') return 'bad';
  return status === 'stopped' || status === 'paused' ? 'quiet' : 'warn';
}

/** `12.3 MiB` */
export function bytesText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const unit = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  return `${(bytes / 1024 ** unit).toFixed(unit === 0 ? 0 : 1)} ${units[unit] ?? ''}`;
}

/** `0.4 s`, `12 s`, `3 min` */
export function spanText(ms: number): string {
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`;
  return ms < 120_000 ? `${(ms / 1000).toFixed(0)} s` : `${(ms / 60_000).toFixed(0)} min`;
}

/** What each policy of outputs means. */
export const policyWords: Readonly<Record<string, string>> = {
  async: 'async: at once; a failover may repeat or lose some',
  checkpoint: 'checkpoint: when a checkpoint holds it; nothing seen is taken back',
  log: 'log: when the log of its inputs holds it; the same, and sooner',
  standby: 'standby: when a machine on another node holds it, which takes over at once',
};
