/** When VMs move by themselves from crowded nodes to emptier ones, and when not. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  applyCommand,
  assignments,
  host,
  hostsOf,
  listOf,
  plan,
  settings,
  timers,
} from '../../test-support/decisions.ts';
import type { HostSight } from './failover.ts';
import type { ProtectedList, ProtectedVm, VmSpec } from './records.ts';

const calm = settings.balanceAfterMs;

/** VMs of 100 MiB, all of them on node a, where they run well. */
function crowded(names: readonly string[], spec: Partial<VmSpec> = {}): ProtectedList {
  return changed(listOf(...names.map((id): [string, Partial<VmSpec>] => [id, spec])), {
    status: 'running',
    attempt: 1,
    proven: true,
    assignment: { node: 'a', incarnation: 1, attempt: 1 },
  });
}

const changed = (list: ProtectedList, change: Partial<ProtectedVm>): ProtectedList => ({
  ...list,
  vms: Object.fromEntries(Object.values(list.vms).map((vm) => [vm.id, { ...vm, ...change }])),
});

/** A node with a view that says what runs there. */
function withVms(list: ProtectedList, id: string, change: Partial<HostSight> = {}): HostSight {
  const powerOn = Object.values(list.vms)
    .filter(({ assignment }) => assignment?.node === id)
    .map(({ id: vmId, attempt }) => ({ vmId, epoch: 1, attempt, state: 'running' as const }));
  return host(id, { view: { ...host(id).view!, powerOn }, ...change });
}

interface Course {
  list: ProtectedList;
  events: (readonly [string, string | undefined, string | undefined])[];
}

/** What the master does by itself in so long, its nodes doing at once what it says. */
function course(
  list: ProtectedList,
  change: Readonly<Record<string, Partial<HostSight>>> = {},
  { ids = ['a', 'b'], ms = 20 * calm }: { ids?: readonly string[]; ms?: number } = {},
): Course {
  const kept = timers();
  const events: Course['events'] = [];
  let now = 0;
  let given = list;
  for (; now <= ms; now += calm / 4) {
    const hosts = hostsOf(...ids.map((id) => withVms(given, id, { seenAt: now, ...change[id] })));
    const planned = plan({ list: given, hosts, timers: kept, now, settings });
    given = planned.list;
    events.push(...planned.log.map(({ event, vm, node }) => [event, vm, node] as const));
  }
  return { list: given, events };
}

const moves = ({ events }: Course): number => events.filter(([event]) => event === 'vm-rebalancing').length;

