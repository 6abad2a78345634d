/** What can be done with a node: it rests and comes back, and one that is over is shown no longer. */
import type { NodeStatus } from '@revenant/cluster/protocol';
import type { ClusterState, Connection } from './connection.ts';
import { AskOnce, Refusal, useAction } from './use-action.tsx';

export function NodeActions({
  node: { id, state: now, incarnation },
  state,
  connection,
}: {
  node: NodeStatus;
  state: ClusterState;
  connection: Connection;
}) {
  const { run, busy, error } = useAction();
  const resting = state.status?.maintenance.includes(id) === true;
  const may = state.role === 'admin' && !busy;
  return (
    <span class="actions">
      <button
        type="button"
        disabled={!may || now === 'dead'}
        aria-label={`${resting ? 'Undrain' : 'Drain'} ${id}`}
        onClick={() => void run(() => connection.command({ type: resting ? 'undrain' : 'drain', node: id }))}
      >
        {resting ? 'Undrain' : 'Drain'}
      </button>
      {now === 'dead' && (
        <AskOnce
          label="Remove"
          about={`node ${id}`}
          disabled={!may}
          act={() => void run(() => connection.command({ type: 'node-remove', node: id, incarnation }))}
        />
      )}
      <Refusal error={error} />
    </span>
  );
}
