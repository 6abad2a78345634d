/** Compiled engine modules go from a thread to those that it starts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { loadEngineModules } from './modules.ts';

/** Runs in a thread of its own: whether the modules are there before anything was loaded, and which of them. */
const looks = `
  const { getEnvironmentData, parentPort } = require('node:worker_threads');
  const found = getEnvironmentData('revenant engine modules')?.modules ?? {};
  parentPort.postMessage(Object.keys(found).filter((name) => found[name] instanceof WebAssembly.Module));
`;

async function seenInThread(): Promise<unknown> {
  const worker = new Worker(looks, { eval: true });
  try {
    return await new Promise((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
  } finally {
    await worker.terminate();
  }
}

void test('a thread finds the modules, and what was compiled of them, that the thread which started it has', async () => {
  assert.deepEqual(await seenInThread(), []);
  const modules = loadEngineModules();
  assert.equal(loadEngineModules(), modules);
  assert.deepEqual(await seenInThread(), ['fault', 'core', 'interpreter']);
});
