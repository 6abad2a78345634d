/** What people ask for. Each command is one change of the protected list, done by the master and answered once it is stored. */
import { ClusterError } from '../errors.ts';
import { rebalanced } from './balance.ts';
import { maxListBytes, maxNodes, maxVms } from '../protocol/limits.ts';
import { check } from '../protocol/schema.ts';
import { commandSchema, keepsLog, type Command, type VmSpec } from '../protocol/spec.ts';
import {
  maxCommandAnswers,
  vmOf,
  type CommandAnswer,
  type ProtectedList,
  type ProtectedVm,
} from './records.ts';
import { moveTo, withVm } from './moves.ts';
import { createNetwork, deleteNetwork, newNic } from './networks.ts';
import { place, whyNeverFits, type Host } from './placement.ts';

export type { Command };

/** Commands that change what is wanted. The others need nodes that run. */
const needsNodes: ReadonlySet<Command['type']> = new Set(['vm-migrate', 'rebalance']);

/**
 * A command carried out on the stored list itself, where no master answers: by conditional put, so that a master that is there after all
 * finds it done, as a new one does. `list`: what is to be put, or undefined when this id is answered already.
 * Throws as `applyCommand`, and `UNREACHABLE` for a command that only nodes can carry out.
 */
export function commandStored(
  list: ProtectedList,
  { id, command }: { id: string; command: Command },
  hosts: readonly Host[],
): { list: ProtectedList | undefined; answer: CommandAnswer } {
  const known = list.commands.find((answer) => answer.id === id);
  if (known !== undefined) return { list: undefined, answer: known };
  if (needsNodes.has(command.type))
    throw new ClusterError('UNREACHABLE', `${command.type}: no node answers, and only nodes can move a VM`, {
      hint: 'start one: `revenant node …`',
    });
  const answer = { id, error: null };
  const next = withAnswers(applyCommand(list, command, hosts), [answer]);
  return { list: { ...next, revision: list.revision + 1 }, answer };
}

const namePattern = /^[a-z0-9][a-z0-9._-]{0,62}$/;
const jsonBytes = (value: unknown): number => new TextEncoder().encode(JSON.stringify(value)).length;

/** The list after a command. Throws a ClusterError (`NOT_FOUND`, `CONFLICT`, `BAD_REQUEST`, `NO_CAPACITY`) when it does not fit. */
export function applyCommand(list: ProtectedList, command: Command, hosts: readonly Host[]): ProtectedList {
  checkCommand(command);
  switch (command.type) {
    case 'vm-create':
      return create(list, command, hosts);
    case 'vm-set': {
      const vm = requireVm(list, command.vmId);
      const { outputs = vm.spec.outputs, standby = vm.spec.standby ?? false } = command;
      const { storeQuotaBytes = vm.spec.storeQuotaBytes ?? null } = command;
      const { standby: _standby, storeQuotaBytes: _quota, ...rest } = withRules(vm.spec, command);
      const spec = {
        ...{ ...rest, outputs },
        ...(standby ? { standby } : {}),
        ...(storeQuotaBytes === null ? {} : { storeQuotaBytes }),
      };
      checkStandby(spec);
      return withVm(list, { ...vm, spec });
    }
    case 'vm-migrate':
      return migrate(list, command.vmId, command.to, hosts);
    case 'drain':
      requireNode(hosts, command.node);
      return list.maintenance.includes(command.node)
        ? list
        : { ...list, maintenance: [...list.maintenance, command.node] };
    case 'undrain':
      return { ...list, maintenance: list.maintenance.filter((id) => id !== command.node) };
    case 'disarm':
      return { ...list, disarmed: command.reason };
    case 'arm': {
      const { disarmed: _disarmed, ...armed } = list;
      return armed;
    }
    case 'node-remove':
      return removeNode(list, command, hosts);
    case 'rebalance':
      return rebalanced(list, hosts, 16);
    case 'balancing': {
      const { balancing: _balancing, ...rest } = list;
      return command.automatic ? rest : { ...rest, balancing: 'off' };
    }
    case 'network-create':
      return createNetwork(list, command.network, command.spec);
    case 'network-delete':
      return deleteNetwork(list, command.network);
    default:
      return changeDesire(list, command, hosts);
  }
}

