/** The command line in few files is the command line. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, utimesSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '../..');
const parent = join(root, 'build/cli');

interface Built {
  folder: string;
  entries: Record<string, string>;
  sources: { path: string; mtimeMs: number }[];
}

function build(): Built {
  const { status, stderr } = spawnSync(process.execPath, [join(root, 'packages/cli/build.ts')], {
    encoding: 'utf8',
  });
  assert.equal(status, 0, stderr);
  return JSON.parse(readFileSync(join(parent, 'files.json'), 'utf8')) as Built;
}

function run(file: string, ...words: string[]): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [file, ...words], { encoding: 'utf8' });
  return { status, stdout, stderr };
}

test('it finds what lies beside its sources, and says the same', () => {
  const { folder, entries } = build();
  const source = 'packages/cli/src/main.ts';
  const built = join(parent, folder, entries[source] ?? '');
  assert.ok(existsSync(built));
  for (const words of [
    ['--version'],
    ['node', '--help'],
    ['images', 'list', '--json'],
    ['run', 'builtin', '--cold', '--max-instructions', '1000'],
    ['run', '--kernel', '/nowhere'],
    ['vm', 'create'],
  ])
    assert.deepEqual(run(built, ...words), run(join(root, source), ...words), words.join(' '));
});

test('it is of all sources that it needs, and made anew when one has another time', () => {
  const { sources, folder } = build();
  const paths = sources.map(({ path }) => path);
  for (const needed of ['packages/cli/src/commands/run.ts', 'packages/emulator/src/machine/machine.ts'])
    assert.ok(paths.includes(needed), needed);
  assert.ok(!paths.some((path) => path.endsWith('.test.ts') || path.includes('node_modules')));
  const path = 'packages/cli/src/version.ts';
  utimesSync(join(root, path), 1, 1);
  const again = build();
  utimesSync(join(root, path), new Date(), new Date());
  assert.equal(again.sources.find((each) => each.path === path)?.mtimeMs, 1000);
  // The same sources make the same files.
  assert.equal(again.folder, folder);
  assert.ok(readdirSync(parent).includes(folder));
});
