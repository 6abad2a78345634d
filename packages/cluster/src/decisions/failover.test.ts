/** Placement of VMs on hosts, and what becomes of them when a host fails. */
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
import { place } from './placement.ts';
import { type HostSight } from './failover.ts';
import { type ProtectedList, type ProtectedVm, type VmSpec } from './records.ts';

/** The list with all of its VMs running on a node. */
const running = (list: ProtectedList, node: string): ProtectedList => {
  const vms = Object.values(list.vms).map((vm) => ({
    ...vm,
    status: 'running' as const,
    attempt: 1,
    assignment: { node, incarnation: 1, attempt: 1 },
  }));
  return { ...list, vms: Object.fromEntries(vms.map((vm) => [vm.id, vm])) };
};

describe('placement', () => {
  test('takes the node with most memory left, and keeps a group apart', () => {
    const group = { antiAffinity: 'g', memoryMiB: 400 };
    const list = listOf(['v1', group], ['v2', group], ['v3', group]);
    const result = plan({ list, hosts: hostsOf(host('a'), host('b')), timers: timers(), now: 0, settings });
    assert.deepEqual(assignments(result.list), { v1: 'a', v2: 'b', v3: undefined });
    assert.match(result.list.vms['v3']!.reason, /2 with one of its group/);
  });

  test('passes over nodes that are dead, full, short of something or in maintenance', () => {
    const hosts = [
      host('a', { state: 'dead' }),
      host('b', { capacity: { memoryMiB: 50 } }),
      host('c', { pressure: 'disk' }),
      host('d', { state: 'maintenance' }),
    ];
    const vm = listOf(['v1', {}]).vms['v1']!;
    const result = place({ vm, hosts, vms: [vm], resumesPerNode: 4 });
    assert.equal(result.host, undefined);
    assert.match(
      'reason' in result ? result.reason : '',
      /1 dead, 1 without enough memory, 1 short of disk, 1 maintenance/,
    );
  });

  test('keeps a VM on the nodes that it may use, on those that it prefers while one has room, and a group together', () => {
    const hosts = [host('a'), host('b', { capacity: { memoryMiB: 500 } }), host('c', { state: 'dead' })];
    const chosen = (spec: Partial<VmSpec>, others: ProtectedVm[] = []): string => {
      const vm = listOf(['v', spec]).vms['v']!;
      const result = place({ vm, hosts, vms: [vm, ...others], resumesPerNode: 4 });
      return result.host === undefined ? result.reason : result.host.id;
    };
    assert.equal(chosen({}), 'a');
    assert.equal(chosen({ nodes: ['b'] }), 'b');
    assert.equal(chosen({ nodes: ['c'] }), 'no node fits: 2 outside of the nodes that it may use, 1 dead');
    assert.equal(chosen({ prefers: ['c', 'b'] }), 'b');
    assert.equal(chosen({ prefers: ['c'] }), 'a');
    assert.equal(chosen({ prefers: ['b'], memoryMiB: 600 }), 'a');
    const kin = { ...listOf(['kin', { affinity: 'pair', memoryMiB: 100 }]).vms['kin']! };
    const onB = { ...kin, status: 'running' as const, assignment: { node: 'b', incarnation: 1, attempt: 1 } };
    assert.equal(chosen({ affinity: 'pair' }, [onB]), 'b');
    assert.equal(chosen({ affinity: 'other' }, [onB]), 'a');
    assert.equal(chosen({ affinity: 'pair', memoryMiB: 450 }, [onB]), 'a');
  });

  test('a VM whose rules change leaves a node that it may not use, or says why it stays', () => {
    const [a, b] = [host('a'), host('b')];
    const list = running(listOf(['v1', {}], ['v2', {}]), 'a');
    const set = { type: 'vm-set' as const, vmId: 'v1', nodes: ['b'] };
    const changed = applyCommand(list, set, [a, b]);
    const away = plan({ list: changed, hosts: hostsOf(a, b), timers: timers(), now: 0, settings });
    assert.deepEqual(assignments(away.list), { v1: 'b', v2: 'a' });
    assert.match(away.list.vms['v1']!.reason, /a is none of the nodes that v1 may use/);
    const alone = plan({ list: changed, hosts: hostsOf(a), timers: timers(), now: 0, settings });
    assert.deepEqual(assignments(alone.list), { v1: 'a', v2: 'a' });
    assert.match(alone.log[0]!.reason!, /a is none of the nodes that v1 may use, but no node fits/);
    const back = { type: 'vm-set' as const, vmId: 'v1', nodes: null };
    const free = applyCommand(alone.list, back, [a, b]);
    assert.equal(free.vms['v1']!.spec.nodes, undefined);
    assert.equal(
      plan({ list: free, hosts: hostsOf(a), timers: timers(), now: 0, settings }).list.vms['v1']!.stays,
      undefined,
    );
  });

  test('passes over nodes that lack the runtime, or can not read the state', () => {
    const form = (key: string | null, format = 1): { key: string | null; format: number } => ({
      key,
      format,
    });
    const hosts = [
      host('a', { reads: form(null) }),
      host('b', { reads: form('other') }),
      host('c', { reads: form('key', 1) }),
      host('d', { reads: form('key', 3), runtimes: ['constructor'] }),
      host('e', { reads: form('key', 3), incarnation: 2 }),
    ];
    const vm = {
      ...listOf(['v1', {}]).vms['v1']!,
      state: form('key', 2),
      unreadable: [{ node: 'e', incarnation: 2 }],
    };
    const result = place({ vm, hosts, vms: [vm], resumesPerNode: 4 });
    assert.equal(
      'reason' in result ? result.reason : '',
      'no node fits: 1 without the key of its state, 1 with another key than its state, 1 too old for the format of its state, 1 without the runtime chain, 1 unable to read its state',
    );
    const next = host('e', { reads: form('key', 3), incarnation: 3 });
    assert.equal(place({ vm, hosts: [...hosts, next], vms: [vm], resumesPerNode: 4 }).host, next);
  });
});

