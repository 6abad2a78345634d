/** What no reader would take is never stored: the writer sees it first, says so, and what is there stays. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryStore } from '@revenant/storage';
import { emptyList, protectedKey, type ProtectedList } from '../decisions/records.ts';
import type { Event } from '../decisions/types.ts';
import { maxText } from '../protocol/limits.ts';
import { protectedListSchema } from '../protocol/records.ts';
import { readStored } from '../stored/records.ts';
import { StoreEdge } from './store-edge.ts';

async function put(list: object): Promise<{ outcome: unknown; said: string[]; stored: unknown }> {
  const store = new MemoryStore();
  const said: string[] = [];
  const written = new Promise<Event>((resolve) => {
    const edge = new StoreEdge(store, 5000, resolve, (why) => said.push(why));
    edge.do({
      type: 'put-list',
      purpose: { kind: 'discover' },
      list: list as ProtectedList,
      expected: undefined,
    });
  });
  const event = await written;
  const stored = await readStored(store, protectedKey, protectedListSchema);
  return { outcome: event.type === 'written' && event.outcome.result, said, stored: stored?.value };
}

test('a list that fits is stored, with fields of a later release', async () => {
  const list = { ...emptyList(), term: 3, ofLater: { a: 1 } };
  assert.deepEqual(await put(list), { outcome: 'done', said: [], stored: list });
});

test('a list that no reader would take is not stored, and the fault is said', async () => {
  const faults = {
    'disarmed: ': { disarmed: 'x'.repeat(maxText + 1) },
    'term: ': { term: -1 },
    // MessagePack would keep it, and readers refuse it.
    'removed: ': { removed: undefined },
    'vms: "a": ': { vms: { a: { id: 'b' } } },
  };
  for (const [where, fault] of Object.entries(faults)) {
    const { outcome, said, stored } = await put({ ...emptyList(), ...fault });
    assert.equal(outcome, 'failed');
    assert.equal(stored, undefined);
    assert.ok(said[0]?.includes(`malformed: ${where}`), said[0]);
  }
});
