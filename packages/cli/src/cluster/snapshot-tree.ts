/** A VM's snapshots, and the forks that began with them or with other checkpoints, as a tree in lines of text. */
import type { Snapshot } from '@revenant/cluster';
import { timeText } from '../output/text.ts';

export interface ForkSeen {
  name: string;
  status: string;
  /** The VM that it was forked from, and the snapshot or checkpoint that it began with. */
  of: string;
  from: string;
}

interface Node {
  text: string;
  below: Node[];
}

export function snapshotTree(
  vmId: string,
  { snapshots, forks }: { snapshots: readonly Snapshot[]; forks: readonly ForkSeen[] },
): string {
  const forksOf = (of: string, isOne: (from: string) => boolean, seen: readonly string[]): Node[] =>
    forks
      .filter((fork) => fork.of === of && isOne(fork.from) && !seen.includes(fork.name))
      .map(({ name, status, from }) => ({
        text: `fork ${name} (${status}), of ${from}`,
        // A name may have been had by several VMs, one after the other.
        below: forksOf(name, () => true, [...seen, name]),
      }));
  const under = (parent: string | null): Node[] =>
    snapshots
      .filter((each) => each.parent === parent)
      .map(({ name, checkpoint, atMs, current }) => ({
        text: `${name}${current ? ' *' : ''}  ${timeText(atMs)}, of ${checkpoint}`,
        below: [...under(name), ...forksOf(vmId, (from) => from === name, [vmId])],
      }));
  const names = new Set(snapshots.map(({ name }) => name));
  const roots = [...under(null), ...forksOf(vmId, (from) => !names.has(from), [vmId])];
  if (roots.length === 0) return `${vmId} has no snapshots and no forks`;
  const legend = snapshots.length === 0 ? [] : ['* where it was last: taken, or reverted to'];
  return [vmId, ...lines(roots, ''), ...legend].join('\n');
}

const lines = (nodes: readonly Node[], indent: string): string[] =>
  nodes.flatMap(({ text, below }, at) => {
    const isLast = at === nodes.length - 1;
    return [
      `${indent}${isLast ? '└─' : '├─'} ${text}`,
      ...lines(below, `${indent}${isLast ? '   ' : '│  '}`),
    ];
  });
