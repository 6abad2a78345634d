/** VMs of a node that has fallen silent are built where they would go on, before anybody knows that it is over. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Agent, host, listOf, settings } from '../../test-support/decisions.ts';
import { newPeer } from './membership.ts';
import type { ProtectedList } from './records.ts';
import { startAgent } from './state.ts';
import type { Effect, Peer } from './types.ts';

/** `a` runs all VMs; this is `b`, which has more room than `c`. */
function agentOf(list: ProtectedList, id: 'b' | 'c' = 'b'): Agent {
  const room = { b: 1000, c: 500 };
  const state = startAgent({ id, address: id, capacity: { memoryMiB: room[id] } }, 0);
  const other = id === 'b' ? 'c' : 'b';
  const peer = (name: string, memoryMiB: number): Peer => ({
    ...newPeer(name, 0),
    ...{ state: 'alive', incarnation: 1, heardAt: 0, heardBothAt: 0 },
    view: { ...host(name).view!, capacity: { memoryMiB } },
  });
  const peers = new Map([
    ['a', peer('a', 1000)],
    [other, peer(other, room[other])],
  ]);
  const vms = Object.fromEntries(
    Object.values(list.vms).map((vm) => [
      vm.id,
      {
        ...vm,
        status: 'running' as const,
        proven: true,
        assignment: { node: 'a', incarnation: 1, attempt: 1 },
      },
    ]),
  );
  return new Agent({
    ...state,
    ...{ phase: 'active', incarnation: 1, leaseUntil: Infinity, leaseHeld: true, peers },
    list: { ...list, vms },
  });
}

/** Hears every other node but the silent one, and looks around. */
function goOn(agent: Agent, now: number, silent: string): Effect[] {
  const peers = new Map(
    [...agent.state.peers].map(([name, peer]) => [
      name,
      name === silent ? peer : { ...peer, heardAt: now, heardBothAt: now },
    ]),
  );
  agent.state = { ...agent.state, peers };
  return agent.step(now, { type: 'tick' });
}

const followed = (effects: readonly Effect[]): string[] =>
  effects.flatMap((effect) =>
    effect.type === 'stand-by' ? [`${effect.vm.id} by the ${effect.source}`] : [],
  );
const left = (effects: readonly Effect[]): string[] =>
  effects.flatMap((effect) => (effect.type === 'stand-down' ? [effect.vmId] : []));

describe('VMs of a silent node', () => {
  const list = listOf(['v1', { outputs: 'log' }], ['v2', { outputs: 'async' }]);
  const { networkHeartbeatMs, unreachableMs, deadMs } = settings;

  test('are followed from the store where they would be placed, if a log says what comes in', () => {
    const agent = agentOf(list);
    assert.deepEqual(followed(goOn(agent, unreachableMs - 1, 'a')), []);
    assert.deepEqual(followed(goOn(agent, unreachableMs, 'a')), ['v1 by the store']);
    assert.deepEqual(followed(goOn(agent, unreachableMs + 100, 'a')), []);
    assert.deepEqual(followed(goOn(agentOf(list, 'c'), unreachableMs, 'a')), []);
  });

  test('are followed as soon as a heartbeat is missing behind a socket that closed', () => {
    const agent = agentOf(list);
    agent.step(10, { type: 'closed', peer: 'a' });
    assert.deepEqual(followed(goOn(agent, 10 + networkHeartbeatMs / 2 - 1, 'a')), []);
    assert.deepEqual(followed(goOn(agent, 10 + networkHeartbeatMs / 2, 'a')), ['v1 by the store']);
    const heard = agentOf(list);
    heard.step(10, { type: 'closed', peer: 'a' });
    goOn(heard, 20, 'none');
    assert.deepEqual(followed(goOn(heard, 10 + networkHeartbeatMs, 'a')), []);
  });

  test('are left when it is heard again, and when it stays silent without being fenced', () => {
    const agent = agentOf(list);
    goOn(agent, unreachableMs, 'a');
    assert.deepEqual(left(goOn(agent, deadMs, 'a')), []);
    assert.deepEqual(left(goOn(agent, deadMs + 100, 'none')), ['v1']);
    const forgotten = agentOf(list);
    goOn(forgotten, unreachableMs, 'a');
    assert.deepEqual(left(goOn(forgotten, 20 * deadMs, 'a')), ['v1']);
  });

  test('are followed where failover is not held back, there is room, and they are proven', () => {
    const held = agentOf({ ...list, disarmed: 'maintenance of the switch' });
    assert.deepEqual(followed(goOn(held, unreachableMs, 'a')), []);
    const young = agentOf(list);
    const v1 = { ...young.state.list.vms['v1']!, proven: false };
    young.state = { ...young.state, list: { ...young.state.list, vms: { ...young.state.list.vms, v1 } } };
    assert.deepEqual(followed(goOn(young, unreachableMs, 'a')), []);
    const large = agentOf(listOf(['v1', { outputs: 'log', memoryMiB: 2000 }]));
    assert.deepEqual(followed(goOn(large, unreachableMs, 'a')), []);
  });
});
