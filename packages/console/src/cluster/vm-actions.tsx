/** What can be done with a VM in the state in which it is, and the answer when it can't. */
import { outputPolicies, type Command, type ProtectedVm } from '@revenant/cluster/protocol';
import type { ClusterState, Connection } from './connection.ts';
import { policyWords } from './text.ts';
import { AskOnce, Refusal, useAction } from './use-action.tsx';

/** Chooses the node that it is moved to. */
function MoveTo({
  vm,
  state,
  disabled,
  move,
}: {
  vm: ProtectedVm;
  state: ClusterState;
  disabled: boolean;
  move: (to: string) => void;
}) {
  const others = (state.status?.nodes ?? []).filter(
    ({ id, state: now }) => now === 'alive' && id !== vm.assignment?.node,
  );
  if (others.length === 0) return null;
  return (
    <select
      aria-label={`Migrate ${vm.id} to`}
      disabled={disabled}
      value=""
      onChange={(event) => {
        const { value } = event.currentTarget;
        event.currentTarget.value = '';
        if (value !== '') move(value);
      }}
    >
      <option value="">to …</option>
      {others.map(({ id }) => (
        <option key={id} value={id}>
          to {id}
        </option>
      ))}
    </select>
  );
}

interface OfVm {
  vm: ProtectedVm;
  state: ClusterState;
  connection: Connection;
}

export function VmActions({ vm, state, connection }: OfVm) {
  const { run, busy, error } = useAction();
  const { id: vmId, desired } = vm;
  const may = state.role !== 'view' && !busy;
  const button = (label: string, command: Command) => (
    <button
      type="button"
      disabled={!may}
      aria-label={`${label} ${vmId}`}
      onClick={() => void run(() => connection.command(command))}
    >
      {label}
    </button>
  );
  return (
    <span class="actions">
      {desired === 'stopped' && button('Start', { type: 'vm-start', vmId })}
      {desired === 'running' && button('Pause', { type: 'vm-pause', vmId })}
      {desired === 'paused' && button('Go on', { type: 'vm-resume', vmId })}
      {desired !== 'stopped' && button('Migrate', { type: 'vm-migrate', vmId })}
      {desired !== 'stopped' && (
        <MoveTo
          {...{ vm, state, disabled: !may }}
          move={(to) => void run(() => connection.command({ type: 'vm-migrate', vmId, to }))}
        />
      )}
      {desired === 'running' && (
        <button
          type="button"
          disabled={!may}
          aria-label={`Shut down ${vmId}`}
          title="Presses its power button: most systems shut down in order then."
          onClick={() => void run(() => connection.pressPowerButton(vmId))}
        >
          Shut down
        </button>
      )}
      {desired !== 'stopped' && button('Stop', { type: 'vm-stop', vmId })}
      <AskOnce
        label="Delete"
        about={vmId}
        disabled={!may || state.role !== 'admin'}
        act={() => void run(() => connection.command({ type: 'vm-delete', vmId }))}
      />
      <Refusal error={error} />
    </span>
  );
}

/** When what it says leaves its node; an admin may change it, also while it runs. */
export function Policy({ vm, state, connection }: OfVm) {
  const { run, error } = useAction();
  if (state.role !== 'admin') return <>{vm.spec.outputs}</>;
  return (
    <>
      <select
        aria-label={`outputs of ${vm.id}`}
        value={vm.spec.outputs}
        onChange={(event) => {
          const outputs = outputPolicies.find((each) => each === event.currentTarget.value);
          if (outputs !== undefined)
            void run(() => connection.command({ type: 'vm-set', vmId: vm.id, outputs }));
        }}
      >
        {outputPolicies.map((policy) => (
          <option key={policy} value={policy} title={policyWords[policy]}>
            {policy}
          </option>
        ))}
      </select>
      <Refusal error={error} />
    </>
  );
}
