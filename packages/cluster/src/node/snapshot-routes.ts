/**
 * Snapshots of VMs: states that people keep by name, go back to, and fork (docs/CLUSTER_PROTOCOL.md, "API"). They lie in the store; the
 * node that runs the VM takes one, as it makes a checkpoint first, and any node does the rest.
 */
import {
  dropSnapshot,
  readSnapshots,
  revertToSnapshot,
  takeSnapshot,
  type KeptSnapshot,
} from '@revenant/storage';
import { ClusterError } from '../errors.ts';
import { vmOf, type ProtectedVm } from '../decisions/records.ts';
import {
  revertRequestSchema,
  snapshotRequestSchema,
  type RevertRequest,
  type Snapshot,
} from '../protocol/snapshots.ts';
import { formOf } from '../vm/epochs.ts';
import { removeDeleted } from '../vm/housekeeping.ts';
import { storableNotes } from '../vm/standby/owner-note.ts';
import { beginningState, ownState, withOwn, type State } from '../stored/own-state.ts';
import { answerJson, type Answer } from './answers.ts';
import { bodyOf } from './bodies.ts';
import { requireRole } from './callers.ts';
import type { ClusterNode } from './cluster-node.ts';
import { askingStore, requireVm } from './forks.ts';

const pathPattern = /^(GET|POST|DELETE) \/v1\/vms\/([^/]+)\/(?:(revert)|snapshots(?:\/([^/]+))?)$/;
/** So long a request waits for a VM to stop before its sender is told to ask again. */
const stopMs = 5000;
const lookMs = 20;

/** Answers what is about snapshots; false for any other request, to which nothing was answered. */
export async function snapshotRoute(node: ClusterNode, asked: string, answer: Answer): Promise<boolean> {
  const [, verb, vmId, revert, name] = pathPattern.exec(asked) ?? [];
  if (vmId === undefined) return false;
  const vm = requireVm(node, vmId);
  const { caller, response } = answer;
  if (verb === 'GET' && revert === undefined && name === undefined) {
    const found = await askingStore(() => readSnapshots(node.store, vmId));
    answerJson(response, { snapshots: found.map(shown) });
    return true;
  }
  if (verb === 'DELETE' ? name === undefined : verb !== 'POST' || name !== undefined)
    throw new ClusterError('NOT_FOUND', `there is no ${asked}`);
  if (name !== undefined) {
    requireRole(caller, 'operate', 'to delete a snapshot');
    const left = await askingStore(() => dropSnapshot(node.store, vmId, { name, owner: node.options.name }));
    await removeDeleted(node.store, left, node.options.key);
    node.audit.note(caller, `deletes its snapshot ${name}`, { vm: vmId });
    answerJson(response, { vmId, name });
    return true;
  }
  if (revert !== undefined) {
    requireRole(caller, 'operate', 'to revert a VM');
    const request = await bodyOf(revertRequestSchema, answer);
    const to = await askingStore(() => revertTo(node, vm, request));
    node.audit.note(caller, `takes it back to its snapshot ${to.name}`, { vm: vmId });
    answerJson(response, shown(to));
    return true;
  }
  requireRole(caller, 'operate', 'to take a snapshot');
  const { id, name: wanted } = await bodyOf(snapshotRequestSchema, answer);
  const taken = await askingStore(() => take(node, vm, { id, name: wanted }));
  node.audit.note(caller, `takes a snapshot ${taken.name} of checkpoint ${taken.checkpoint}`, { vm: vmId });
  answerJson(response, shown(taken));
  return true;
}

const shown = ({ name, checkpoint, atMs, parent, current }: KeptSnapshot): Snapshot => ({
  name,
  checkpoint,
  atMs,
  parent,
  current,
});

async function take(
  node: ClusterNode,
  vm: ProtectedVm,
  { id, name }: { id: string; name: string },
): Promise<KeptSnapshot> {
  // What it is now, not what it was up to an interval ago.
  if (vm.status === 'running' || vm.status === 'paused') {
    if (!node.vms.figures.some(({ vmId }) => vmId === vm.id))
      throw new ClusterError('BUSY', `${vm.id} does not run on ${node.options.name}`, {
        hint: 'ask the node that runs it',
      });
    if (!(await node.vms.makeDurable(vm.id)))
      throw new ClusterError('BUSY', `no checkpoint of ${vm.id} can be made just now`);
  } else if (vm.desired === 'running' || vm.status === 'stopping')
    throw new ClusterError('BUSY', `${vm.id} is ${vm.status}`);
  return takeSnapshot(node.store, vm.id, {
    name,
    request: id,
    owner: `snapshot ${name}`.slice(0, 64),
    key: node.options.key,
    change: beginningState(vm, true),
  });
}

/** Powers it off, makes the snapshot its newest checkpoint, and lets it go on. */
async function revertTo(
  node: ClusterNode,
  vm: ProtectedVm,
  { id, name, start }: RevertRequest,
): Promise<KeptSnapshot> {
  const found = (await readSnapshots(node.store, vm.id)).find((each) => each.name === name);
  if (found === undefined)
    throw new ClusterError('NOT_FOUND', `${vm.id} has no snapshot ${name}`, {
      hint: `\`vm snapshots ${vm.id}\` shows those it has`,
    });
  await node.command({ type: 'vm-stop', vmId: vm.id }, `${id} stop`);
  const stopped = await untilStopped(node, vm.id);
  const to = await revertToSnapshot(node.store, vm.id, {
    name,
    owner: node.options.name,
    notes: storableNotes(vm.id, { incarnation: node.agent.incarnation, form: formOf(node.options.key) }),
    key: node.options.key,
    change: ofBoot(stopped.boot),
  });
  if (start) await node.command({ type: 'vm-start', vmId: vm.id }, `${id} start`);
  return to;
}

/** Of the VM's present boot; one that was taken while it was off is of none, and gives its disks alone. */
const ofBoot =
  (boot: number) =>
  (state: State): State =>
    withOwn(state, { boot: ownState(state.devices).boot === 0 ? boot - 1 : boot, inputs: {} });

async function untilStopped(node: ClusterNode, vmId: string): Promise<ProtectedVm> {
  const until = performance.now() + stopMs;
  for (;;) {
    const vm = vmOf(node.agent.list, vmId);
    if (vm?.status === 'stopped' && vm.desired === 'stopped') return vm;
    if (vm === undefined || vm.desired !== 'stopped')
      throw new ClusterError('CONFLICT', `${vmId} was started or deleted meanwhile`);
    if (performance.now() > until) throw new ClusterError('BUSY', `${vmId} is still ${vm.status}`);
    await new Promise((resolve) => setTimeout(resolve, lookMs));
  }
}
