/**
 * Standbys of VMs: the master says in the protected list which session follows a VM; that session does, and the VM's owner
 * feeds it. An owner that lets outputs out on the word of its standby notes that in the VM's owner record first, and whoever would take the
 * VM over then leaves it to that standby for as long as its session stands.
 */
import { expected } from './expected.ts';
import { vmOf, type NodeRecord, type NodeSession, type OwnerView, type ProtectedVm } from './records.ts';
import { log, type Context } from './state.ts';
import type { LocalVm } from './types.ts';
import type { StandbyCondition } from '../protocol/records.ts';

const sameSession = (a: NodeSession | undefined, b: NodeSession | undefined): boolean =>
  a?.node === b?.node && a?.incarnation === b?.incarnation;

/** The session that follows a VM which runs here, if it is another's. */
export function feedStandby(context: Context, local: LocalVm, vm: ProtectedVm): void {
  const standby = vm.standby?.node === context.state.id ? undefined : vm.standby;
  if (sameSession(standby, local.standby)) return;
  local.standby = standby;
  if (standby === undefined) local.standbyCondition = undefined;
  context.out.push({ type: 'set-standby', vmId: vm.id, epoch: local.epoch, standby });
}

export function standbyChanged(
  context: Context,
  { vmId, epoch, condition }: { vmId: string; epoch: number; condition: StandbyCondition | undefined },
): void {
  const local = context.state.local.get(vmId);
  if (local?.epoch === epoch) local.standbyCondition = condition;
}

/** What this session follows: as a VM's standby, or as it would be given the VM, whose node is silent. Until it takes it over. */
export function followOthers(context: Context): void {
  const { state } = context;
  const ours: NodeSession = { node: state.id, incarnation: state.incarnation };
  const followed = new Map(state.followed);
  const coming = new Set(expected(context).map(({ id }) => id));
  for (const vm of Object.values(state.list.vms)) {
    const wanted = vm.desired === 'running' || vm.desired === 'paused';
    const isStandby = sameSession(vm.standby, ours);
    if (!wanted || !(isStandby || coming.has(vm.id)) || state.local.has(vm.id) || state.phase !== 'active')
      continue;
    if (followed.get(vm.id) === vm.boot) continue;
    followed.set(vm.id, vm.boot);
    context.out.push({ type: 'stand-by', vm, source: isStandby ? 'owner' : 'store' });
    const reason = isStandby ? 'the protected list says so' : 'its node is silent: it may have to go on here';
    log(context, { event: 'standby-begins', vm: vm.id, node: state.id, reason });
  }
  for (const vmId of [...followed.keys()]) {
    const vm = vmOf(state.list, vmId);
    const isOurs = vm?.assignment?.node === state.id || state.local.has(vmId);
    const isWanted = isOurs || coming.has(vmId) || sameSession(vm?.standby, ours);
    if (vm !== undefined && isWanted && vm.desired !== 'stopped') {
      if (state.local.get(vmId)?.phase === 'running') followed.delete(vmId);
      continue;
    }
    followed.delete(vmId);
    context.out.push({ type: 'stand-down', vmId });
  }
  if (!sameKeys(followed, state.followed)) state.followed = followed;
}

function sameKeys(a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): boolean {
  return a.size === b.size && [...a].every(([name, boot]) => b.get(name) === boot);
}

/** The session, not ours, without which nobody may take this VM from its owner, as far as is known. */
function keeperOf(context: Context, owner: OwnerView): NodeSession | undefined {
  const { id, incarnation } = context.state;
  if (owner.state === 'deleted' || owner.standby === undefined) return undefined;
  return sameSession(owner.standby, { node: id, incarnation }) ? undefined : owner.standby;
}

/** Whether a session stands, by the record of its node. */
export const stands = (session: NodeSession, record: NodeRecord | undefined): boolean =>
  record?.incarnation === session.incarnation && record.state === 'active';

/** Whether a VM may be taken as far as standbys go; else the record of the one that may hold the rest is asked for. */
export function isFree(context: Context, { vmId, attempt }: LocalVm, owner: OwnerView): boolean {
  const keeper = keeperOf(context, owner);
  if (keeper === undefined) return true;
  const purpose = { kind: 'standby-node', vmId, attempt, owner } as const;
  context.out.push({ type: 'get-record', node: keeper.node, purpose });
  return false;
}
