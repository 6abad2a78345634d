/** Failover that a person holds back: nothing is fenced nor started again, each VM says so, and all of it happens when it is armed. */
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
import type { ProtectedList } from './records.ts';

const nodes = [host('a'), host('b')];

/** `v1` on node `a`, where it runs well. */
function running(): ProtectedList {
  const list = listOf(['v1', {}]);
  const vm = list.vms['v1']!;
  const assignment = { node: 'a', incarnation: 1, attempt: 1 };
  return { ...list, vms: { v1: { ...vm, status: 'running', attempt: 1, proven: true, assignment } } };
}

const disarmed = (): ProtectedList =>
  applyCommand(running(), { type: 'disarm', reason: 'new switch' }, nodes);
const planned = (list: ProtectedList, hosts: HostSight[], now = 0) =>
  plan({ list, hosts: hostsOf(...hosts), timers: timers(), now, settings });

describe('failover that is disarmed', () => {
  const dead = host('a', { state: 'dead', record: 'fenced' });
  const report = { vmId: 'v1', attempt: 1, kind: 'failed' as const, reason: 'it broke' };
  const broken = host('a', { view: { ...host('a').view!, reports: [report] } });

  for (const [what, lost] of [
    ['ended', dead],
    ['failed', broken],
  ] as const)
    test(`a VM that is lost stays where it was, says why, once, and goes on elsewhere when armed: ${what}`, () => {
      const hosts = [lost, host('b')];
      const held = planned(disarmed(), hosts);
      assert.deepEqual(assignments(held.list), { v1: 'a' });
      assert.equal(held.list.vms['v1']?.status, 'pending');
      assert.match(held.list.vms['v1']?.reason ?? '', /failover is disarmed: new switch/);
      assert.deepEqual(
        held.log.map(({ event }) => event),
        ['vm-failover-held'],
      );
      const again = planned(held.list, hosts, 1_000_000);
      assert.deepEqual([again.list, again.log], [held.list, []]);

      const armed = applyCommand(again.list, { type: 'arm' }, hosts);
      assert.equal('disarmed' in armed, false);
      assert.deepEqual(assignments(planned(armed, hosts).list), { v1: 'b' });
      assert.deepEqual(assignments(planned(running(), hosts).list), { v1: 'b' }, 'as it would have been');
    });

  test('what a person wants happens all the same', () => {
    const drained = [host('a', { state: 'maintenance' }), host('b')];
    const list = disarmed();
    const view = {
      ...host('a').view!,
      powerOn: [{ vmId: 'v1', epoch: 1, attempt: 1, state: 'running' as const }],
    };
    const moved = planned(list, [{ ...drained[0]!, view }, drained[1]!]);
    assert.deepEqual(assignments(moved.list), { v1: 'b' });
    const spec = list.vms['v1']!.spec;
    const more = applyCommand(list, { type: 'vm-create', vmId: 'v2', spec, start: true }, nodes);
    assert.notEqual(assignments(planned(more, nodes).list)['v2'], undefined);
  });
});
