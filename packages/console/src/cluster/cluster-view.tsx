/** The whole cluster: a map of its nodes with the VMs that each runs, the list of VMs, what happened. */
import { useState } from 'preact/hooks';
import {
  presentNodes,
  type ClusterStatus,
  type NodeFigures,
  type NodeStatus,
  type VmSample,
  type VmSeen,
} from '@revenant/cluster/protocol';
import type { ClusterState, Connection } from './connection.ts';
import { CreateForm } from './create-form.tsx';
import { EventList } from './events.tsx';
import { Networks } from './networks.tsx';
import { NodeActions } from './node-actions.tsx';
import { Thumbnail } from './screen.tsx';
import { Upkeep } from './upkeep.tsx';
import { Policy, VmActions } from './vm-actions.tsx';
import { bytesText, nodeTone, placeOf, spanText, statusOf, vmTone } from './text.ts';

interface ViewProps {
  state: ClusterState;
  connection: Connection;
  open: (vmId: string) => void;
}

const mibText = (mib: number): string => bytesText(mib * 2 ** 20);

/** How busy a node's host is. */
function Load({ figures }: { figures: NodeFigures | undefined }) {
  if (figures === undefined) return null;
  const { load, processors, usedBytes, hostFreeBytes } = figures;
  return (
    <p class="quiet">
      <label>
        load {load.toFixed(1)} of {String(processors)} processors
        <meter min={0} max={processors} high={processors * 0.9} value={Math.min(load, processors)} />
      </label>
      {bytesText(usedBytes)} used, {bytesText(hostFreeBytes)} free
    </p>
  );
}

function NodeCard({
  node,
  status,
  state,
  connection,
  open,
}: ViewProps & { node: NodeStatus; status: ClusterStatus }) {
  const here = status.vms.filter((vm) => placeOf(status, vm)?.node === node.id);
  const usedMiB = here.reduce((sum, { spec }) => sum + spec.memoryMiB, 0);
  return (
    <li class={`node panel ${nodeTone(node.state)}`} aria-label={`node ${node.id}`}>
      <h2>
        {node.id}
        {status.master === node.id && <span class="badge">master</span>}
      </h2>
      <p>
        <span class={`tone ${nodeTone(node.state)}`}>{node.state}</span>{' '}
        <span class="quiet">{node.reason}</span>
      </p>
      {node.view !== undefined && (
        <p class="quiet">
          <label>
            {mibText(usedMiB)} of {mibText(node.view.capacity.memoryMiB)} given
            <meter min={0} max={node.view.capacity.memoryMiB} value={usedMiB} />
          </label>
          {node.view.pressure === 'none' ? '' : `short of ${node.view.pressure}`}
        </p>
      )}
      <Load figures={state.figures.find(({ node: id }) => id === node.id)} />
      <ul class="chips">
        {here.map((vm) => (
          <li key={vm.id}>
            <button type="button" class={`chip ${vmTone(vm.status)}`} onClick={() => open(vm.id)}>
              {vm.id}
            </button>
          </li>
        ))}
      </ul>
      <NodeActions node={node} state={state} connection={connection} />
    </li>
  );
}

function sampleOf(state: ClusterState, vmId: string, node: string | undefined): VmSample | undefined {
  return state.figures.find((each) => each.node === node)?.vms.find((vm) => vm.vmId === vmId);
}

/** How long ago the newest checkpoint became durable. */
function ageText({ status }: VmSeen, sample: VmSample | undefined): string {
  if (sample?.ageMs === undefined) return status === 'running' ? 'none yet' : '–';
  return `${spanText(sample.ageMs)} ago`;
}

/** Which node follows it, and how far behind. */
function standbyText(sample: VmSample | undefined): string {
  if (sample?.standby === undefined) return '–';
  const { node, condition, lagMs } = sample.standby;
  return `${node}: ${condition}${condition === 'preparing' ? '' : `, ${spanText(lagMs)}`}`;
}

function VmTable({ status, state, connection, open }: ViewProps & { status: ClusterStatus }) {
  const vms = status.vms.filter(({ status: now }) => now !== 'deleted');
  if (vms.length === 0) return <p class="quiet">There are no VMs yet.</p>;
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label="list of virtual machines">
      <table>
        <thead>
          <tr>
            <th>Screen</th>
            <th>VM</th>
            <th>State</th>
            <th>Node</th>
            <th>Epoch</th>
            <th>Memory</th>
            <th>Priority</th>
            <th>Checkpoint</th>
            <th>Standby</th>
            <th>Outputs</th>
            <th>Actions</th>
          </tr>
        </thead>
        <tbody>
          {vms.map((vm) => {
            const place = placeOf(status, vm);
            const now = statusOf(vm);
            return (
              <tr key={vm.id}>
                <td>{place !== undefined && <Thumbnail connection={connection} vmId={vm.id} />}</td>
                <td>
                  <button type="button" class="link" onClick={() => open(vm.id)}>
                    {vm.id}
                  </button>
                </td>
                <td>
                  <span class={`tone ${vmTone(now.status)}`}>{now.status}</span>{' '}
                  <span class="quiet">{now.reason}</span>
                </td>
                <td>{place?.node ?? '–'}</td>
                <td>{place === undefined ? '–' : String(place.epoch)}</td>
                <td>{String(vm.spec.memoryMiB)} MiB</td>
                <td>{String(vm.spec.priority)}</td>
                <td>{ageText(vm, sampleOf(state, vm.id, place?.node))}</td>
                <td>{standbyText(sampleOf(state, vm.id, place?.node))}</td>
                <td>
                  <Policy {...{ vm, state, connection }} />
                </td>
                <td>
                  <VmActions vm={vm} state={state} connection={connection} />
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

export function ClusterView(props: ViewProps) {
  const { state, connection } = props;
  const [creating, setCreating] = useState(false);
  const { status } = state;
  if (status === undefined)
    return (
      <main>
        <p class="quiet">{state.trouble ?? 'Looking at the cluster…'}</p>
      </main>
    );
  const admin = state.role === 'admin';
  return (
    <main class="cluster">
      <ul class="map" aria-label="nodes">
        {presentNodes(status)
          .sort((a, b) => a.id.localeCompare(b.id))
          .map((node) => (
            <NodeCard key={node.id} {...props} node={node} status={status} />
          ))}
      </ul>
      <section class="panel" aria-label="virtual machines">
        <div class="heading">
          <h2>Virtual machines</h2>
          <button type="button" class="primary" disabled={!admin} onClick={() => setCreating(true)}>
            Create
          </button>
        </div>
        {creating && (
          <CreateForm
            connection={connection}
            networks={Object.keys(status.networks)}
            close={() => setCreating(false)}
          />
        )}
        <VmTable {...props} status={status} />
      </section>
      <Networks {...{ status, admin, connection }} />
      <Upkeep {...{ status, admin, connection }} />
      <section class="panel" aria-label="events">
        <h2>What happened</h2>
        <EventList events={state.events} />
      </section>
    </main>
  );
}
