/** A VM's snapshots and forks as a tree: states that are kept by name, gone back to, forked, and given up. */
import {
  forksAmong,
  snapshotTreeOf,
  type ClusterStatus,
  type Snapshot,
  type SnapshotNode,
  type VmSeen,
} from '@revenant/cluster/protocol';
import type { Connection } from './connection.ts';
import { ForkFrom } from './fork-from.tsx';
import { clock } from './text.ts';
import { ActionForm, AskOnce, Refusal, textOf, useAction } from './use-action.tsx';

interface OfVm {
  vm: VmSeen;
  connection: Connection;
  may: boolean;
  admin: boolean;
}

function Kept({ snapshot, vm, connection, may, admin }: OfVm & { snapshot: Snapshot }) {
  const { run, busy, error } = useAction();
  const { name, checkpoint, atMs, current } = snapshot;
  const about = `${vm.id} to ${name}`;
  return (
    <span class="actions">
      <strong>{name}</strong>
      <span class="quiet">
        {clock(atMs)}, of {checkpoint}
        {current ? ', where it was last' : ''}
      </span>
      <AskOnce
        label="Revert"
        about={about}
        disabled={!may || busy}
        act={() => void run(() => connection.revert(vm.id, name, vm.desired !== 'stopped'))}
      />
      {admin && <ForkFrom {...{ connection, vmId: vm.id }} checkpoint={name} of={`${vm.id} at ${name}`} />}
      <AskOnce
        label="Delete"
        about={`snapshot ${name} of ${vm.id}`}
        disabled={!may || busy}
        act={() => void run(() => connection.dropSnapshot(vm.id, name))}
      />
      <Refusal error={error} />
    </span>
  );
}

function Tree({ nodes, ...of }: OfVm & { nodes: readonly SnapshotNode[] }) {
  if (nodes.length === 0) return null;
  return (
    <ul class="tree">
      {nodes.map((node) => (
        <li key={node.kind === 'fork' ? `fork ${node.fork.name}` : node.snapshot.name}>
          {node.kind === 'fork' ? (
            <span class="quiet">
              fork {node.fork.name} ({node.fork.status}), of {node.fork.from}
            </span>
          ) : (
            <Kept {...of} snapshot={node.snapshot} />
          )}
          <Tree {...of} nodes={node.below} />
        </li>
      ))}
    </ul>
  );
}

export function Snapshots({
  status,
  snapshots,
  ...of
}: OfVm & { status: ClusterStatus; snapshots: readonly Snapshot[] }) {
  const action = useAction();
  const { vm, connection, may } = of;
  const nodes = snapshotTreeOf(vm.id, { snapshots, forks: forksAmong(status.vms) });
  return (
    <section class="panel" aria-label={`snapshots of ${vm.id}`}>
      <h2>Snapshots</h2>
      <ActionForm
        label={`take a snapshot of ${vm.id}`}
        send="Take"
        disabled={!may}
        action={action}
        run={(data) => connection.takeSnapshot(vm.id, textOf(data, 'snapshot'))}
      >
        <label>
          What it is now, as <input type="text" name="snapshot" required maxLength={63} size={16} />
        </label>
      </ActionForm>
      {nodes.length === 0 ? (
        <p class="quiet">It has no snapshots and no forks.</p>
      ) : (
        <Tree {...of} nodes={nodes} />
      )}
    </section>
  );
}
