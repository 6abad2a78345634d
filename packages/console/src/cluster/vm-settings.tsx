/** How a VM is kept, as far as that can be changed while it runs or not: its standby, and what it may hold in the store. */
import type { VmSeen } from '@revenant/cluster/protocol';
import type { Connection } from './connection.ts';
import { Refusal, textOf, useAction } from './use-action.tsx';

const mib = 2 ** 20;

export function VmSettings({ vm, connection }: { vm: VmSeen; connection: Connection }) {
  const { run, busy, error } = useAction();
  const { outputs, standby, storeQuotaBytes } = vm.spec;
  const change = async (data: FormData): Promise<void> => {
    const quota = textOf(data, 'quota');
    await connection.command({
      ...{ type: 'vm-set', vmId: vm.id },
      ...(outputs === 'log' ? { standby: data.get('standby') !== null } : {}),
      storeQuotaBytes: quota === '' ? null : Number(quota) * mib,
    });
  };
  return (
    <form
      class="inline"
      aria-label={`settings of ${vm.id}`}
      onSubmit={(event) => {
        event.preventDefault();
        const data = new FormData(event.currentTarget);
        void run(() => change(data));
      }}
    >
      <label class="choice" title="Of a VM whose outputs wait for its log.">
        <input
          type="checkbox"
          name="standby"
          disabled={outputs !== 'log'}
          defaultChecked={standby === true || outputs === 'standby'}
        />{' '}
        standby
      </label>
      <label>
        In the store at most{' '}
        <input
          type="number"
          name="quota"
          min={1}
          placeholder="no limit"
          defaultValue={storeQuotaBytes === undefined ? '' : String(storeQuotaBytes / mib)}
        />{' '}
        MiB
      </label>
      <button type="submit" disabled={busy}>
        Change
      </button>
      <Refusal error={error} />
    </form>
  );
}
