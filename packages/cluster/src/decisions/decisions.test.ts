/** Decisions of a node one by one: fencing, sessions, settings, and commands that are refused. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Agent, applyCommand, host, listOf, settings, spec } from '../../test-support/decisions.ts';
import { isClusterError } from '../errors.ts';
import type { Command } from './commands.ts';
import { mayTake } from './reconcile.ts';
import { emptyList, vmOf, type NodeRecord, type ProtectedList } from './records.ts';
import { makeSettings } from './settings.ts';
import { FrameWriter, linkKey } from '../node/frames.ts';
import { startAgent } from './state.ts';
import { type Effect, type Event, type HostState } from './types.ts';
import type { Host } from './placement.ts';

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

  test('a node whose name is taken by one that goes on to beat says so, once; one that leaves is waited for', () => {
    const identity = { id: 'a', address: 'x', capacity: { memoryMiB: 1 } };
    const beats = (pressure: 'none' | 'leaving'): Effect[] => {
      const agent = new Agent(startAgent(identity, 0));
      const effects: Effect[] = [];
      for (let n = 0; n < 10; n++) {
        const value = record({ counter: n, view: { ...host('a').view!, pressure } });
        const outcome = { result: 'found', value, version: String(n) } as const;
        effects.push(...agent.step(n * 1000, { type: 'record', purpose: { kind: 'join' }, outcome }));
      }
      return effects;
    };
    assert.deepEqual(beats('none'), [{ type: 'name-in-use', address: 'a' }]);
    assert.deepEqual(beats('leaving'), []);
  });
});

test('settings under which a lease could outlive its fence are refused', () => {
  assert.throws(
    () => makeSettings('default', { leaseMs: 2990 }),
    (error) => isClusterError(error, 'BAD_SETTINGS'),
  );
  assert.ok(makeSettings('fast').deadMs < 1000);
});

test('a change of the list keeps what a later release wrote into it; a command of one is refused', () => {
  const later = { later: { of: 'tomorrow' } };
  const plain = listOf(['v1', {}]);
  const v1 = { ...plain.vms['v1']!, ...later, spec: { ...spec, ...later } };
  const list = { ...plain, ...later, vms: { v1 } };
  const commands: Command[] = [
    { type: 'vm-create', vmId: 'v2', spec, start: true },
    { type: 'vm-set', vmId: 'v1', outputs: 'checkpoint' },
    { type: 'vm-stop', vmId: 'v1' },
    { type: 'vm-start', vmId: 'v1' },
    { type: 'vm-delete', vmId: 'v1' },
    { type: 'drain', node: 'a' },
    { type: 'undrain', node: 'a' },
  ];
  for (const command of commands) {
    const next = applyCommand(list, command, [host('a')]);
    for (const told of [next, next.vms['v1'], next.vms['v1']?.spec])
      assert.deepEqual((told as unknown as typeof later).later, later.later, command.type);
  }
  const of = { type: 'vm-start', vmId: 'v1', ...later } as Command;
  assert.throws(
    () => applyCommand(list, of, [host('a')]),
    (error) => isClusterError(error, 'BAD_REQUEST'),
  );
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

test('a VM that no node could ever hold is refused, with who offers what; where none is up it waits', () => {
  const offers = (id: string, memoryMiB: number, state: HostState = 'alive'): Host => {
    const { incarnation, pressure } = host(id);
    return { id, incarnation, pressure, state, capacity: { memoryMiB } };
  };
  const large = { ...spec, memoryMiB: 102_400 };
  const create = (start: boolean, hosts: Host[]): ProtectedList =>
    applyCommand(emptyList(), { type: 'vm-create', vmId: 'big', spec: large, start }, hosts);
  const refused = (run: () => unknown): void => {
    assert.throws(run, (error) => {
      assert.ok(isClusterError(error, 'NO_CAPACITY'));
      assert.match(error.message, /^big: it takes 102400 MiB .*: b has 4096, a has 2048$/);
      return true;
    });
  };
  refused(() => create(true, [offers('a', 2048), offers('b', 4096), offers('gone', 200_000, 'left')]));
  const entered = create(false, [offers('a', 2048), offers('b', 4096)]);
  assert.equal(vmOf(entered, 'big')?.status, 'stopped');
  refused(() =>
    applyCommand(entered, { type: 'vm-start', vmId: 'big' }, [offers('a', 2048), offers('b', 4096)]),
  );
  // One that may come back in a moment has room; of none that is up nothing is known; full is not too small.
  for (const hosts of [
    [],
    [offers('a', 2048, 'unreachable')],
    [offers('a', 2048), offers('c', 200_000, 'unreachable')],
    [offers('a', 102_400)],
  ])
    assert.equal(vmOf(create(true, hosts), 'big')?.status, 'pending');
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
  new FrameWriter(linkKey('', Buffer.alloc(16), Buffer.alloc(16))).encode({ type: 'list', list });
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
      quotaBytes: undefined,
      storeFull: false,
      debugged: false,
      epoch: 3,
      since: 0,
      retryAt: Infinity,
      paused: false,
      begunAt: 0,
      raises: 0,
    },
    ...{
      outputs: 'async',
      standby: undefined,
      standbyCondition: undefined,
      noted: undefined,
      standbyLost: undefined,
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

test('how a guest ended comes from its node to whoever asks: the report has all of it', () => {
  const agent = new Agent(startAgent({ id: 'a', address: 'x', capacity: { memoryMiB: 1000 } }, 0));
  agent.state.phase = 'active';
  agent.state.incarnation = 1;
  const vm = listOf(['v1', {}]).vms['v1']!;
  const assignment = { node: 'a', incarnation: 1, attempt: 1 };
  const list = { ...emptyList(), revision: 1, vms: { v1: { ...vm, attempt: 1, assignment } } };
  agent.state.leaseUntil = Infinity;
  agent.step(1, { type: 'message', from: 'b', message: { type: 'list', list } });
  agent.state.local.set('v1', { ...agent.state.local.get('v1')!, phase: 'running', epoch: 3 });
  const off = { kind: 'powered-off' as const, reason: 'off', status: 7 };
  agent.step(2, { type: 'stopped', vmId: 'v1', epoch: 3, ...off });
  agent.step(3, { type: 'released', vmId: 'v1', epoch: 3, result: 'done' });
  assert.deepEqual(agent.state.view.reports, [{ vmId: 'v1', attempt: 1, ...off }]);
});
