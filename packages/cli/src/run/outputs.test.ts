/** `revenant run` writes files, and loses none that is a person's own. */
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const program = join(import.meta.dirname, '../main.ts');
let folder = '';
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'revenant-outputs-'));
});
after(() => rm(folder, { recursive: true, force: true }));

function run(words: string[], after = ''): { code: number | null; error: string } {
  const command = `"${process.execPath}" "${program}" run ${words.join(' ')} ${after}`;
  const { status, stderr } = spawnSync('bash', ['-o', 'pipefail', '-c', command], {
    cwd: folder,
    encoding: 'utf8',
  });
  return { code: status, error: stderr };
}

test('files beside those that are asked for stay, and an input is never an output', async () => {
  await writeFile(join(folder, 'vm.probe'), 'keep');
  await writeFile(join(folder, 'boot.log'), 'old');
  assert.equal(run(['builtin', '--max-instructions 1000000', '--save vm', '--serial none']).code, 12);
  assert.equal(await readFile(join(folder, 'vm.probe'), 'utf8'), 'keep');
  assert.equal(run(['tpyo', '--serial file:boot.log']).code, 2);
  assert.equal(await readFile(join(folder, 'boot.log'), 'utf8'), 'old');
  const { size } = await stat(join(folder, 'vm'));
  const same = run(['--restore vm', '--serial file:vm']);
  assert.match(same.error, /^revenant: --serial: 'vm' is read from as well/);
  assert.equal(same.code, 2);
  assert.equal((await stat(join(folder, 'vm'))).size, size);
});

test('an output that nobody takes any more ends the run in order', () => {
  const { code, error } = run(['builtin', '--save gone'], '| head -c 1 > /dev/null');
  assert.doesNotMatch(error, /at .*\.ts:\d+|Unhandled/);
  assert.equal(code, 0, error);
  assert.ok(existsSync(join(folder, 'gone')), 'the guest is saved');
  assert.equal(run(['--help'], '> /dev/full').code, 6);
});
