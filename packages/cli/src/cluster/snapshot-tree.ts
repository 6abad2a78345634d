/** A VM's snapshots and forks as a tree in lines of text. */
import { snapshotTreeOf, type ForkSeen, type Snapshot, type SnapshotNode } from '@revenant/cluster/protocol';
import { timeText } from '../output/text.ts';

export function snapshotTree(
  vmId: string,
  { snapshots, forks }: { snapshots: readonly Snapshot[]; forks: readonly ForkSeen[] },
): string {
  const roots = snapshotTreeOf(vmId, { snapshots, forks });
  if (roots.length === 0) return `${vmId} has no snapshots and no forks`;
  const legend = snapshots.length === 0 ? [] : ['* where it was last: taken, or reverted to'];
  return [vmId, ...lines(roots, ''), ...legend].join('\n');
}

function textOf(node: SnapshotNode): string {
  if (node.kind === 'fork') return `fork ${node.fork.name} (${node.fork.status}), of ${node.fork.from}`;
  const { name, checkpoint, atMs, current } = node.snapshot;
  return `${name}${current ? ' *' : ''}  ${timeText(atMs)}, of ${checkpoint}`;
}

const lines = (nodes: readonly SnapshotNode[], indent: string): string[] =>
  nodes.flatMap((node, at) => {
    const isLast = at === nodes.length - 1;
    return [
      `${indent}${isLast ? '└─' : '├─'} ${textOf(node)}`,
      ...lines(node.below, `${indent}${isLast ? '   ' : '│  '}`),
    ];
  });
