import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isClusterError } from '../errors.ts';
import { step as purely } from './agent.ts';
import { applyCommand as commanded } from './commands.ts';
import { plan as planOf, type HostSight, type Plan, type PlanInput, type PlanTimers } from './failover.ts';
import { place, rebalance } from './placement.ts';
import { mayTake } from './reconcile.ts';
import { emptyList, vmOf, type NodeRecord, type ProtectedList, type VmSpec } from './records.ts';
import { makeSettings } from './settings.ts';
import { FrameWriter } from '../node/frames.ts';
import { startAgent, type AgentState } from './state.ts';
import { deepFreeze } from '../testing/deep-freeze.ts';
import type { Effect, Event } from './types.ts';

const settings = makeSettings();

/** Decisions are pure: whatever changed what they are given would fail here. */
const applyCommand: typeof commanded = (...given) => commanded(...deepFreeze(given));

/** A master's plan, with its timers kept for the next. */
function plan(input: PlanInput): Plan {
  const result = planOf(deepFreeze({ ...input, timers: { ...input.timers } }));
  Object.assign(input.timers, result.timers);
  return result;
}

/** An agent that goes from state to state. */
class Agent {
  state: AgentState;
  constructor(state: AgentState) {
    this.state = state;
  }
  step(now: number, event: Event): Effect[] {
    const { state, effects } = purely(deepFreeze(this.state), now, deepFreeze(event), settings);
    this.state = state;
    return effects;
  }
}
const spec: VmSpec = { runtime: 'chain', description: {}, memoryMiB: 100, priority: 0, outputs: 'async' };

function host(id: string, change: Partial<HostSight> = {}): HostSight {
  const view = {
    seq: 1,
    address: id,
    isolated: false,
    stores: 1,
    capacity: { memoryMiB: 1000 },
    pressure: 'none' as const,
    powerOn: [],
    reports: [],
  };
  return {
    id,
    incarnation: 1,
    state: 'alive',
    capacity: view.capacity,
    pressure: 'none',
    record: 'active',
    view,
    seenAt: 0,
    ...change,
  };
}

function listOf(...vms: [string, Partial<VmSpec>][]): ProtectedList {
  let list = emptyList();
  for (const [vmId, change] of vms)
    list = applyCommand(list, { type: 'vm-create', vmId, spec: { ...spec, ...change }, start: true }, []);
  return list;
}

const timers = (): PlanTimers => ({ notBefore: new Map(), assignedAt: new Map(), runningSince: new Map() });
const hostsOf = (...hosts: HostSight[]): Map<string, HostSight> =>
  new Map(hosts.map((each) => [each.id, each]));
const assignments = (list: ProtectedList): Record<string, string | undefined> =>
  Object.fromEntries(Object.values(list.vms).map((vm) => [vm.id, vm.assignment?.node]));

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

  test('rebalance moves until it no longer helps', () => {
    const list = listOf(['v1', {}], ['v2', {}], ['v3', {}], ['v4', {}]);
    const vms = Object.values(list.vms).map((vm) => ({
      ...vm,
      status: 'running' as const,
      assignment: { node: 'a', incarnation: 1, attempt: 1 },
    }));
    const moves = rebalance([host('a'), host('b')], vms, 16);
    assert.equal(moves.length, 2);
    assert.ok(moves.every(({ to }) => to.id === 'b'));
  });
});

describe('failover', () => {
  const running = (list: ProtectedList, node: string): ProtectedList => {
    const vms = Object.values(list.vms).map((vm) => ({
      ...vm,
      status: 'running' as const,
      attempt: 1,
      assignment: { node, incarnation: 1, attempt: 1 },
    }));
    return { ...list, vms: Object.fromEntries(vms.map((vm) => [vm.id, vm])) };
  };

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
    const reports = [{ vmId: 'v1', attempt: 1, kind: 'powered-off' as const, reason: 'off' }];
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
  });
});

