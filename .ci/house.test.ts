/**
 * The house rules as tests: format, lint, types, layers. Each is one run of the tool that a person would use
 * (`npm run lint` …), so what fails here is found the same way by hand.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { glob, readFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Runs a tool of node_modules with the Node that runs this test; resolves with its exit code and what it wrote. */
function runTool(script: string, args: string[]): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [`node_modules/${script}`, ...args], { cwd: root });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.on('error', reject);
    child.on('close', (code) => {
      resolve({ code, output });
    });
  });
}

async function mustPass(script: string, args: string[]): Promise<void> {
  const { code, output } = await runTool(script, args);
  assert.equal(code, 0, `\n${output}`);
}

/** Whether a source file begins, behind the line that names its interpreter, with a documentation comment of a sentence. */
function hasHead(text: string): boolean {
  const comment = /^(?:#!.*\n)?\/\*\*([^]*?)\*\//.exec(text)?.[1];
  return comment !== undefined && (comment.match(/\w+/g) ?? []).length >= 3;
}

/** The source files below these folders, and their texts; what the build generates is none. */
async function* sources(): AsyncGenerator<[string, string]> {
  const exclude = (path: string): boolean => /(^|\/)(node_modules|build|dist|generated)$/.test(path);
  for await (const path of glob(
    ['*.{js,mjs,cjs}', '{packages,test,images,release,.ci}/**/*.{ts,tsx,js,mjs,cjs}'],
    { cwd: root, exclude },
  ))
    yield [path, await readFile(`${root}/${path}`, 'utf8')];
}

/** Whether a source file that starts threads hears of their failures: one that nobody hears ends the process. */
function hearsThreads(text: string): boolean {
  return !/\bnew Worker\(/.test(text) || /\.(?:on|once|addEventListener)\('error'/.test(text);
}

/** Whether a source file switches the rules of length off for itself. */
const isTooLong = (text: string): boolean => /eslint-disable[\w-]*\s[^\n]*max-lines/.test(text);

/**
 * Who puts something into a store, and what looks at it first. Records can be put by `putRecord` and `replaceRecord` alone, whose type
 * (`CheckedRecord`) wants a check; what else is stored is here, with the function that makes or judges it.
 */
const checksOfStored: Readonly<Record<string, string>> = {
  'packages/cluster/src/stored/blobs.ts': 'check',
  'packages/cluster/src/stored/event-log.ts': 'storableEvent',
  'packages/storage/src/checkpoint/base-image.ts': 'build',
  'packages/storage/src/checkpoint/base-manifest.ts': 'isManifestOf',
  'packages/storage/src/checkpoint/copy.ts': 'copied.read',
  'packages/storage/src/checkpoint/manifest.ts': 'isHead',
  'packages/storage/src/checkpoint/page-stage.ts': 'build',
  'packages/storage/src/checkpoint/working-set.ts': 'isWorkingSet',
  'packages/storage/src/checkpoint/writer.ts': 'encodeManifest',
  'packages/storage/src/envelope.ts': 'sealBytes',
  'packages/storage/src/log/segment.ts': 'whyImpossible',
  'packages/storage/src/log/writer.ts': 'encodeSegment',
  'packages/storage/src/store/probe.ts': 'newNonce',
  'packages/storage/src/store/records.ts': 'fits',
};

describe('house', () => {
  test('types: tsc finds no error', () => mustPass('typescript/bin/tsc', ['--noEmit', '-p', '.']));
  test('lint: eslint finds no error', () =>
    mustPass('eslint/bin/eslint.js', [
      '--quiet',
      '--cache',
      '--cache-location',
      'node_modules/.cache/eslint/',
      '.',
    ]));
  test('layers: no import crosses them', () =>
    mustPass('dependency-cruiser/bin/dependency-cruise.mjs', [
      'packages',
      'test',
      'images',
      '--config',
      '.dependency-cruiser.cjs',
    ]));
  test('unused: no file, export or dependency that nothing needs', () =>
    mustPass('knip/bin/knip.js', ['--no-progress']));
  test('format: prettier would change nothing', () =>
    mustPass('prettier/bin/prettier.cjs', ['--check', '--cache', '--log-level=warn', '.']));

  test('heads: each source file says at its head what it is', async () => {
    const bare = [];
    let files = 0;
    for await (const [path, text] of sources()) {
      files++;
      if (!hasHead(text)) bare.push(path);
    }
    assert.ok(files > 1000, 'the files are found');
    assert.deepEqual(bare, []);
    for (const text of [
      "import 'a';\n/** What it is. */\n",
      '// What it is.\n',
      '/** */\n',
      '/* What it is. */\n',
    ])
      assert.equal(hasHead(text), false, text);
  });

  test('owners: whoever starts a thread hears of its failures', async () => {
    const deaf = [];
    let starters = 0;
    for await (const [path, text] of sources()) {
      if (!/^packages\/[^/]+\/src\//.test(path) || /\.test\.ts$/.test(path)) continue;
      if (text.includes('new Worker(')) starters++;
      if (!hearsThreads(text)) deaf.push(path);
    }
    assert.ok(starters >= 5, 'the threads are found');
    assert.deepEqual(deaf, []);
    assert.equal(hearsThreads("const worker = new Worker(path);\nworker.on('message', heard);"), false);
  });

  test('stored: what is put into a store was looked at by what its readers ask', async () => {
    const putting = new Map<string, string>();
    for await (const [path, text] of sources())
      if (/^packages\/(?!simulation)[^/]+\/src\//.test(path) && !/\.test\.ts$/.test(path))
        if (/\b(?:sealEnvelope|sealBytes)\(|\b(?:store|inner|to)\.put\(/i.test(text)) putting.set(path, text);
    // Stores that hand on what is put into them.
    for (const path of ['cluster/src/node/measured-store.ts', 'storage/src/store/patient-store.ts'])
      assert.ok(putting.delete(`packages/${path}`), path);
    assert.deepEqual([...putting.keys()].toSorted(), Object.keys(checksOfStored).toSorted());
    for (const [path, check] of Object.entries(checksOfStored)) {
      const asked = putting.get(path)!.split(`${check}(`).length - 1;
      assert.ok(asked >= 1, `${path} does not ask ${check}`);
    }
  });

  test('the lock file names no registry', async () => {
    const lock = JSON.parse(await readFile(`${root}/package-lock.json`, 'utf8')) as {
      packages: Record<string, { resolved?: string }>;
    };
    const hosts = Object.entries(lock.packages).filter(([, entry]) => entry.resolved?.includes('://'));
    assert.deepEqual(hosts, []);
  });

  test('no file is let off the rules of length', async () => {
    assert.ok(isTooLong(['/* eslint', 'disable max-lines -- it is long */'].join('-')));
    const found: string[] = [];
    for await (const [path, text] of sources()) if (isTooLong(text)) found.push(path);
    assert.deepEqual(found, []);
  });
});
