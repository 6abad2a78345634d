/**
 * Forks of VMs (docs/CLUSTER_PROTOCOL.md, "API"): the store gets a first checkpoint of the new VM, which shares everything with its parent's;
 * then it is entered into the protected list like any other. The same request may come again, here or to another node.
 */
import {
  checkpointToFork,
  forkVm,
  formatId,
  isSnapshotName,
  isStorageError,
  parseId,
  readOwner,
  requireSnapshot,
  type StorageError,
} from '@revenant/storage';
import { ClusterError, type ClusterErrorCode } from '../errors.ts';
import { vmOf, type ProtectedVm } from '../decisions/records.ts';
import { hasReadList } from '../decisions/state.ts';
import type { ForkAnswer, ForkRequest } from '../protocol/api.ts';
import type { Nic } from '../protocol/network.ts';
import type { VmSpec } from '../protocol/spec.ts';
import { beginningState, ownState, storedNic, withMac, withOwn, type State } from '../stored/own-state.ts';
import type { ClusterNode } from './cluster-node.ts';

/** The VM, unless it is not there, or no longer. Throws `NOT_FOUND`; `NO_MASTER` while nobody here can know. */
export function requireVm(node: ClusterNode, vmId: string): ProtectedVm {
  const vm = vmOf(node.agent.list, vmId);
  if (vm === undefined && !hasReadList(node.agent))
    throw new ClusterError('NO_MASTER', 'this node has not read the list of VMs yet');
  if (vm === undefined || vm.desired === 'deleted')
    throw new ClusterError('NOT_FOUND', `there is no VM ${vmId}`, { hint: '`vm list` shows them all' });
  return vm;
}

/** Devices by which a guest learns that it lives a second life. */
const identities = ['vmgenid', 'vmclock'];

/**
 * The state with which a fork becomes somebody, or is its parent in everything (`identical`).
 * @throws ClusterError `CONFLICT` for a machine whose guest could not tell that it was forked
 */
function asSomebody(given: State, parent: ProtectedVm, nic: Nic | undefined, identical: boolean): State {
  const state = withMac(given, nic?.mac);
  const { boot } = ownState(state.devices);
  if (identical) return withOwn(state, { boot, inputs: {}, identical });
  const boots = boot === 0;
  const tells = identities.some((device) => Object.hasOwn(state.devices, device));
  if (parent.spec.runtime !== 'machine' || boots || tells) return state;
  throw new ClusterError(
    'CONFLICT',
    `the machine of ${parent.id} has no generation ID: its guest could not tell that it is another, and would draw the same random numbers`,
    { hint: 'fork it with --identical if that is wanted, as to replay it' },
  );
}

const codes: Partial<Record<StorageError['code'], ClusterErrorCode>> = {
  CHECKPOINT_NOT_FOUND: 'NOT_FOUND',
  VM_UNKNOWN: 'CONFLICT',
  FENCED: 'CONFLICT',
  BAD_ARGUMENT: 'BAD_REQUEST',
};

/** What the store refuses, in the cluster's words: what is wrong with the request is not the store's fault. */
export const asClusterError = (error: StorageError): ClusterError =>
  new ClusterError(codes[error.code] ?? 'STORE', error.message, {
    cause: error,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
  });

/** What `ask` gives of the store; what that refuses, in the cluster's words. */
export async function askingStore<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    throw isStorageError(error) ? asClusterError(error) : error;
  }
}

/**
 * Makes one fork, or waits for the same request if this node is about it. The name is taken in the protected list first, where each is had once: whatever else asks for it meanwhile is refused there,
 * and never finds what the parent's memory was.
 * @throws ClusterError `NOT_FOUND` (VM or checkpoint), `CONFLICT` (the name is in use), `NO_CAPACITY`, `TIMEOUT` (another node has the request now)
 */
export async function forkOf(node: ClusterNode, parentId: string, request: ForkRequest): Promise<ForkAnswer> {
  const { forksUnderWay } = node;
  const before = forksUnderWay.get(request.id);
  if (before !== undefined) return before;
  const made = makeOnce(node, parentId, request).finally(() => forksUnderWay.delete(request.id));
  forksUnderWay.set(request.id, made);
  return made;
}

async function makeOnce(node: ClusterNode, parentId: string, request: ForkRequest): Promise<ForkAnswer> {
  const { id, name, checkpoint, start, identical = false } = request;
  const parent = requireVm(node, parentId);
  return askingStore(async () => {
    const { from, again } = await takeName(node, parent, request);
    if (!again || !(await isMade(node, name, id)))
      await makeFork(node, parent, { id, name, from, identical, newest: checkpoint === undefined });
    if (start) await node.command({ type: 'vm-start', vmId: name }, `${id} start`);
    return { id, vmId: name, from };
  });
}