describe('fencing', () => {
  const owner = { state: 'owned', epoch: 3, node: 'a', incarnation: 2 } as const;
  const record = (change: Partial<NodeRecord>): NodeRecord => ({
    id: 'a',
    incarnation: 2,
    state: 'active',
    counter: 9,
    view: host('a').view!,
    ...change,
  });

  test('a VM is taken only from an owner that gave it up, or whose session is over', () => {
    assert.equal(mayTake(owner, record({})), false);
    assert.equal(mayTake(owner, undefined), false);
    assert.equal(mayTake(owner, record({ state: 'fenced' })), true);
    assert.equal(mayTake(owner, record({ incarnation: 3 })), true);
    assert.equal(mayTake({ ...owner, state: 'released' }, record({})), true);
    assert.equal(mayTake({ ...owner, state: 'deleted' }, record({ state: 'fenced' })), false);
  });

  test('a node that starts again waits until the session before has stood still for deadMs', () => {
    const agent = new Agent(startAgent({ id: 'a', address: 'x', capacity: { memoryMiB: 1 } }, 0));
    const found = { result: 'found', value: record({}), version: '7' } as const;
    const read = (now: number): unknown[] =>
      agent.step(now, { type: 'record', purpose: { kind: 'join' }, outcome: found });
    assert.deepEqual(read(0), []);
    assert.deepEqual(read(settings.deadMs - 1), []);
    const [put] = read(settings.deadMs) as { type: string; record: NodeRecord; expected: string }[];
    assert.equal(put?.type, 'put-record');
    assert.equal(put?.record.incarnation, 3);
    assert.equal(put?.expected, '7');
  });
});

test('settings under which a lease could outlive its fence are refused', () => {
  assert.throws(
    () => makeSettings('default', { leaseMs: 2990 }),
    (error) => isClusterError(error, 'BAD_SETTINGS'),
  );
  assert.ok(makeSettings('fast').deadMs < 1000);
});

test('commands that do not fit are refused by name', () => {
  const list = listOf(['v1', {}]);
  const code = (run: () => unknown, wanted: string): void => {
    assert.throws(run, (error) => isClusterError(error) && error.code === wanted);
  };
  code(() => applyCommand(list, { type: 'vm-create', vmId: 'v1', spec, start: true }, []), 'CONFLICT');
  code(
    () => applyCommand(list, { type: 'vm-create', vmId: '__proto__', spec, start: true }, []),
    'BAD_REQUEST',
  );
  code(() => applyCommand(list, { type: 'vm-stop', vmId: 'constructor' }, []), 'NOT_FOUND');
  const named = applyCommand(list, { type: 'vm-create', vmId: 'constructor', spec, start: true }, []);
  assert.equal(vmOf(named, 'constructor')?.id, 'constructor');
  code(() => applyCommand(list, { type: 'vm-migrate', vmId: 'v1' }, [host('a')]), 'CONFLICT');
  code(() => applyCommand(list, { type: 'drain', node: 'zz' }, [host('a')]), 'NOT_FOUND');
  const large = { ...spec, description: 'x'.repeat(65_536) };
  code(
    () => applyCommand(list, { type: 'vm-create', vmId: 'v2', spec: large, start: true }, []),
    'BAD_REQUEST',
  );
});

test('the protected list stays small enough for one frame; deleted VMs make room', () => {
  const large = { ...spec, description: 'x'.repeat(60_000) };
  const createIn = (list: ProtectedList, vmId: string): ProtectedList =>
    applyCommand(list, { type: 'vm-create', vmId, spec: large, start: true }, []);
  let list = emptyList();
  assert.throws(
    () => {
      for (let n = 0; n < 1000; n++) list = createIn(list, `v${n}`);
    },
    (error) => isClusterError(error, 'NO_CAPACITY'),
  );
  new FrameWriter(Buffer.alloc(32)).encode({ type: 'list', list });
  const count = Object.keys(list.vms).length;
  const v0 = { ...list.vms['v0']!, desired: 'deleted', status: 'deleted' } as const;
  const after = createIn({ ...list, vms: { ...list.vms, v0 } }, 'next');
  assert.equal(after.vms['v0'], undefined);
  assert.equal(Object.keys(after.vms).length, count);
});

