/** What a VM is made of, and how it is kept as far as that can be changed, whether it runs or not: its standby, its share of the store, where it runs. */
import type { VmSeen } from '@revenant/cluster/protocol';
import type { Connection } from './connection.ts';
import { PlacementFields, rulesOf } from './placement-rules.tsx';
import { bytesText } from './text.ts';
import { Refusal, textOf, useAction } from './use-action.tsx';

const mib = 2 ** 20;

/** Its description is opaque to the cluster, and read as far as it is what we know. */
function hardwareOf({ spec, nic }: VmSeen): (readonly [what: string, said: string])[] {
  const { cpu, cpuCount, disks } = (spec.description ?? {}) as Record<string, unknown>;
  const model = typeof cpu === 'string' ? ` (${cpu})` : '';
  const drives = (Array.isArray(disks) ? disks : []) as Record<string, unknown>[];
  const driveText = ({ name, title, bytes, attach, readOnly }: Record<string, unknown>): string =>
    [
      `${typeof title === 'string' ? title : String(name)}:`,
      typeof bytes === 'number' ? bytesText(bytes) : '',
      typeof attach === 'string' ? attach : 'virtio',
      readOnly === true ? 'read-only' : '',
    ]
      .filter((word) => word !== '')
      .join(' ');
  return [
    ['Memory', `${String(spec.memoryMiB)} MiB`],
    ['Processors', `${typeof cpuCount === 'number' ? String(cpuCount) : '1'}${model}`],
    ['Disks', drives.map(driveText).join('; ') || 'none'],
    ['Network', spec.network === undefined ? 'none' : `${spec.network.name} ${nic?.address ?? ''}`],
    ['Priority', String(spec.priority)],
  ];
}

function Hardware({ vm }: { vm: VmSeen }) {
  return (
    <dl class="facts">
      {hardwareOf(vm).map(([what, said]) => (
        <div key={what}>
          <dt>{what}</dt>
          <dd>{said}</dd>
        </div>
      ))}
    </dl>
  );
}

function Kept({ vm }: { vm: VmSeen }) {
  const { outputs, standby, storeQuotaBytes } = vm.spec;
  return (
    <>
      <label class="choice" title="Of a VM whose outputs wait for its log.">
        <input
          type="checkbox"
          name="standby"
          disabled={outputs !== 'log'}
          defaultChecked={standby === true || outputs === 'standby'}
        />
        a machine on another node follows it
      </label>
      <label>
        In the store at most, in MiB
        <input
          type="number"
          name="quota"
          min={1}
          placeholder="no limit"
          defaultValue={storeQuotaBytes === undefined ? '' : String(storeQuotaBytes / mib)}
        />
      </label>
    </>
  );
}

export function VmSettings({
  vm,
  connection,
  admin,
}: {
  vm: VmSeen;
  connection: Connection;
  admin: boolean;
}) {
  const { run, busy, error } = useAction();
  const change = async (data: FormData): Promise<void> => {
    const quota = textOf(data, 'quota');
    await connection.command({
      ...{ type: 'vm-set', vmId: vm.id },
      ...(vm.spec.outputs === 'log' ? { standby: data.get('standby') !== null } : {}),
      storeQuotaBytes: quota === '' ? null : Number(quota) * mib,
      ...rulesOf(data),
    });
  };
  return (
    <section class="panel" aria-label={`what ${vm.id} is made of`}>
      <h2>Settings</h2>
      <Hardware vm={vm} />
      <form
        class="fields"
        aria-label={`settings of ${vm.id}`}
        onSubmit={(event) => {
          event.preventDefault();
          const data = new FormData(event.currentTarget);
          void run(() => change(data));
        }}
      >
        <Kept vm={vm} />
        <PlacementFields rules={vm.spec} />
        <div>
          <button type="submit" disabled={busy || !admin}>
            Change
          </button>
        </div>
        <Refusal error={error} />
      </form>
    </section>
  );
}