/** Enters the fork, which does not run yet. @returns the checkpoint that it is to begin with: that of the first time, when it is asked again */
async function takeName(
  node: ClusterNode,
  parent: ProtectedVm,
  request: ForkRequest,
): Promise<{ from: string; again: boolean }> {
  const { id, name, checkpoint } = request;
  const asked = node.agent.list.commands.find((each) => each.id === id);
  const entered = vmOf(node.agent.list, name)?.spec.origin;
  if (asked?.error === null && entered !== undefined) return { from: entered.checkpoint, again: true };
  const from = await beginning(node, parent, checkpoint);
  const { network: _network, ...own } = parent.spec;
  const spec = { ...own, ...networkOf(parent, request), origin: { vm: parent.id, checkpoint: from } };
  await node.command({ type: 'vm-create', vmId: name, spec, start: false }, id);
  return { from, again: false };
}

/**
 * A fork is in its parent's network, under a MAC and an address of its own; ports are published for the parent alone, unless others are asked for. One that is
 * its parent in everything is in none: its guest can't be told apart there.
 */
function networkOf(
  { id, spec: { network } }: ProtectedVm,
  { identical = false, apart = false, publish = [] }: ForkRequest,
): Pick<VmSpec, 'network'> {
  const none = network === undefined || identical || apart;
  if (!none) return { network: { name: network.name, publish } };
  if (publish.length === 0) return {};
  throw new ClusterError('BAD_REQUEST', `ports of a fork of ${id} can't be published: it is in no network`);
}

/** The name of a snapshot, or the checkpoint; the newest when none is asked for. */
async function beginning(
  { store, options: { key } }: ClusterNode,
  { id }: ProtectedVm,
  asked: string | undefined,
): Promise<string> {
  if (asked !== undefined && isSnapshotName(asked)) return (await requireSnapshot(store, id, asked)).name;
  const wanted = asked === undefined ? {} : { id: parseId(asked) };
  return formatId(await checkpointToFork(store, id, { key, ...wanted }));
}

/** What fork `id` writes into the owner record while it makes a VM. */
const ownerOf = (id: string): string => `fork ${id}`;

/** Whether the same request made it before: then it is free to start, or a node has it. */
async function isMade({ store }: ClusterNode, name: string, id: string): Promise<boolean> {
  const owner = (await readOwner(store, name))?.record;
  if (owner === undefined || owner.state === 'deleted') return false;
  return owner.owner !== ownerOf(id) || owner.state === 'released';
}

/** The card that the list gives a VM which was entered a moment ago: the list here may not have it yet. */
async function nicOf({ agent, store }: ClusterNode, name: string): Promise<Nic | undefined> {
  const here = vmOf(agent.list, name);
  return here !== undefined && here.desired !== 'deleted' ? here.nic : storedNic(store, name);
}

async function makeFork(
  node: ClusterNode,
  parent: ProtectedVm,
  fork: { id: string; name: string; from: string; newest: boolean; identical: boolean },
): Promise<void> {
  const { id, name, from, newest, identical } = fork;
  try {
    const nic = await nicOf(node, name);
    if (nic !== undefined && nic.former === undefined)
      throw new ClusterError(
        'CONFLICT',
        `the master is of an older release, which knows no forks in networks`,
        { hint: 'upgrade all nodes, or fork without a network (`vm fork --no-network`)' },
      );
    const become = (state: State): State => asSomebody(state, parent, nic, identical);
    const common = { owner: ownerOf(id), key: node.options.key };
    if (isSnapshotName(from)) {
      // What it begins with was said when the snapshot was taken.
      const { vm } = await requireSnapshot(node.store, parent.id, from);
      await forkVm(node.store, vm, name, { ...common, change: become });
    } else
      await forkVm(node.store, parent.id, name, {
        ...common,
        change: (state) => become(beginningState(parent, newest)(state)),
        id: parseId(from),
      });
  } catch (error) {
    const record = (await readOwner(node.store, name))?.record;
    if (isStorageError(error, 'FENCED') && record?.owner === ownerOf(id))
      throw new ClusterError('TIMEOUT', `another node makes the fork ${name}`, { cause: error });
    // Without what it is to begin with it would boot afresh.
    await node.command({ type: 'vm-delete', vmId: name }, `${id} undo`);
    throw error;
  }
}