/** A spec with the rules of placement that a command changes. */
function withRules(spec: VmSpec, command: Extract<Command, { type: 'vm-set' }>): VmSpec {
  const { nodes, prefers, affinity, antiAffinity, ...rest } = spec;
  const rules = { nodes, prefers, affinity, antiAffinity };
  const kept = Object.entries(rules).flatMap(([name, before]) => {
    const { [name as keyof typeof rules]: wanted = before } = command;
    return wanted === undefined || wanted === null ? [] : [[name, wanted]];
  });
  return { ...rest, ...(Object.fromEntries(kept) as typeof rules) } as VmSpec;
}

/** Throws `NO_CAPACITY` for a VM that would wait for ever. */
function requireRoom(vmId: string, { memoryMiB, nodes }: VmSpec, hosts: readonly Host[]): void {
  const why = whyNeverFits(
    memoryMiB,
    nodes === undefined ? hosts : hosts.filter(({ id }) => nodes.includes(id)),
  );
  if (why !== undefined)
    throw new ClusterError('NO_CAPACITY', `${vmId}: ${why}`, {
      hint: 'give it less, or start a node with more (revenant node --memory-mib)',
    });
}

/** Commands come from outside. Throws `BAD_REQUEST` for one that has not the shape of its type. */
export function checkCommand(given: unknown): Command {
  return check(commandSchema, given, 'the command', 'BAD_REQUEST');
}

/** Throws `BAD_REQUEST` for a VM that is to be followed though nothing says what comes in. */
function checkStandby({ outputs, standby }: VmSpec): void {
  if (standby === true && !keepsLog(outputs))
    throw new ClusterError(
      'BAD_REQUEST',
      `a standby follows the log of what comes in, and with the output policy ${outputs} none is kept`,
      {
        hint: 'use the policy log or standby, or no standby',
      },
    );
}

/** The deleted VM that had a name, if there was one. Throws `CONFLICT` for a name in use, `BUSY` while what had it is not gone yet. */
function requireFree(list: ProtectedList, vmId: string): ProtectedVm | undefined {
  const before = vmOf(list, vmId);
  if (before === undefined) return undefined;
  if (before.desired !== 'deleted') throw new ClusterError('CONFLICT', `there is a VM ${vmId} already`);
  if (before.status !== 'deleted') throw new ClusterError('BUSY', `the VM ${vmId} is still being deleted`);
  if (before.tombstone === undefined)
    throw new ClusterError('CONFLICT', `the VM ${vmId} was deleted by an earlier release`, {
      hint: 'take another name',
    });
  return before;
}

/** Throws `CONFLICT` for a node that is there, `NO_CAPACITY` when there are too many. */
function removeNode(
  list: ProtectedList,
  { node, incarnation }: Extract<Command, { type: 'node-remove' }>,
  hosts: readonly Host[],
): ProtectedList {
  const here = hosts.find(({ id }) => id === node);
  if (here !== undefined && (here.state === 'alive' || here.incarnation > incarnation))
    throw new ClusterError('CONFLICT', `${node} is ${here.state}: only a node that is over can be removed`, {
      hint: 'stop it first',
    });
  const removed = { ...list.removed, [node]: incarnation };
  if (Object.keys(removed).length > maxNodes)
    throw new ClusterError('NO_CAPACITY', `${String(maxNodes)} nodes were removed already`);
  return { ...list, removed, maintenance: list.maintenance.filter((id) => id !== node) };
}

function create(
  list: ProtectedList,
  command: Extract<Command, { type: 'vm-create' }>,
  hosts: readonly Host[],
): ProtectedList {
  const { vmId, spec, start } = command;
  if (!namePattern.test(vmId))
    throw new ClusterError('BAD_REQUEST', `${JSON.stringify(vmId)} is no name for a VM`, {
      hint: 'use 1 to 63 lower-case letters, digits, dots, underscores or hyphens',
    });
  const before = requireFree(list, vmId);
  checkStandby(spec);
  const { runtime } = spec;
  if (hosts.length > 0 && hosts.every(({ runtimes }) => runtimes?.includes(runtime) === false))
    throw new ClusterError('BAD_REQUEST', `no node has the runtime ${JSON.stringify(runtime.slice(0, 64))}`);
  if (start) requireRoom(vmId, spec, hosts);
  const nic = newNic(list, vmId, spec, command.nic);
  const vm: ProtectedVm = {
    id: vmId,
    spec,
    ...(nic === undefined ? {} : { nic }),
    desired: start ? 'running' : 'stopped',
    boot: 1,
    status: start ? 'pending' : 'stopped',
    reason: 'created',
    assignment: null,
    // Attempts are told apart by their number alone, also those of the VM that had the name before.
    attempt: before?.attempt ?? 0,
    ...(before?.tombstone === undefined ? {} : { revives: before.tombstone }),
    tries: 0,
    avoid: [],
    moving: false,
  };
  const full = ({ vms }: ProtectedList): boolean =>
    Object.keys(vms).length > maxVms || jsonBytes(vms) > maxListBytes;
  const next = withVm(list, vm);
  if (!full(next)) return next;
  // Deleted VMs have a tombstone in the store besides.
  const rest = Object.entries(next.vms).filter(([, { status }]) => status !== 'deleted');
  const pruned = { ...next, vms: Object.fromEntries(rest) };
  if (full(pruned)) throw new ClusterError('NO_CAPACITY', 'the protected list is full');
  return pruned;
}

