/** The hottest regions of a guest's code, counted from samples. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import type { Profiler } from 'node:inspector/promises';
import { buildModules } from '@revenant/emulator/host-node';
import { runRequestOf } from '../../test-support/run-request.ts';
import { findHot, hotText } from './hot.ts';
import { sharesOf } from './profile.ts';

function node(id: number, functionName: string, url: string, children: number[]): Profiler.ProfileNode {
  return { id, callFrame: { functionName, scriptId: '0', url, lineNumber: 0, columnNumber: 0 }, children };
}

test('samples count for the region that they lie in or are called from', () => {
  const shares = sharesOf({
    nodes: [
      node(1, '(root)', '', [2]),
      node(2, 'run', 'file:///engine/engine.ts', [3, 6]),
      node(3, 'run', 'wasm://wasm/1', [4]),
      node(4, 'region 7', 'wasm://wasm/2', [5]),
      node(5, 'walk', 'wasm://wasm/3', []),
      node(6, 'translate', 'file:///src/translator/translator.ts', [7]),
      node(7, 'Module', '', []),
    ],
    startTime: 0,
    endTime: 21_000,
    samples: [3, 4, 5, 6, 7, 2],
    timeDeltas: [1000, 2000, 3000, 4000, 5000, 6000],
  });
  assert.deepEqual([...shares.regions], [['region 7', 0.005]]);
  assert.equal(shares.interpreter, 0.001);
  assert.equal(shares.translating.toFixed(3), '0.009');
  assert.equal(shares.other, 0.006);
});

test('a guest with a loop: the loop is the hottest region', async () => {
  buildModules(() => undefined);
  const report = await findHot(runRequestOf(['builtin', '--serial', 'none']), 60_000_000n, 3);
  assert.equal(report.end, 'limit');
  assert.equal(report.instructions, '60000000');
  const [first] = report.hottest;
  assert.ok(first !== undefined && first.share > 0 && first.share <= 1);
  assert.ok(first.wasmBytes > 100 && first.guestBytes > 0);
  const lines = first.blocks.flatMap(({ code }) => code);
  assert.ok(lines.length >= first.instructions && lines.every(({ text }) => text !== '(bad)'));
  assert.match(hotText(report, 3), /60000000 instructions in .*\n.*\n\d+ regions[^]*1\. [0-9a-f]+ {2}\d/);
});
