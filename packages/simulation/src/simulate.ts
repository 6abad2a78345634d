/** Runs one seed to its end: faults, then quiet, then everything that must run must run (invariant 7). */
import { createHash } from 'node:crypto';
import { messageOf } from '../../cluster/src/errors.ts';
import { Violation } from './checker.ts';
import { planFaults } from './faults.ts';
import { Person } from './person.ts';
import { World } from './world.ts';

export interface Result {
  seed: number;
  violation: { rule: string; message: string; atMs: number } | undefined;
  endMs: number;
  nodes: number;
  takeovers: number;
  /** By policies that take nothing back; and takeovers with what only a standby had. */
  outputs: number;
  leads: number;
  /** That peers outside heard, and connections of theirs that takeovers ended. */
  frames: number;
  ended: number;
  /** Moves that even out how full nodes are. */
  balanced: number;
  messages: number;
  /** Of every line of the trace; only when traced. */
  digest: string | undefined;
}

const faultsFromMs = 3000;
const faultsUntilMs = 24_000;
/** How long after the last fault everything must be well again. */
const boundMs = 60_000;
const wellForMs = 3000;

/** The rule that an error says was broken; `fault`: an assertion of the cluster's own code. Undefined: it says something else. */
function ruleOf(error: unknown): string | undefined {
  if (error instanceof Violation) return error.rule;
  return messageOf(error).startsWith('a fault of Revenant: ') ? 'fault' : undefined;
}

/** @param outputs guests are given inputs, and what they say leaves by policies */
export function simulate(seed: number, onTrace?: (line: string) => void, outputs = false): Result {
  const world = new World(seed, { outputs });
  const digest = onTrace === undefined ? undefined : createHash('sha256');
  if (onTrace !== undefined) {
    world.onTrace = (line) => {
      digest?.update(`${line}\n`);
      onTrace(line);
    };
  }
  const person = new Person(world);
  world.scheduler.after(1500, () => person.begin(faultsUntilMs));
  planFaults(world, faultsFromMs, faultsUntilMs);
  world.scheduler.after(faultsUntilMs, () => person.settle());
  let violation: Result['violation'];
  try {
    runToEnd(world, person);
  } catch (error) {
    const rule = ruleOf(error);
    if (rule === undefined) throw error;
    violation = { rule, message: messageOf(error), atMs: world.scheduler.now };
    world.trace(`VIOLATION ${violation.message}`);
  }
  return {
    seed,
    violation,
    endMs: world.scheduler.now,
    nodes: world.nodes.size,
    takeovers: world.checker.failovers,
    outputs: world.checker.outputs,
    leads: world.checker.leads,
    frames: world.checker.lan.frames,
    ended: world.checker.lan.ended,
    balanced: world.checker.balance.moves,
    messages: world.messages,
    digest: digest?.digest('hex'),
  };
}

function runToEnd(world: World, person: Person): void {
  const { scheduler } = world;
  let wellSince: number | undefined;
  let ended = false;
  const look = (): void => {
    const trouble = unwell(world, person);
    if (trouble === undefined) wellSince ??= scheduler.now;
    else wellSince = undefined;
    if (wellSince !== undefined && scheduler.now - wellSince >= wellForMs) ended = true;
    if (trouble !== undefined && scheduler.now > faultsUntilMs + boundMs)
      throw new Violation('liveness', trouble);
    scheduler.after(250, look);
  };
  scheduler.after(faultsUntilMs + 1, look);
  while (!ended && scheduler.step());
}

/** What is not as it must be, or undefined. */
function unwell(world: World, person: Person): string | undefined {
  const { checker, scheduler, nodes } = world;
  if (person.open) return 'a command was never answered';
  const { list } = checker;
  if (list === undefined) return 'there is no protected list';
  person.check(list);
  const masters = [...nodes.values()].filter(({ agent }) => agent.master !== undefined);
  if (masters.length !== 1) return `${String(masters.length)} masters`;
  const [master] = masters;
  for (const peer of master!.agent.peers.values())
    if (peer.state !== 'alive' && peer.state !== 'maintenance')
      return `the master sees ${peer.id} as ${peer.state}: ${peer.reason}`;
  for (const vm of Object.values(list.vms)) {
    if (vm.id === world.poisoned && vm.desired === 'running') {
      if (vm.status !== 'failed' && !placeless(vm.reason))
        return `${vm.id} breaks or ends nodes again and again, and is ${vm.status}`;
      continue;
    }
    const ranAgo = scheduler.now - (checker.lastRun.get(vm.id) ?? -Infinity);
    if (vm.desired === 'running') {
      if (vm.status !== 'running' && !placeless(vm.reason)) return `${vm.id} is ${vm.status}: ${vm.reason}`;
      if (vm.status === 'running' && ranAgo > 1000) return `${vm.id} does not run, though the list says so`;
    } else if (vm.status !== vm.desired) return `${vm.id} is ${vm.status}, wanted ${vm.desired}`;
  }
  return undefined;
}

/** More VMs of one anti-affinity group than nodes that can read their state: rightly waiting. */
const placeless = (reason: string): boolean =>
  /^no node fits: (\d+ (with one of its group|with another key than its state|unable to read its state)(, )?)+$/.test(
    reason,
  );
