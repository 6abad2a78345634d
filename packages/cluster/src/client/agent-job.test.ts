/** Output of a command that runs in a guest comes whole and in order, also over failovers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { agentWindow } from '../protocol/agent.ts';
import { JobOutput } from './agent-job.ts';

function listen(): { output: JobOutput; put: (at: number, text: string) => boolean; heard: () => string } {
  let heard = '';
  const output = new JobOutput((bytes) => (heard += Buffer.from(bytes).toString()));
  return { output, put: (at, text) => output.put(at, Buffer.from(text)), heard: () => heard };
}

test('each byte of an output is heard once, however another life of the guest cuts it', () => {
  const { output, put, heard } = listen();
  put(0, '1\n');
  put(2, '2\n3\n');
  // The guest goes on from before, and says the same in other pieces.
  put(0, '1\n2\n');
  put(4, '3\n4\n');
  put(8, '5\n');
  put(2, '');
  assert.equal(output.ended, false);
  put(10, '');
  assert.equal(heard(), '1\n2\n3\n4\n5\n');
  assert.equal(output.ended, true);
  put(10, 'more');
  assert.equal(heard(), '1\n2\n3\n4\n5\n');
});

test('pieces that come early wait for those before them, and only so many', () => {
  const { output, put, heard } = listen();
  for (let n = 0; n < 2 * agentWindow; n++) assert.ok(put(100 - n, 'x'.repeat(n + 1)));
  assert.equal(put(200, 'y'), false);
  assert.ok(put(101, ''.padEnd(0)) === false);
  assert.equal(heard(), '');
  put(0, 'x'.repeat(80));
  assert.equal(heard(), 'x'.repeat(101));
  put(101, '');
  assert.equal(output.ended, true);
});
