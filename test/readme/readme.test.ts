/**
 * The first block of README.md as a new user types it: by bash, line by line, as it stands, in a home of its own. What a test can't have is exchanged:
 * places outside of that home, a port that may be taken, what a person reads off the screen. Every other block is named with what holds it.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { cacheFolder } from '../../packages/cli/src/images/cache.ts';
import { freePorts } from '../../packages/cluster/src/demo/free-ports.ts';
import { imageOrSkip } from '../linux/shell.ts';

const root = join(import.meta.dirname, '../..');
/** For all lines, on a busy host. */
const patienceMs = 1_500_000;

const readme = readFileSync(join(root, 'README.md'), 'utf8');
const blocks = [...readme.matchAll(/^```\w*\n(.*?)^```$/gms)].map(([, text = '']) => text.trimEnd());

const typedBlock = 'kill -9 PID';
/** By a text of each. */
const held: Readonly<Record<string, string>> = {
  'git clone': 'npm start is in release/pack.test.ts, from the installed package; npm test is what runs this',
  '== kill -9 a': 'it shows what npm start prints',
  'images import': 'each of its commands parses (.ci/docs.test.ts); it is not typed yet',
  'vm console web': 'each of its commands parses (.ci/docs.test.ts); it is not typed yet',
  'checkpoint linux': 'each of its commands parses (.ci/docs.test.ts); it is not typed yet',
  '[vm.create]': 'packages/cli/src/command/config.test.ts reads such files',
  'createMachine({': 'release/pack.test.ts runs the example of packages/emulator/README.md',
};

const exchanges: readonly (readonly [RegExp, string])[] = [
  [/file:\/srv\//g, 'file:$HOME/srv-'],
  [/\b8080\b/g, 'PORT'],
  // Who runs the VM, and the process of that node, as it said when it began to listen.
  [
    /^kill -9 PID/,
    'kill -9 $(pid_of $(npx revenant vm show shop --json | grep -o \'"node": *"[ab]"\' | head -1 | grep -o "[ab]\\b"))',
  ],
];

/** In front of the lines. What was said so far stands in `said`. */
const prelude = `set -e -o pipefail
pid_of() { grep -o "\\"node\\":\\"$1\\",\\"address\\":[^,]*,\\"pid\\":[0-9]*" said | tail -1 | grep -o '[0-9]*$'; }
`;

async function type(lines: readonly string[], home: string): Promise<string> {
  const work = join(home, 'work');
  mkdirSync(join(home, 'bin'), { recursive: true });
  mkdirSync(work);
  // As npx finds the command of the folder that it is in: without npm's own start, a second each.
  const npx = join(home, 'bin/npx');
  writeFileSync(npx, `#!/bin/sh\nshift\nexec "${process.execPath}" "${join(root, 'launcher.mjs')}" "$@"\n`);
  chmodSync(npx, 0o755);
  const [port] = await freePorts(1);
  const script = lines
    .map((line) => exchanges.reduce((text, [pattern, by]) => text.replace(pattern, by), line))
    .join('\n');
  const { REVENANT_STORE: _store, REVENANT_NODE: _node, ...environment } = process.env;
  const path = `${home}/bin:${process.env['PATH'] ?? ''}`;
  const shell = spawn('bash', ['-c', prelude + script.replaceAll('PORT', String(port))], {
    cwd: work,
    detached: true,
    env: { ...environment, HOME: home, PATH: path, REVENANT_CACHE: cacheFolder() },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  for (const stream of [shell.stdout, shell.stderr])
    stream.on('data', (bytes: Buffer) => {
      text += bytes.toString();
      writeFileSync(join(work, 'said'), text);
    });
  const end = (): void => {
    try {
      process.kill(-shell.pid!, 'SIGKILL');
    } catch {
      // All of them have ended.
    }
  };
  const late = setTimeout(end, patienceMs);
  const said = once(shell, 'close');
  const [code] = (await once(shell, 'exit')) as [number | null];
  clearTimeout(late);
  end();
  await said;
  assert.equal(code, 0, text);
  return text;
}

test(
  'a web server keeps answering while its nodes die, as README.md has it',
  { timeout: 1_800_000 },
  async (context: TestContext) => {
    if ((await imageOrSkip(context, 'linux-cloud')) === undefined) return;
    const home = mkdtempSync(join(tmpdir(), 'revenant-readme-'));
    try {
      const block = blocks.find((each) => each.includes(typedBlock))!;
      const text = await type(block.split('\n'), home);
      assert.equal(text.match(/<h1>Hello from revenant<\/h1>/g)?.length, 2, text);
    } finally {
      rmSync(home, { recursive: true, force: true });
    }
  },
);

test('no block of README.md is left out without a reason', () => {
  const known = [typedBlock, ...Object.keys(held)].map((text) =>
    blocks.filter((each) => each.includes(text)),
  );
  assert.ok(known.every(({ length }) => length === 1));
  assert.deepEqual(new Set(known.flat()), new Set(blocks));
});
