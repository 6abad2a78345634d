import assert from 'node:assert/strict';
import { test } from 'node:test';
import { attack } from './run.ts';

test('a node outlives hostile messages and floods of strangers, in bounded memory, and answers who has the token', async () => {
  const { decoders, floods, names } = await attack({ frames: 20_000, seed: 7, floodMs: 1000, width: 200 });
  // Mutants that changed nothing that counts are messages still: the fuzzer reaches what lies behind the first byte.
  assert.ok(decoders.accepted > 100);
  assert.ok(names > 500);
  for (const { name, grownMiB, connections } of floods) {
    assert.ok(connections >= 200, name);
    assert.ok(grownMiB < 200, `${name}: ${String(grownMiB)} MiB`);
  }
});
