/** The attack suite as a test, with fewer messages of each kind. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { attack } from './run.ts';

/** Resident memory of a node beside what its guest of 64 MiB, with a disk of 64 MiB, takes: pages of two checkpoints, compressed or not. */
const mostMib = 1500;
/** A writer, whatever it writes: some buffers for each thread, what V8 has not collected yet, and some 200 bytes for each page. */
const mostWriterMib = 700;

test(
  'a node outlives hostile messages, callers, guests and hosts, in bounded memory, and its VMs go on',
  { timeout: 1_200_000 },
  async (t) => {
    const found = await attack({
      frames: 20_000,
      requests: 500,
      seed: 7,
      ms: 1000,
      width: 200,
      imageMiB: 64,
    });
    const { decoders, bodies, stored, floods, names, api, hostile, writers, troubles, strays, leftOut } =
      found;
    // Mutants that changed nothing that counts are messages still: the fuzzer reaches what lies behind the first byte.
    assert.ok(decoders !== undefined && bodies !== undefined && stored !== undefined);
    assert.ok(decoders.accepted > 100);
    assert.ok(bodies.accepted > 100 && bodies.accepted < bodies.bodies / 2);
    assert.ok(stored.accepted > 100 && stored.grownMiB < 500);
    assert.ok(names > 500);
    const [stranger, member] = api;
    assert.ok((stranger?.statuses[401] ?? 0) > 200, 'strangers are refused');
    assert.ok((member?.statuses[200] ?? 0) > 10, 'who has the token gets answers');
    for (const { name, grownMiB, connections } of floods) {
      assert.ok(connections >= 200, name);
      assert.ok(grownMiB < 200, `${name}: ${String(grownMiB)} MiB`);
    }
    assert.ok(strays.length >= 6);
    for (const { name, grownMiB, bytes } of hostile) {
      assert.ok(bytes > 0, `${name}: it does something`);
      assert.ok(grownMiB < mostMib, `${name}: ${String(grownMiB)} MiB`);
    }
    assert.equal(writers.length, 3);
    for (const { name, grownMiB, writerMiB } of writers) {
      assert.ok(grownMiB < 200, `${name}: the node grows by ${String(grownMiB)} MiB`);
      assert.ok(writerMiB < mostWriterMib, `${name}: it holds ${String(writerMiB)} MiB`);
    }
    for (const { name, recoveredMs } of troubles) assert.ok(recoveredMs > 0, name);
    for (const what of leftOut) t.diagnostic(`left out, as this host lacks it: ${what}`);
  },
);
