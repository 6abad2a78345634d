/** The probes that tell an orchestrator that a node lives and is ready. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ClusterNode } from './cluster-node.ts';
import { whyNotReady } from './probes.ts';

const node = (phase: string, leaseUntil: number): ClusterNode =>
  ({ agent: { phase, leaseUntil }, now: () => 100 }) as unknown as ClusterNode;

test('a node is ready when guests could run on it', () => {
  assert.equal(whyNotReady(undefined), 'the node is starting');
  assert.equal(whyNotReady(node('joining', 200)), 'the node is joining');
  assert.equal(whyNotReady(node('leaving', 200)), 'the node is leaving');
  assert.equal(whyNotReady(node('active', 100)), 'the store does not answer');
  assert.equal(whyNotReady(node('active', 101)), undefined);
});
