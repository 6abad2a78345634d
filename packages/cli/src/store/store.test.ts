/** A place without a store is refused by every command that only looks, and nothing is made there. */
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const program = join(import.meta.dirname, '../main.ts');
let folder = '';
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'revenant-store-'));
});
after(() => rm(folder, { recursive: true, force: true }));

interface Result {
  code: number;
  out: string;
  error: string;
}

function revenant(...words: string[]): Promise<Result> {
  const { REVENANT_STORE: _, REVENANT_NODE: __, ...env } = process.env;
  return new Promise((resolve) => {
    execFile(process.execPath, [program, ...words], { env, timeout: 1_800_000 }, (error, out, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), out, error: stderr });
    });
  });
}

test(
  'a mistyped place is refused, the same by every command, and stays as it is',
  { timeout: 1_800_000 },
  async () => {
    const missing = join(folder, 'typo');
    const empty = join(folder, 'empty');
    await mkdir(empty);
    const commands = [
      ['vm', 'list'],
      ['vm', 'show', 'web'],
      ['vm', 'events', 'web'],
      ['vm', 'create', 'web', 'builtin'],
      ['cluster', 'status'],
      ['checkpoint', 'list'],
      ['checkpoint', 'show', 'web'],
      ['run', '--restore', 'web'],
    ];
    for (const place of [missing, empty])
      for (const words of commands) {
        const { code, out, error } = await revenant(...words, '--store', `file:${place}`);
        assert.equal(code, 4, `${words.join(' ')}: ${error}`);
        assert.equal(out, '');
        assert.match(
          error,
          /^revenant: there is no store at file:.*\n {2}hint: .*store init/,
          words.join(' '),
        );
      }
    assert.ok(!existsSync(missing));
    assert.deepEqual(await readdir(empty), []);
  },
);

test('a store that was made is there, has one identity, and no VMs', { timeout: 1_800_000 }, async () => {
  const url = `file:${join(folder, 'made')}`;
  const made = await revenant('store', 'init', url, '--json');
  const { id } = JSON.parse(made.out) as { id: string };
  assert.match(id, /^[0-9a-f]{32}$/);
  assert.match((await revenant('store', 'init', url)).out, new RegExp(`identity +${id}`));
  assert.match((await revenant('store', 'show', url)).out, new RegExp(`identity +${id}`));
  const { code, out, error } = await revenant('vm', 'list', '--store', url);
  assert.deepEqual([code, out], [0, 'no VMs\n'], error);
});