function changeDesire(
  list: ProtectedList,
  command: Extract<Command, { type: 'vm-start' | 'vm-stop' | 'vm-pause' | 'vm-resume' | 'vm-delete' }>,
  hosts: readonly Host[],
): ProtectedList {
  const vm = requireVm(list, command.vmId);
  switch (command.type) {
    case 'vm-start': {
      // Also the way out of `failed`.
      const { desired, status } = vm;
      if (desired === 'running' && status !== 'failed') return list;
      if (status === 'stopping')
        throw new ClusterError('CONFLICT', `${vm.id} is still stopping`, { retryable: true });
      requireRoom(vm.id, vm.spec, hosts);
      const stands = status === 'paused' || status === 'running' || status === 'starting';
      const { exitStatus: _exitStatus, ...again } = vm;
      return withVm(list, {
        ...again,
        desired: 'running',
        status: stands ? status : 'pending',
        reason: 'started by a person',
        tries: 0,
        avoid: [],
        ended: [],
        unreadable: [],
      });
    }
    case 'vm-stop':
      if (vm.desired === 'stopped') return list;
      return withVm(list, {
        ...vm,
        desired: 'stopped',
        status: 'stopping',
        boot: vm.boot + 1,
        reason: 'powered off by a person',
      });
    case 'vm-delete':
      return withVm(list, { ...vm, desired: 'deleted', status: 'stopping', reason: 'deleted by a person' });
    case 'vm-pause':
      if (vm.desired !== 'running' && vm.desired !== 'paused')
        throw new ClusterError('CONFLICT', `${vm.id} is ${vm.desired}`);
      return withVm(list, { ...vm, desired: 'paused', reason: 'paused by a person' });
    case 'vm-resume':
      if (vm.desired !== 'running' && vm.desired !== 'paused')
        throw new ClusterError('CONFLICT', `${vm.id} is ${vm.desired}`, { hint: 'use `vm start`' });
      return withVm(list, { ...vm, desired: 'running', reason: 'resumed by a person' });
  }
}

function migrate(
  list: ProtectedList,
  vmId: string,
  to: string | undefined,
  hosts: readonly Host[],
): ProtectedList {
  const vm = requireVm(list, vmId);
  if (vm.assignment === null || (vm.status !== 'running' && vm.status !== 'paused') || vm.moving)
    throw new ClusterError(
      'CONFLICT',
      `${vmId} is ${vm.moving ? 'moving' : vm.status}: only a running VM can be moved`,
    );
  const from = vm.assignment.node;
  const candidates = hosts.filter((host) => host.id !== from && (to === undefined || host.id === to));
  if (to !== undefined && candidates.length === 0)
    throw new ClusterError(
      'NOT_FOUND',
      from === to ? `${vmId} is on ${to} already` : `there is no node ${to}`,
    );
  const chosen = place({ vm, hosts: candidates, vms: Object.values(list.vms), resumesPerNode: Infinity });
  if (chosen.host === undefined) throw new ClusterError('NO_CAPACITY', `${vmId}: ${chosen.reason}`);
  return moveTo(list, vm, chosen.host, 'asked by a person');
}

export function withAnswers(list: ProtectedList, answers: readonly CommandAnswer[]): ProtectedList {
  return answers.length === 0
    ? list
    : { ...list, commands: [...list.commands, ...answers].slice(-maxCommandAnswers) };
}

function requireVm(list: ProtectedList, vmId: string): ProtectedVm {
  const vm = vmOf(list, vmId);
  if (vm === undefined || vm.desired === 'deleted')
    throw new ClusterError('NOT_FOUND', `there is no VM ${vmId}`, { hint: '`vm list` shows them all' });
  return vm;
}

function requireNode(hosts: readonly Host[], id: string): void {
  if (!hosts.some((host) => host.id === id))
    throw new ClusterError('NOT_FOUND', `there is no node ${id}`, { hint: '`cluster nodes` shows them all' });
}
