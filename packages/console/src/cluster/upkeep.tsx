/** What a person does to the cluster as a whole: evens out how full its nodes are, or lets it do so by itself; holds failover back. */
import type { ClusterStatus } from '@revenant/cluster/protocol';
import type { Connection } from './connection.ts';
import { ActionForm, Refusal, textOf, useAction } from './use-action.tsx';

function Balance({
  status,
  admin,
  connection,
}: {
  status: ClusterStatus;
  admin: boolean;
  connection: Connection;
}) {
  const { run, busy, error } = useAction();
  return (
    <>
      <button
        type="button"
        disabled={!admin || busy}
        onClick={() => void run(() => connection.command({ type: 'rebalance' }))}
      >
        Rebalance
      </button>
      <label class="choice">
        <input
          type="checkbox"
          disabled={!admin || busy}
          checked={status.balancing !== 'off'}
          onChange={({ currentTarget: { checked } }) =>
            void run(() => connection.command({ type: 'balancing', automatic: checked }))
          }
        />
        Crowded nodes give VMs to emptier ones by themselves
      </label>
      <Refusal error={error} />
    </>
  );
}

function Failover({
  status: { disarmed },
  admin,
  connection,
}: {
  status: ClusterStatus;
  admin: boolean;
  connection: Connection;
}) {
  const action = useAction();
  if (disarmed === undefined)
    return (
      <ActionForm
        label="disarm failover"
        send="Disarm failover"
        disabled={!admin}
        action={action}
        run={(data) => {
          const reason = textOf(data, 'reason');
          return connection.command({ type: 'disarm', reason: reason === '' ? 'maintenance' : reason });
        }}
      >
        <label>
          What for <input type="text" name="reason" placeholder="maintenance" maxLength={200} size={24} />
        </label>
      </ActionForm>
    );
  return (
    <p role="status" aria-label="failover">
      <span class="tone warn">failover is disarmed: {disarmed}</span> (what is lost is not started again){' '}
      <button
        type="button"
        disabled={!admin || action.busy}
        onClick={() => void action.run(() => connection.command({ type: 'arm' }))}
      >
        Arm failover
      </button>
      <Refusal error={action.error} />
    </p>
  );
}

export function Upkeep(props: { status: ClusterStatus; admin: boolean; connection: Connection }) {
  return (
    <section class="panel" aria-label="upkeep">
      <div class="heading">
        <h2>Upkeep</h2>
        <Balance {...props} />
      </div>
      <Failover {...props} />
    </section>
  );
}