describe('failover', () => {
  test('VMs of a fenced host are restarted in order of priority, four at once per node', () => {
    const names = ['v1', 'v2', 'v3', 'v4', 'v5', 'v6'];
    const list = running(
      listOf(...names.map((id, i): [string, Partial<VmSpec>] => [id, { priority: i }])),
      'a',
    );
    const hosts = hostsOf(host('a', { record: 'fenced', state: 'dead' }), host('b'));
    const result = plan({ list, hosts, timers: timers(), now: 0, settings });
    const assigned = result.log.filter(({ event }) => event === 'vm-assigned').map(({ vm }) => vm);
    assert.deepEqual(assigned, ['v6', 'v5', 'v4', 'v3']);
  });

  test('a partitioned host keeps its VMs', () => {
    const list = running(listOf(['v1', {}]), 'a');
    const hosts = hostsOf(host('a', { state: 'partitioned' }), host('b'));
    const result = plan({ list, hosts, timers: timers(), now: 0, settings });
    assert.equal(result.list.vms['v1']!.assignment?.node, 'a');
  });

  test('five tries with growing pauses, then failed', () => {
    let list = listOf(['v1', {}]);
    const own = timers();
    let now = 0;
    const pauses: number[] = [];
    for (let i = 0; i < 40 && list.vms['v1']!.status !== 'failed'; i++, now += 500) {
      const vm = list.vms['v1']!;
      const reports = [{ vmId: 'v1', attempt: vm.attempt, kind: 'failed' as const, reason: 'broke' }];
      const view = { ...host('a').view!, reports };
      const hosts = hostsOf(host('a', { view }), host('b', { view }));
      const result = plan({ list, hosts, timers: own, now, settings });
      for (const entry of result.log)
        if (entry.event === 'vm-failed') pauses.push(Number(entry.details?.['pauseMs']));
      list = result.list;
    }
    assert.equal(list.vms['v1']!.status, 'failed');
    assert.match(list.vms['v1']!.reason, /gave up after 5 tries/);
    assert.deepEqual(pauses, [0, 2000, 4000, 8000]);
  });

  test('a VM that ends its nodes is left alone; one that only shared a node with it is not', () => {
    let list = listOf(['bad', {}], ['well', {}]);
    const own = timers();
    const shortSettings = { ...settings, checkpointMs: 100 };
    let [now, incarnation, ends, startedAt] = [0, 1, 0, Infinity];
    // One node, which is started again each time. `bad` ends it a second after it was started.
    for (; now < 120_000 && list.vms['bad']!.status !== 'failed'; now += 100) {
      if (now - startedAt > 1000) [startedAt, incarnation, ends] = [Infinity, incarnation + 1, ends + 1];
      const here = Object.values(list.vms).filter(
        ({ assignment }) => assignment?.incarnation === incarnation,
      );
      if (startedAt === Infinity && here.some(({ id }) => id === 'bad')) startedAt = now;
      const powerOn = here.map(({ id, attempt }) => ({
        vmId: id,
        epoch: 1,
        attempt,
        state: 'running' as const,
      }));
      const view = { ...host('a').view!, powerOn };
      const hosts = hostsOf(host('a', { incarnation, view, seenAt: now }));
      list = plan({ list, hosts, timers: own, now, settings: shortSettings }).list;
    }
    assert.equal(list.vms['bad']!.status, 'failed');
    assert.match(list.vms['bad']!.reason, /^gave up after 5 tries: a, a, a, a, a ended, one after the other/);
    assert.equal(ends, 5);
    for (const end = now + 20_000; now < end; now += 100) {
      const { attempt, assignment } = list.vms['well']!;
      const powerOn =
        assignment === null ? [] : [{ vmId: 'well', epoch: 1, attempt, state: 'running' as const }];
      const hosts = hostsOf(host('a', { incarnation, view: { ...host('a').view!, powerOn }, seenAt: now }));
      list = plan({ list, hosts, timers: own, now, settings: shortSettings }).list;
    }
    const { status, proven, ended, tries } = list.vms['well']!;
    assert.deepEqual(
      { status, proven, ended, tries },
      { status: 'running', proven: true, ended: [], tries: 0 },
    );
  });

  /** Nodes end in turn and are back in a new session; `v1` has run a second on each by then, and the other VM for long. @returns what became of it */
  function endedInTurn(sequence: readonly ('v1' | 'other')[]): ProtectedVm {
    let list = running(listOf(['v1', {}], ['other', {}]), 'a');
    const own = timers();
    const incarnations = { a: 1, b: 1 };
    const place = (vmId: string, node: 'a' | 'b', proven: boolean): void => {
      const vm = list.vms[vmId]!;
      const attempt = vm.attempt + 1;
      const assignment = { node, incarnation: incarnations[node], attempt };
      list = {
        ...list,
        vms: { ...list.vms, [vmId]: { ...vm, status: 'running', proven, attempt, assignment } },
      };
    };
    for (const whose of sequence) {
      place('v1', 'a', false);
      place('other', 'b', true);
      incarnations[whose === 'v1' ? 'a' : 'b']++;
      const hosts = hostsOf(
        host('a', { incarnation: incarnations.a, state: 'unreachable' }),
        host('b', { incarnation: incarnations.b, state: 'unreachable' }),
      );
      list = plan({ list, hosts, timers: own, now: 0, settings }).list;
      if (list.vms['v1']!.status === 'failed') break;
    }
    return list.vms['v1']!;
  }

  test('a VM that happens to start on nodes which end is not blamed where nodes end without it as well', () => {
    assert.equal(endedInTurn(Array<'v1'>(5).fill('v1')).status, 'failed');
    const mixed = Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? ('v1' as const) : ('other' as const)));
    const innocent = endedInTurn(mixed);
    assert.deepEqual([innocent.status, innocent.ended], ['running', []]);
    // One that ends its nodes is found all the same, though others end now and then.
    const guilty = endedInTurn(Array.from({ length: 12 }, (_, i) => (i % 3 === 2 ? 'other' : 'v1')));
    assert.equal(guilty.status, 'failed');
  });

  test('a node that can not read the state is no try, and is not asked again', () => {
    const list = running(listOf(['v1', {}]), 'a');
    const reports = [{ vmId: 'v1', attempt: 1, kind: 'unreadable' as const, reason: 'no key' }];
    const unable = host('a', { view: { ...host('a').view!, reports } });
    const result = plan({ list, hosts: hostsOf(unable), timers: timers(), now: 0, settings });
    const { tries, status, unreadable, reason } = result.list.vms['v1']!;
    assert.deepEqual(
      { tries, status, unreadable },
      { tries: 0, status: 'pending', unreadable: [{ node: 'a', incarnation: 1 }] },
    );
    assert.equal(reason, 'no node fits: 1 unable to read its state');
    assert.deepEqual(result.log.map(({ event, reason: why }) => [event, why])[0], [
      'vm-unreadable',
      'no key',
    ]);
  });

  test('a node that runs out of memory gives its VMs away one by one, and says of those that nobody takes why they stay', () => {
    const list = running(listOf(['v1', {}], ['v2', {}]), 'a');
    const short = host('a', { pressure: 'memory' });
    const own = timers();
    const first = plan({ list, hosts: hostsOf(short, host('b')), timers: own, now: 0, settings });
    const moving = Object.values(first.list.vms).filter((vm) => vm.moving);
    assert.equal(moving.length, 1);
    assert.match(first.log[0]?.reason ?? '', /a is short of memory/);
    const small = host('b', { capacity: { memoryMiB: 50 } });
    const stuck = plan({ list, hosts: hostsOf(short, small), timers: timers(), now: 0, settings });
    const { v1 } = stuck.list.vms;
    assert.deepEqual([v1!.status, v1!.assignment?.node], ['running', 'a']);
    assert.equal(v1!.stays, 'no node fits: 1 without enough memory');
    assert.ok(
      stuck.log.some(
        ({ event, reason }) =>
          event === 'vm-stays' && /^a is short of memory, but no node fits/.test(reason ?? ''),
      ),
    );
    // Nobody is sent to it meanwhile.
    const further = plan({
      list: listOf(['v3', {}]),
      hosts: hostsOf(short),
      timers: timers(),
      now: 0,
      settings,
    });
    assert.match(further.list.vms['v3']!.reason, /1 short of memory/);
  });

  test('a drain with nowhere to go says what stays, and why; it is taken back when there is room', () => {
    const list = running(listOf(['v1', { memoryMiB: 900 }], ['v2', { memoryMiB: 100 }]), 'a');
    const own = timers();
    const draining = host('a', { state: 'maintenance' });
    const full = host('b', { capacity: { memoryMiB: 200 } });
    const first = plan({ list, hosts: hostsOf(draining, full), timers: own, now: 0, settings });
    const { v1, v2 } = first.list.vms;
    assert.equal(v1!.stays, 'no node fits: 1 without enough memory');
    assert.deepEqual([v2!.moving, v2!.assignment?.node, v2!.stays], [true, 'b', undefined]);
    assert.deepEqual(
      first.log.map(({ event }) => event),
      ['vm-stays', 'vm-moving'],
    );
    const again = plan({ list: first.list, hosts: hostsOf(draining, full), timers: own, now: 100, settings });
    assert.deepEqual([again.log, again.list], [[], first.list]);
    const back = plan({ list: first.list, hosts: hostsOf(host('a'), full), timers: own, now: 200, settings });
    assert.equal(back.list.vms['v1']!.stays, undefined);
    const room = plan({
      list: first.list,
      hosts: hostsOf(draining, host('c')),
      timers: own,
      now: 200,
      settings,
    });
    assert.deepEqual([room.list.vms['v1']!.assignment?.node, room.list.vms['v1']!.stays], ['c', undefined]);
  });

  test('a node that fell silent proves nothing of its VMs', () => {
    const list = running(listOf(['v1', {}]), 'a');
    const own = timers();
    const powerOn = [{ vmId: 'v1', epoch: 1, attempt: 1, state: 'running' as const }];
    const view = { ...host('a').view!, powerOn };
    const at = (now: number, change: Partial<HostSight>): ProtectedList =>
      plan({ list, hosts: hostsOf(host('a', { view, ...change })), timers: own, now, settings }).list;
    at(0, {});
    const silent = { state: 'unreachable' as const, seenAt: 1000 };
    assert.notEqual(at(settings.provenMs * 2, silent).vms['v1']!.proven, true);
    assert.deepEqual(at(settings.provenMs * 2, { ...silent, record: 'fenced' }).vms['v1']!.ended, ['a']);
    assert.equal(at(settings.provenMs * 2, { record: 'left' }).vms['v1']!.ended, undefined);
    assert.equal(at(settings.provenMs, { seenAt: settings.provenMs }).vms['v1']!.proven, true);
  });

  /** What becomes of a VM that fails each `afterMs` after it began to run, within `hours`: the times of its failures. */
  function failing(
    afterMs: number,
    kind: 'failed' | 'hung',
    hours: number,
  ): { list: ProtectedList; at: number[] } {
    let list = listOf(['v1', {}]);
    const own = timers();
    const at: number[] = [];
    let [runs, since] = [0, 0];
    for (let now = 0; now < hours * 3_600_000; now += 1000) {
      const { assignment, attempt } = list.vms['v1']!;
      if (assignment !== null && attempt !== runs) [runs, since] = [attempt, now];
      const fails = assignment !== null && now - since >= afterMs;
      if (fails) at.push(now);
      const reports = fails ? [{ vmId: 'v1', attempt, kind, reason: 'broke' }] : [];
      const powerOn =
        assignment === null || fails
          ? []
          : [{ vmId: 'v1', epoch: attempt, attempt, state: 'running' as const }];
      const hosts = ['a', 'b'].map((id) => {
        const mine = id === assignment?.node;
        const view = { ...host(id).view!, reports: mine ? reports : [], powerOn: mine ? powerOn : [] };
        return host(id, { view });
      });
      list = plan({ list, hosts: hostsOf(...hosts), timers: own, now, settings }).list;
    }
    return { list, at };
  }

  test('a VM that fails again and again some time after each resume is given up within the hour', () => {
    for (const afterMs of [1000, 40_000, 300_000]) {
      const { list, at } = failing(afterMs, 'failed', 2);
      assert.equal(list.vms['v1']!.status, 'failed', String(afterMs));
      assert.equal(at.length, settings.maxTries);
    }
    // Once in a while is forgiven.
    const { list, at } = failing(800_000, 'failed', 4);
    assert.equal(list.vms['v1']!.status, 'running');
    assert.equal(at.length, 17);
  });

  test('a guest that hangs boots afresh, and is given up as one that fails', () => {
    const { list } = failing(60_000, 'hung', 2);
    assert.equal(list.vms['v1']!.status, 'failed');
    assert.equal(list.vms['v1']!.boot, 1 + settings.maxTries);
  });

  test('a VM that powered itself off, or was deleted, is not restarted', () => {
    const list = running(listOf(['v1', {}], ['v2', {}]), 'a');
    const gone = applyCommand(list, { type: 'vm-delete', vmId: 'v2' }, []);
    const reports = [{ vmId: 'v1', attempt: 1, kind: 'powered-off' as const, reason: 'off', status: 7 }];
    const first = plan({
      list: gone,
      hosts: hostsOf(host('a', { view: { ...host('a').view!, reports } })),
      timers: timers(),
      now: 0,
      settings,
    });
    const hosts = hostsOf(host('a', { record: 'fenced', state: 'dead' }), host('b'));
    const later = plan({ list: first.list, hosts, timers: timers(), now: 9e6, settings });
    assert.deepEqual(
      Object.values(later.list.vms).map(({ status }) => status),
      ['stopping', 'stopping'],
    );
    assert.equal(later.list.vms['v1']!.exitStatus, 7);
    const { v1 } = applyCommand(
      { ...later.list, vms: { v1: { ...later.list.vms['v1']!, status: 'stopped' } } },
      { type: 'vm-start', vmId: 'v1' },
      [],
    ).vms;
    assert.equal('exitStatus' in v1!, false, 'of its next life nothing is known yet');
  });
});
