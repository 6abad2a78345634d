/** A VM's snapshots, and the forks that began with them or with other checkpoints, as a tree. */
import type { Snapshot } from './snapshots.ts';

export interface ForkSeen {
  name: string;
  status: string;
  /** The VM that it was forked from, and the snapshot or checkpoint that it began with. */
  of: string;
  from: string;
}

export type SnapshotNode = { below: SnapshotNode[] } & (
  { kind: 'snapshot'; snapshot: Snapshot } | { kind: 'fork'; fork: ForkSeen }
);

/** What stands at the top: snapshots that were taken of no other, and forks of checkpoints that are no snapshots. */
export function snapshotTreeOf(
  vmId: string,
  { snapshots, forks }: { snapshots: readonly Snapshot[]; forks: readonly ForkSeen[] },
): SnapshotNode[] {
  const forksOf = (of: string, isOne: (from: string) => boolean, seen: readonly string[]): SnapshotNode[] =>
    forks
      .filter((fork) => fork.of === of && isOne(fork.from) && !seen.includes(fork.name))
      .map((fork) => ({
        kind: 'fork',
        fork,
        // A name may have been had by several VMs, one after the other.
        below: forksOf(fork.name, () => true, [...seen, fork.name]),
      }));
  const under = (parent: string | null): SnapshotNode[] =>
    snapshots
      .filter((each) => each.parent === parent)
      .map((snapshot) => ({
        kind: 'snapshot',
        snapshot,
        below: [...under(snapshot.name), ...forksOf(vmId, (from) => from === snapshot.name, [vmId])],
      }));
  const names = new Set(snapshots.map(({ name }) => name));
  return [...under(null), ...forksOf(vmId, (from) => !names.has(from), [vmId])];
}

/** The forks among the VMs of a cluster that are there. */
export function forksAmong(
  vms: readonly {
    id: string;
    status: string;
    spec: { origin?: { vm: string; checkpoint: string } | undefined };
  }[],
): ForkSeen[] {
  return vms.flatMap(({ id, status, spec: { origin } }) =>
    origin === undefined || status === 'deleted'
      ? []
      : [{ name: id, status, of: origin.vm, from: origin.checkpoint }],
  );
}
