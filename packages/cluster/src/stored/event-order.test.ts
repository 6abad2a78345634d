/** Events are put in order by epochs and terms, whatever the clocks of their nodes say. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ClusterEvent } from '../protocol/api.ts';
import { orderEvents } from './event-order.ts';

const event = (by: string, seq: number, atMs: number, more: Partial<ClusterEvent>): ClusterEvent => ({
  ...{ event: 'e', reason: '', by, process: by, seq, atMs },
  ...more,
});
const names = (events: readonly ClusterEvent[]): string[] => events.map(({ event: name }) => name);

test('what was done under one epoch comes before what was done under the next, whatever the clocks say', () => {
  const vm = 'web';
  const events = [
    // This node's clock is an hour ahead.
    event('a', 1, 3_600_000, { event: 'vm-started', vm, epoch: 1 }),
    event('a', 2, 3_601_000, { event: 'vm-suspended', vm, epoch: 1 }),
    event('a', 3, 3_605_000, { event: 'session-ended' }),
    event('b', 1, 1900, { event: 'vm-resuming', vm, epoch: 2 }),
    event('b', 2, 2000, { event: 'vm-executes', vm, epoch: 2 }),
  ];
  const wanted = ['vm-started', 'vm-suspended', 'vm-resuming', 'vm-executes', 'session-ended'];
  assert.deepEqual(names(orderEvents(events)), wanted);
  assert.deepEqual(names(orderEvents([...events].reverse())), wanted);
});

test('a clock that was set back does not turn one process around; terms follow each other', () => {
  const events = [
    event('a', 1, 5000, { event: 'master-elected', details: { term: 3 } }),
    event('a', 2, 1000, { event: 'host-dead' }),
    event('b', 7, 500, { event: 'master-elected-later', details: { term: 4 } }),
    event('c', 1, 600, { event: 'other' }),
  ];
  assert.deepEqual(names(orderEvents(events)), [
    'other',
    'master-elected',
    'master-elected-later',
    'host-dead',
  ]);
});

test('events that contradict each other, and those without numbers, are all shown', () => {
  const events = [
    event('a', 1, 10, { vm: 'v', epoch: 2 }),
    event('a', 2, 11, { vm: 'w', epoch: 1 }),
    event('b', 1, 12, { vm: 'w', epoch: 2 }),
    event('b', 2, 13, { vm: 'v', epoch: 1 }),
    { event: 'old', reason: '', atMs: 5, by: 'a' },
  ];
  assert.equal(orderEvents(events).length, events.length);
  assert.equal(orderEvents(events)[0]?.event, 'old');
});
