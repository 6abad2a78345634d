// Forks of VMs (docs/CLUSTER_PROTOCOL.md, "API"): the store gets a first checkpoint of the new VM, which shares everything with its parent's;
// then it is entered into the protected list like any other. The same request may come again, here or to another node.
import * as v from 'valibot';
import {
  deleteVm,
  forkVm,
  formatId,
  isStorageError,
  parseId,
  readOwner,
  type MachineSnapshot,
  type StorageError,
} from '@revenant/storage';
import { ClusterError, type ClusterErrorCode } from '../errors.ts';
import { vmOf, type ProtectedVm } from '../decisions/records.ts';
import type { ForkAnswer, ForkRequest } from '../protocol/api.ts';
import { check } from '../protocol/schema.ts';
import { ownState, VM_DEVICE } from '../vm/own-state.ts';
import type { ClusterNode } from './cluster-node.ts';

type State = Omit<MachineSnapshot, 'spaces'>;

/** What a fork begins with: nothing that was typed at its parent's console; after a power-off no more than the disks. */
function stateOf(parent: ProtectedVm, newest: boolean): (state: State) => State {
  return (state) => {
    const own = ownState(state.devices);
    const off = newest && own.boot < parent.boot;
    return {
      ...state,
      devices: {
        ...state.devices,
        [VM_DEVICE]: { version: 1, state: { boot: off ? 0 : 1, inputs: {} } },
      },
    };
  };
}

const madeSchema = v.object({ checkpoint: v.string() });

const codes: Partial<Record<StorageError['code'], ClusterErrorCode>> = {
  CHECKPOINT_NOT_FOUND: 'NOT_FOUND',
  VM_UNKNOWN: 'CONFLICT',
  FENCED: 'CONFLICT',
  BAD_ARGUMENT: 'BAD_REQUEST',
};

const asClusterError = (error: StorageError): ClusterError =>
  new ClusterError(codes[error.code] ?? 'STORE', error.message, {
    cause: error,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
  });

/**
 * Makes one fork.
 * @throws ClusterError `NOT_FOUND` (VM or checkpoint), `CONFLICT` (the name is in use, or there is no checkpoint yet), `NO_CAPACITY`
 */
export async function forkOf(
  node: ClusterNode,
  parentId: string,
  { id, name, checkpoint, start }: ForkRequest,
): Promise<ForkAnswer> {
  const { agent, store, options } = node;
  const parent = vmOf(agent.list, parentId);
  if (parent === undefined || parent.desired === 'deleted')
    throw new ClusterError('NOT_FOUND', `there is no VM ${parentId}`, { hint: '`vm list` shows them all' });
  const entered = vmOf(agent.list, name)?.spec.origin;
  if (entered !== undefined && agent.list.commands.some((each) => each.id === id && each.error === null))
    return { id, vmId: name, from: entered.checkpoint };
  if (vmOf(agent.list, name) !== undefined)
    throw new ClusterError('CONFLICT', `there is a VM ${name} already, or was: names are not used twice`);
  const owner = `fork ${id}`;
  try {
    const before = (await readOwner(store, name))?.record;
    // Made by this request when it came first.
    const made = before?.owner === owner && before.state === 'released';
    const from = made ? check(madeSchema, before.notes, 'the owner record').checkpoint : await makeFork();
    // In its memory it has its parent's MAC, address and connections, which are its parent's alone: its card is in no network.
    const { network: _network, ...own } = parent.spec;
    const spec = { ...own, origin: { vm: parentId, checkpoint: from } };
    await node.command({ type: 'vm-create', vmId: name, spec, start }, id);
    return { id, vmId: name, from };
  } catch (error) {
    if (isStorageError(error)) throw asClusterError(error);
    // Refused for good: it has no entry in the list, and nobody else would ever collect it.
    if (error instanceof ClusterError && !error.retryable)
      await deleteVm(store, name, { owner: options.name });
    throw error;
  }

  async function makeFork(): Promise<string> {
    const fork = await forkVm(store, parentId, name, {
      owner,
      key: options.key,
      change: stateOf(parent!, checkpoint === undefined),
      ...(checkpoint === undefined ? {} : { id: parseId(checkpoint) }),
    });
    return formatId(fork.from);
  }
}
