/** `revenant run` with a script in a pipe: nothing of it is lost, and the run ends after it. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { imageOrSkip } from './shell.ts';

const program = join(import.meta.dirname, '../../packages/cli/src/main.ts');

interface Result {
  code: number | null;
  out: string;
  error: string;
}

/** Runs Linux with this as its standard input, which begins long before the guest listens. */
async function run(input: string, words: string[], cache?: string): Promise<Result> {
  const env = { ...process.env, ...(cache === undefined ? {} : { REVENANT_CACHE: cache }) };
  const child = spawn(process.execPath, [program, 'run', 'linux-cloud', ...words], { stdio: 'pipe', env });
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const ended = new Promise<number | null>((resolve) => {
    child.once('exit', resolve);
  });
  const [out, error] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { code: await ended, out, error };
}

test(
  'each line of a piped script is run once, and then the run ends',
  { timeout: 1_200_000 },
  async (context) => {
    if ((await imageOrSkip(context, 'linux-cloud')) === undefined) return;
    // What is echoed is not what is printed, so that the two can be told apart.
    const lines = Array.from({ length: 100 }, (_, n) => `echo li""ne-${n}`);
    const { code, out, error } = await run(`${lines.join('\n')}\n`, ['--cold']);
    assert.equal(code, 0, error);
    assert.deepEqual(
      Array.from(out.matchAll(/^line-(\d+)\r?$/gm), ([, n]) => Number(n)),
      Array.from(lines.keys()),
    );
    assert.match(error, /the input has ended, and the guest waits for more: left it/);
  },
);

test('the second run goes on where the first had booted', { timeout: 1_200_000 }, async (context) => {
  const image = await imageOrSkip(context, 'linux-cloud');
  if (image === undefined) return;
  const cache = mkdtempSync(join(tmpdir(), 'revenant-cache-'));
  try {
    mkdirSync(join(cache, 'images'));
    symlinkSync(image.folder, join(cache, 'images', 'linux-cloud'));
    const script = 'echo o""ne; echo $((1 + 1)) > /file; cat /file; poweroff -f\n';
    const cold = await run(script, [], cache);
    const warm = await run(script, [], cache);
    for (const { code, out, error } of [cold, warm]) {
      assert.equal(code, 0, error);
      assert.match(out, /^one\r?\n2\r?$/m);
    }
    assert.doesNotMatch(cold.error, /had booted/);
    assert.match(warm.error, /linux-cloud goes on where it had booted/);
    const start = (out: string): string => out.slice(0, 1000);
    assert.equal(start(warm.out), start(cold.out), 'what the boot had printed is printed again');
  } finally {
    rmSync(cache, { recursive: true });
  }
});