test('each of many commands at once is carried out once and answered', () => {
  const agent = new Agent(startAgent({ id: 'a', address: 'x', capacity: { memoryMiB: 1000 } }, 0));
  let [now, version] = [0, 0];
  let stored: ProtectedList | undefined;
  const answers = new Map<string, unknown>();
  /** A store that answers at once, for the only node. */
  const answer = (effect: Effect): Event | undefined => {
    switch (effect.type) {
      case 'get-record':
        return { type: 'record', purpose: effect.purpose, outcome: { result: 'absent' } };
      case 'put-record':
        return {
          type: 'written',
          purpose: effect.purpose,
          outcome: { result: 'done', version: String(++version) },
        };
      case 'get-list':
        return {
          type: 'list',
          purpose: effect.purpose,
          outcome:
            stored === undefined
              ? { result: 'absent' }
              : { result: 'found', value: stored, version: String(version) },
        };
      case 'put-list':
        stored = effect.list;
        return {
          type: 'written',
          purpose: effect.purpose,
          outcome: { result: 'done', version: String(++version) },
        };
      case 'answer':
        assert.ok(!answers.has(effect.answer.id), 'answered once');
        answers.set(effect.answer.id, effect.answer.error);
        return undefined;
      default:
        return undefined;
    }
  };
  const happen = (first: Event): void => {
    const events = [first];
    for (let event = events.shift(); event !== undefined; event = events.shift())
      for (const effect of agent.step(now, event)) {
        const next = answer(effect);
        if (next !== undefined) events.push(next);
      }
  };
  for (; agent.state.master === undefined && now < 20_000; now += 100) happen({ type: 'tick' });
  /** While a write is under way, they wait. */
  const write = (writing: boolean): void => {
    const { master } = agent.state;
    assert.ok(master);
    agent.state = { ...agent.state, master: { ...master, writing } };
  };
  write(true);
  for (let n = 0; n < 200; n++)
    happen({
      type: 'command',
      id: `c${n}`,
      command: { type: 'vm-create', vmId: `v${n}`, spec, start: false },
    });
  write(false);
  for (const end = now + 1000; now < end; now += 100) happen({ type: 'tick' });
  assert.equal(answers.size, 200);
  assert.deepEqual(
    [...answers.values()].filter((error) => error !== null),
    [],
  );
  assert.equal(Object.keys(agent.state.list.vms).length, 200);
});

test('a VM that is deleted while it powers off is told so, once', () => {
  const state = startAgent({ id: 'a', address: 'x', capacity: { memoryMiB: 1000 } }, 0);
  state.phase = 'active';
  state.incarnation = 1;
  const vm = listOf(['v1', {}]).vms['v1']!;
  state.local.set('v1', {
    ...{
      vmId: 'v1',
      attempt: 1,
      phase: 'running',
      epoch: 3,
      since: 0,
      retryAt: Infinity,
      paused: false,
      begunAt: 0,
      raises: 0,
    },
    ...{
      preparing: false,
      movingSince: undefined,
      readyNode: undefined,
      report: undefined,
      stopMode: undefined,
    },
  });
  const agent = new Agent(state);
  const wanted = (desired: 'stopped' | 'deleted', revision: number): unknown[] => {
    const list = { ...emptyList(), revision, vms: { v1: { ...vm, desired, status: 'stopping' } } } as const;
    const event = { type: 'message', from: 'b', message: { type: 'list', list } } as const;
    const effects = [...agent.step(revision, event), ...agent.step(revision, { type: 'tick' })];
    return effects.filter(({ type }) => type === 'stop');
  };
  const stop = { type: 'stop', vmId: 'v1', epoch: 3 };
  assert.deepEqual(wanted('stopped', 1), [{ ...stop, mode: 'power-off' }]);
  assert.deepEqual(wanted('stopped', 2), []);
  assert.deepEqual(wanted('deleted', 3), [{ ...stop, mode: 'delete' }]);
  assert.deepEqual(wanted('deleted', 4), []);
});
