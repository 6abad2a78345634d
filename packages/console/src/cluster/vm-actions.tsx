/** What can be done with a VM in the state in which it is, and the answer when it can't. */
import { useState } from 'preact/hooks';
import type { Command, ProtectedVm } from '@revenant/cluster/protocol';
import type { ClusterState, Connection } from './connection.ts';

export function VmActions({
  vm,
  state,
  connection,
}: {
  vm: ProtectedVm;
  state: ClusterState;
  connection: Connection;
}) {
  const [error, setError] = useState('');
  const [busy, setBusy] = useState(false);
  const [asking, setAsking] = useState(false);
  const { id: vmId, desired } = vm;
  const run = async (command: Command): Promise<void> => {
    setBusy(true);
    setError('');
    setAsking(false);
    try {
      await connection.command(command);
    } catch (problem) {
      setError(problem instanceof Error ? problem.message : String(problem));
    }
    setBusy(false);
  };
  const may = state.role !== 'view' && !busy;
  const button = (label: string, command: Command) => (
    <button type="button" disabled={!may} aria-label={`${label} ${vmId}`} onClick={() => void run(command)}>
      {label}
    </button>
  );
  return (
    <span class="actions">
      {desired === 'stopped' && button('Start', { type: 'vm-start', vmId })}
      {desired === 'running' && button('Pause', { type: 'vm-pause', vmId })}
      {desired === 'paused' && button('Go on', { type: 'vm-resume', vmId })}
      {desired !== 'stopped' && button('Migrate', { type: 'vm-migrate', vmId })}
      {desired !== 'stopped' && button('Stop', { type: 'vm-stop', vmId })}
      {asking ? (
        <>
          {button('Really delete', { type: 'vm-delete', vmId })}
          <button type="button" onClick={() => setAsking(false)}>
            Keep
          </button>
        </>
      ) : (
        <button
          type="button"
          disabled={!may || state.role !== 'admin'}
          aria-label={`Delete ${vmId}`}
          onClick={() => setAsking(true)}
        >
          Delete
        </button>
      )}
      {error !== '' && (
        <span class="error" role="alert">
          {error}
        </span>
      )}
    </span>
  );
}