describe('nodes that even themselves out', () => {
  test('one VM after the other moves until the crowded node is no longer clearly fuller, and says why', () => {
    const { list, events } = course(crowded(['v1', 'v2', 'v3', 'v4', 'v5']));
    assert.deepEqual(assignments(list), { v1: 'b', v2: 'b', v3: 'a', v4: 'a', v5: 'a' });
    assert.deepEqual(events, [
      ['vm-rebalancing', 'v1', 'b'],
      ['vm-running', 'v1', 'b'],
      ['vm-rebalancing', 'v2', 'b'],
      ['vm-running', 'v2', 'b'],
    ]);
    assert.equal(
      list.vms['v1']!.reason,
      'moving from a to b: balance: 50 % of the room of a is taken, 0 % of that of b',
    );
  });

  test('none moves before the cluster was calm for so long, nor two at once', () => {
    const list = crowded(['v1', 'v2', 'v3', 'v4']);
    assert.equal(moves(course(list, {}, { ms: calm * 0.75 })), 0);
    const first = course(list, {}, { ms: calm });
    assert.equal(moves(first), 1);
    // It is on its way and does not arrive.
    const hosts = hostsOf(withVms(first.list, 'a'), host('b'));
    const kept = { ...timers(), calmSince: 0 };
    const later = plan({ list: first.list, hosts, timers: kept, now: settings.startTimeoutMs / 2, settings });
    assert.deepEqual(later.list, first.list);
  });

  test('room counts, not memory: a large node takes more than a small one', () => {
    const names = ['v1', 'v2', 'v3', 'v4', 'v5', 'v6'];
    const small = course(crowded(names), { a: { capacity: { memoryMiB: 10_000 } } });
    assert.equal(moves(small), 0, 'a is nearly empty');
    const large = course(crowded(names), { b: { capacity: { memoryMiB: 10_000 } } });
    assert.equal(moves(large), 5, 'until a has a tenth of its room taken');
  });

  const list = crowded(['v1', 'v2', 'v3', 'v4']);
  const debugged = (state: ProtectedList): Partial<HostSight> => ({
    view: {
      ...host('a').view!,
      powerOn: withVms(state, 'a').view!.powerOn.map((entry) => ({ ...entry, debugged: true as const })),
    },
  });
  const other = (id: string, change: Partial<HostSight>): Course =>
    course(list, { [id]: { ...host(id), ...change } }, { ids: ['a', 'b', 'c'] });
  for (const [why, quiet] of [
    ['failover is disarmed', () => course(applyCommand(list, { type: 'disarm', reason: 'work' }, []))],
    ['it is switched off', () => course(applyCommand(list, { type: 'balancing', automatic: false }, []))],
    ['a node is drained', () => other('c', { state: 'maintenance' })],
    ['a node is about to be fenced', () => other('c', { state: 'dead' })],
    ['a node is cut off', () => other('c', { state: 'partitioned' })],
    ['a node is short of memory', () => other('c', { pressure: 'memory' })],
    [
      'they may run nowhere else',
      () => course(changed(list, { spec: { ...list.vms['v1']!.spec, nodes: ['a'] } })),
    ],
    ['they prefer where they are', () => course(crowded(['v1', 'v2', 'v3', 'v4'], { prefers: ['a'] }))],
    ['they belong together', () => course(crowded(['v1', 'v2', 'v3', 'v4'], { affinity: 'pair' }))],
    [
      'their standbys are there',
      () =>
        course(
          changed(crowded(['v1', 'v2', 'v3', 'v4'], { outputs: 'log', standby: true }), {
            standby: { node: 'b', incarnation: 1 },
          }),
          { b: { capacity: { memoryMiB: 100_000 } } },
        ),
    ],
    ['debuggers are at them', () => course(list, { a: debugged(list) })],
    ['they are paused', () => course(changed(list, { desired: 'paused', status: 'paused' }))],
  ] as const)
    test(`none moves by itself while ${why}`, () => {
      assert.equal(moves(course(list)), 1, 'as it would else');
      assert.equal(moves(quiet()), 0);
    });

  test('a node that is over, and a VM that fits nowhere, are no reason to wait', () => {
    const gone = host('c', { state: 'dead', record: 'fenced' });
    assert.equal(moves(course(list, { c: gone }, { ids: ['a', 'b', 'c'] })), 1);
    const large = applyCommand(
      list,
      { type: 'vm-create', vmId: 'big', spec: { ...list.vms['v1']!.spec, memoryMiB: 5000 }, start: true },
      [],
    );
    assert.equal(moves(course(large)), 1);
  });

  test('who is switched on again moves', () => {
    const off = applyCommand(list, { type: 'balancing', automatic: false }, []);
    assert.equal(off.balancing, 'off');
    const on = applyCommand(off, { type: 'balancing', automatic: true }, []);
    assert.equal('balancing' in on, false);
    assert.equal(moves(course(on)), 1);
  });
});

describe('the command rebalance', () => {
  const nodes = [host('a'), host('b')];
  const moved = (spec: Partial<VmSpec>, names = ['v1', 'v2']): number =>
    Object.values(assignments(applyCommand(crowded(names, spec), { type: 'rebalance' }, nodes))).filter(
      (node) => node === 'b',
    ).length;

  test('moves until it no longer helps, at once, by the rules', () => {
    assert.equal(moved({}, ['v1', 'v2', 'v3', 'v4']), 2);
    assert.equal(moved({}), 1);
    assert.equal(moved({ nodes: ['a'] }), 0);
    assert.equal(moved({ prefers: ['a'] }), 0);
    assert.equal(moved({ affinity: 'pair' }), 0);
    const failed = changed(crowded(['v1', 'v2']), { avoid: ['b'] });
    assert.deepEqual(assignments(applyCommand(failed, { type: 'rebalance' }, nodes)), { v1: 'a', v2: 'a' });
  });

  test('what it moved counts for what it moves next', () => {
    // Each alone would fit on b, two of one group would not.
    assert.equal(moved({ antiAffinity: 'group' }, ['v1', 'v2', 'v3', 'v4', 'v5', 'v6']), 1);
    const list = crowded(['v1', 'v2', 'v3', 'v4', 'v5', 'v6', 'v7', 'v8']);
    const narrow = host('b', { capacity: { memoryMiB: 150 } });
    const after = assignments(applyCommand(list, { type: 'rebalance' }, [host('a'), narrow]));
    assert.equal(Object.values(after).filter((node) => node === 'b').length, 1);
  });
});
