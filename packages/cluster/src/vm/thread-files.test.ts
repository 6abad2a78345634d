/** What a guest's thread loads: what was built, but never of sources that have changed since. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { areCurrent, stampOf, threadFile, type ThreadFiles } from './thread-files.ts';
import { machineRuntime } from './vm-runtime.ts';

test('what was built counts while each source is as it was', (t) => {
  const base = mkdtempSync(join(tmpdir(), 'revenant-threads-'));
  t.after(() => rmSync(base, { recursive: true }));
  const [a, b] = [join(base, 'a.ts'), join(base, 'b.ts')];
  writeFileSync(a, 'one');
  writeFileSync(b, 'two');
  const sources = ['a.ts', 'b.ts'].map((path) => ({ path, ...stampOf(join(base, path))! }));
  const files: ThreadFiles = { folder: 'x', entries: {}, sources };
  assert.equal(areCurrent(files, base), false, 'the files are not there');
  mkdirSync(join(base, 'build/threads/x'), { recursive: true });
  assert.equal(areCurrent(files, base), true);
  utimesSync(b, 1, 1);
  assert.equal(areCurrent(files, base), false, 'written again');
  const at = sources[1]!.mtimeMs / 1000;
  writeFileSync(b, 'three');
  utimesSync(b, at, at);
  assert.equal(areCurrent(files, base), false, 'of another size');
  rmSync(b);
  assert.equal(areCurrent(files, base), false, 'gone');
});

test('a module that nothing was built of is loaded itself', () => {
  assert.equal(threadFile('file:///nowhere/guest.ts'), 'file:///nowhere/guest.ts');
  assert.equal(threadFile('data:text/javascript,'), 'data:text/javascript,');
});

test('what is loaded for the machine is there, and makes guests', async () => {
  const url = threadFile(machineRuntime);
  assert.ok(existsSync(new URL(url)));
  const module = (await import(url)) as Record<string, unknown>;
  assert.deepEqual(
    ['createGuest', 'prepare'].map((name) => typeof module[name]),
    ['function', 'function'],
  );
});
