/** The tree of snapshots and forks that is drawn for a VM. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { snapshotTree } from './snapshot-tree.ts';

const at = Date.UTC(2026, 0, 2, 3, 4, 5);
const snapshot = (name: string, parent: string | null, current = false) => ({
  ...{ name, parent, current },
  checkpoint: '1-7',
  atMs: at,
});

test('snapshots stand below those that they came after, forks below what they began with', () => {
  const snapshots = [snapshot('a', null), snapshot('b', 'a'), snapshot('c', 'a', true)];
  const forks = [
    { name: 'w2', status: 'running', of: 'web', from: 'b' },
    { name: 'w3', status: 'stopped', of: 'web', from: '4-9' },
    { name: 'w4', status: 'running', of: 'w2', from: '1-3' },
    { name: 'other', status: 'running', of: 'mail', from: 'a' },
    // The VM that had this name before.
    { name: 'web', status: 'running', of: 'w4', from: '2-2' },
  ];
  const when = snapshotTree('web', { snapshots: [snapshot('a', null)], forks: [] }).match(
    /a {2}(.*), of/,
  )?.[1];
  assert.equal(
    snapshotTree('web', { snapshots, forks }).replaceAll(when ?? '', 'T'),
    `web
├─ a  T, of 1-7
│  ├─ b  T, of 1-7
│  │  └─ fork w2 (running), of b
│  │     └─ fork w4 (running), of 1-3
│  └─ c *  T, of 1-7
└─ fork w3 (stopped), of 4-9
* where it was last: taken, or reverted to`,
  );
  assert.equal(snapshotTree('web', { snapshots: [], forks: [] }), 'web has no snapshots and no forks');
});
