/** A guest that fills its store quota, in a node process of its own. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { build, modes } from './hostile-host.ts';
import { fillQuota } from './quota.ts';

test('a guest that fills its store quota stands still, and goes on when it may hold more', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'revenant-quota-'));
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
  const kernel = build(modes['a disk filled again and again'], folder);
  if (kernel === undefined) return t.skip('it needs gcc');
  const { steps } = await fillQuota(kernel, join(folder, 'quota'));
  assert.ok(steps > 0, 'the VM beside it goes on');
});
