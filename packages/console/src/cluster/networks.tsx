/** The networks of the cluster, the VMs in each with their addresses and published ports; an admin makes and deletes them. */
import {
  freeSubnet,
  type ClusterStatus,
  type NetworkSpec,
  type Publish,
  type VmSeen,
} from '@revenant/cluster/protocol';
import type { Connection } from './connection.ts';
import { ActionForm, AskOnce, Refusal, textOf, useAction } from './use-action.tsx';

/** `8080:80`, `a:8080:80/udp` */
function publishText({ on, port, guestPort, protocol }: Publish): string {
  const node = on === '*' ? '' : `${on}:`;
  return `${node}${String(port)}:${String(guestPort)}${protocol === 'udp' ? '/udp' : ''}`;
}

function memberText({ id, nic, spec: { network } }: VmSeen): string {
  const ports = (network?.publish ?? []).map(publishText).join(', ');
  return `${id} ${nic?.address ?? ''}${ports === '' ? '' : ` (ports ${ports})`}`;
}

function specOf(data: FormData, networks: Readonly<Record<string, NetworkSpec>>): NetworkSpec {
  const subnet = textOf(data, 'subnet');
  const words = textOf(data, 'host-ports').split(/[\s,]+/);
  return {
    subnet: subnet === '' ? freeSubnet(networks) : subnet,
    guard: data.get('guard') !== null,
    outbound: data.get('inside') === null,
    hostPorts: words.filter((word) => word !== '').map(Number),
  };
}

function CreateNetwork({
  connection,
  networks,
}: {
  connection: Connection;
  networks: Readonly<Record<string, NetworkSpec>>;
}) {
  const action = useAction();
  return (
    <ActionForm
      label="create a network"
      send="Create network"
      disabled={false}
      action={action}
      run={(data) =>
        connection.command({
          type: 'network-create',
          network: textOf(data, 'network-name'),
          spec: specOf(data, networks),
        })
      }
    >
      <label>
        Network's name{' '}
        <input
          type="text"
          name="network-name"
          required
          pattern="[A-Za-z0-9][A-Za-z0-9_\-]*"
          maxLength={63}
          size={12}
        />
      </label>
      <label>
        Subnet <input type="text" name="subnet" placeholder={freeSubnet(networks)} size={16} />
      </label>
      <label>
        Open ports of the host <input type="text" name="host-ports" placeholder="8000, 5432" size={12} />
      </label>
      <label class="choice">
        <input type="checkbox" name="guard" /> guarded
      </label>
      <label class="choice">
        <input type="checkbox" name="inside" /> inside only
      </label>
    </ActionForm>
  );
}

function Row({
  name,
  spec,
  members,
  admin,
  connection,
}: {
  name: string;
  spec: NetworkSpec;
  members: readonly VmSeen[];
  admin: boolean;
  connection: Connection;
}) {
  const { run, busy, error } = useAction();
  return (
    <tr>
      <td>{name}</td>
      <td>{spec.subnet}</td>
      <td>{spec.outbound ? 'yes' : 'no'}</td>
      <td>{spec.guard ? 'yes' : 'no'}</td>
      <td>{spec.hostPorts.map(String).join(', ') || 'none'}</td>
      <td>{members.map(memberText).join(', ') || 'none'}</td>
      <td>
        <span class="actions">
          <AskOnce
            label="Delete"
            about={`network ${name}`}
            disabled={!admin || busy}
            act={() => void run(() => connection.command({ type: 'network-delete', network: name }))}
          />
          <Refusal error={error} />
        </span>
      </td>
    </tr>
  );
}

export function Networks({
  status: { networks, vms },
  admin,
  connection,
}: {
  status: ClusterStatus;
  admin: boolean;
  connection: Connection;
}) {
  const shown = Object.entries(networks).sort(([a], [b]) => a.localeCompare(b));
  return (
    <section class="panel" aria-label="networks">
      <h2>Networks</h2>
      {shown.length === 0 ? (
        <p class="quiet">There are no networks yet.</p>
      ) : (
        <div class="scroll" tabIndex={0} role="group" aria-label="list of networks">
          <table>
            <thead>
              <tr>
                <th>Network</th>
                <th>Subnet</th>
                <th>Outwards</th>
                <th>Guarded</th>
                <th>Ports of the host</th>
                <th>VMs</th>
                <th>Actions</th>
              </tr>
            </thead>
            <tbody>
              {shown.map(([name, spec]) => {
                const members = vms.filter(
                  ({ status, spec: { network } }) => network?.name === name && status !== 'deleted',
                );
                return <Row key={name} {...{ name, spec, members, admin, connection }} />;
              })}
            </tbody>
          </table>
        </div>
      )}
      {admin && <CreateNetwork {...{ connection, networks }} />}
    </section>
  );
}
