/** Checkpoint files in a tab: a process without anything of Node, resolving as a bundler does for browsers. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { hash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import { Guest } from '../test-support/guest.ts';
import { readCheckpointFile, writeCheckpointFile } from './checkpoint-file.ts';

const child = new URL('../test-support/browser-child.ts', import.meta.url).pathname;
const golden = new URL('../golden', import.meta.url).pathname;
const scratch = await mkdtemp(join(tmpdir(), 'revenant-browser-'));
after(() => rm(scratch, { recursive: true, force: true }));

async function inBrowser(path: string): Promise<Record<string, unknown>> {
  const run = promisify(execFile);
  const { stdout } = await run(process.execPath, ['--no-warnings', '--conditions=browser', child, path]);
  return JSON.parse(stdout) as Record<string, unknown>;
}

async function expected(path: string): Promise<unknown> {
  const { instructions, spaces } = await readCheckpointFile(path);
  return {
    instructions: String(instructions),
    spaces: spaces.map(({ name, indexes, bytes }) => [name, [...indexes], hash('sha256', bytes)]),
  };
}

test('golden files of every version open in a browser, the same as on Node', async () => {
  for (const version of await readdir(golden)) {
    const path = join(golden, version, 'machine.ckpt');
    const { origin, ...found } = await inBrowser(path);
    assert.deepEqual([found, origin], [await expected(path), {}], version);
  }
});

test('a larger machine opens, and a damaged file is refused with its code', async () => {
  const path = join(scratch, 'machine.ckpt');
  const origin = { createdAtMs: 5, vmId: 'web', checkpoint: '1-2' };
  await writeCheckpointFile(
    path,
    new Guest({ seed: 9, ramPages: 700, diskPages: 50 }).run(900).truth(),
    origin,
  );
  const { origin: said, ...found } = await inBrowser(path);
  assert.deepEqual([found, said], [await expected(path), origin]);
  const bytes = await readFile(path);
  bytes[bytes.length >> 1]! ^= 1;
  await writeFile(path, bytes);
  assert.equal((await inBrowser(path))['code'], 'CHECKPOINT_FILE_DAMAGED');
});
