/**
 * Guards that guard: each rule of the house is broken once, in a small tree of its own or in a text, and has to be noticed. A rule that
 * matches nothing would pass in silence for ever.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ESLint } from 'eslint';
import tseslint from 'typescript-eslint';

const root = fileURLToPath(new URL('..', import.meta.url));
const folders: string[] = [];
after(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true }))));

/** A folder that holds these files, by path. */
async function tree(files: Record<string, string>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'revenant-guards-'));
  folders.push(folder);
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
  }
  return folder;
}

function runTool(script: string, args: string[], cwd: string): string {
  const { stdout, stderr } = spawnSync(process.execPath, [join(root, 'node_modules', script), ...args], {
    cwd,
    encoding: 'utf8',
  });
  return stdout + stderr;
}

describe('layers', () => {
  /** Names of the rules that two files break, of which the first imports the second. */
  async function broken(files: Record<string, string>): Promise<string[]> {
    const folder = await tree(files);
    await cp(join(root, 'tsconfig.json'), join(folder, 'tsconfig.json'));
    const output = runTool(
      'dependency-cruiser/bin/dependency-cruise.mjs',
      ['packages', '--config', join(root, '.dependency-cruiser.cjs'), '--output-type', 'json'],
      folder,
    );
    const { summary } = JSON.parse(output) as { summary: { violations: { rule: { name: string } }[] } };
    return [...new Set(summary.violations.map(({ rule }) => rule.name))].sort();
  }
  const importOf = (path: string): string => `import { it } from '${path}';\nexport const other = it;\n`;
  const it = 'export const it = 1;\n';
  const emulator = 'packages/emulator/src';

  const cases: [string, string[], Record<string, string>][] = [
    [
      'a device that imports another of its folder',
      ['devices-do-not-import-each-other'],
      {
        [`${emulator}/devices/timer/pit.ts`]: importOf('./rtc.ts'),
        [`${emulator}/devices/timer/rtc.ts`]: it,
      },
    ],
    [
      'a device that imports one of another folder',
      ['devices-do-not-import-each-other'],
      {
        [`${emulator}/devices/timer/pit.ts`]: importOf('../input/i8042.ts'),
        [`${emulator}/devices/input/i8042.ts`]: it,
      },
    ],
    [
      'a device that imports the type of another',
      ['devices-do-not-import-each-other'],
      {
        [`${emulator}/devices/timer/pit.ts`]:
          "import type { It } from './rtc.ts';\nexport const other: It = 1;\n",
        [`${emulator}/devices/timer/rtc.ts`]: 'export type It = number;\n',
      },
    ],
    [
      'a device that imports the machine',
      ['devices-know-no-machine'],
      {
        [`${emulator}/devices/timer/pit.ts`]: importOf('../../machine/machine.ts'),
        [`${emulator}/machine/machine.ts`]: it,
      },
    ],
    [
      'a contract of devices and a shared part are allowed',
      [],
      {
        [`${emulator}/devices/virtio/virtio-blk.ts`]: importOf('./virtqueue.ts'),
        [`${emulator}/devices/virtio/virtqueue.ts`]: importOf('../device.ts'),
        [`${emulator}/devices/device.ts`]: it,
      },
    ],
    [
      'a machine that imports Node',
      ['emulator-runs-anywhere'],
      {
        [`${emulator}/machine/machine.ts`]:
          "import { readFileSync } from 'node:fs';\nexport const it = readFileSync;\n",
      },
    ],
    [
      'a machine that imports its host',
      ['emulator-core-not-host'],
      {
        [`${emulator}/machine/machine.ts`]: importOf('../host-node/hash.ts'),
        [`${emulator}/host-node/hash.ts`]: it,
      },
    ],
    [
      'decisions that import effects',
      ['decisions-have-no-effects'],
      {
        'packages/cluster/src/decisions/lease.ts': importOf('../node/links.ts'),
        'packages/cluster/src/node/links.ts': it,
      },
    ],
    [
      'decisions that import Node',
      ['decisions-have-no-effects'],
      {
        'packages/cluster/src/decisions/lease.ts':
          "import { hostname } from 'node:os';\nexport const it = hostname;\n",
      },
    ],
    [
      'storage that imports the emulator',
      ['storage-knows-no-machine'],
      { 'packages/storage/src/a.ts': importOf('../../emulator/src/b.ts'), [`${emulator}/b.ts`]: it },
    ],
    [
      'the emulator that imports storage',
      ['emulator-knows-no-house'],
      { [`${emulator}/b.ts`]: importOf('../../storage/src/a.ts'), 'packages/storage/src/a.ts': it },
    ],
    [
      'the emulator that imports the network',
      ['emulator-knows-no-house'],
      { [`${emulator}/b.ts`]: importOf('../../network/src/a.ts'), 'packages/network/src/a.ts': it },
    ],
    [
      'storage that imports the debugger',
      ['storage-knows-no-machine'],
      { 'packages/storage/src/a.ts': importOf('../../debugger/src/a.ts'), 'packages/debugger/src/a.ts': it },
    ],
    [
      'a cluster that imports another interface to the processor',
      ['cluster-below-cli'],
      { 'packages/cluster/src/a.ts': importOf('../../unicorn/src/a.ts'), 'packages/unicorn/src/a.ts': it },
    ],
    [
      'a page that imports the network',
      ['console-sees-messages-emulator-and-files-only'],
      { 'packages/console/src/a.ts': importOf('../../network/src/a.ts'), 'packages/network/src/a.ts': it },
    ],
    [
      'a cluster that imports the command line',
      ['cluster-below-cli'],
      { 'packages/cluster/src/a.ts': importOf('../../cli/src/a.ts'), 'packages/cli/src/a.ts': it },
    ],
    [
      'a command that imports the simulation',
      ['simulation-is-for-tests'],
      { 'packages/cli/src/a.ts': importOf('../../simulation/src/a.ts'), 'packages/simulation/src/a.ts': it },
    ],
    [
      'two files that import each other',
      ['no-cycles'],
      {
        'packages/cli/src/a.ts': "import { b } from './b.ts';\nexport const a = (): unknown => b;\n",
        'packages/cli/src/b.ts': "import { a } from './a.ts';\nexport const b = (): unknown => a;\n",
      },
    ],
    [
      'two folders that name the types of each other',
      ['no-type-cycles-across-folders'],
      {
        'packages/cli/src/x/a.ts': "import type { B } from '../y/b.ts';\nexport type A = B | 1;\n",
        'packages/cli/src/y/b.ts': "import type { A } from '../x/a.ts';\nexport type B = A[];\n",
      },
    ],
    ['an import of nothing', ['no-unresolved'], { 'packages/cli/src/a.ts': importOf('./nowhere.ts') }],
  ];
  for (const [what, rules, files] of cases)
    test(what, async () => {
      assert.deepEqual(await broken(files), rules);
    });
});

describe('lint', () => {
  // Rules that ask for types need a file on disk; the ones tested here don't: that of names asks for none of them as it is set.
  const ofNames = '@typescript-eslint/naming-convention';
  const off = Object.entries(tseslint.configs.disableTypeChecked.rules as Record<string, 'off'>);
  const typed = Object.fromEntries(off.filter(([name]) => name !== ofNames));
  const lint = new ESLint({
    cwd: root,
    overrideConfig: [{ rules: typed }, { languageOptions: { parserOptions: { projectService: false } } }],
  });
  async function rules(filePath: string, text: string): Promise<string[]> {
    const results = await lint.lintText(text, { filePath: join(root, filePath) });
    const errors = results.flatMap(({ messages }) => messages).filter(({ severity }) => severity === 2);
    return [...new Set(errors.map(({ ruleId }) => String(ruleId)))].sort();
  }
  const places = [
    'packages/emulator/src/machine/x.ts',
    'packages/cluster/src/decisions/x.ts',
    'packages/simulation/src/x.ts',
  ];
  const ambient: [string, string][] = [
    ['export const now = Date.now();\n', 'no-restricted-properties'],
    ['export const now = new Date();\n', 'no-restricted-syntax'],
    ['export const chance = Math.random();\n', 'no-restricted-properties'],
    ['export const wait = (f: () => void) => setTimeout(f, 1);\n', 'no-restricted-globals'],
    [
      "import { setTimeout as sleep } from 'node:timers/promises';\nexport const wait = sleep;\n",
      'no-restricted-imports',
    ],
    [
      "import { randomBytes } from 'node:crypto';\nexport const chance = randomBytes;\n",
      'no-restricted-imports',
    ],
  ];
  for (const place of places)
    test(`the clock and chance of the host are out of reach in ${dirname(place)}`, async () => {
      for (const [text, rule] of ambient) assert.deepEqual(await rules(place, text), [rule], text);
      assert.deepEqual(await rules(place, 'export const at = new Date(0);\n'), []);
    });

  test('they are within reach at the edges', async () => {
    for (const place of ['packages/emulator/src/host-node/x.ts', 'packages/cluster/src/node/x.ts'])
      for (const [text] of ambient) assert.deepEqual(await rules(place, text), [], place);
  });

  const lines = (count: number): string => 'run();\n'.repeat(count);
  test('a file of more than 500 lines and a function of more than 70 are errors in every package', async () => {
    const head = 'declare function run(): void;\n';
    for (const name of ['emulator', 'storage', 'cluster', 'cli', 'simulation', 'console']) {
      const path = `packages/${name}/src/x.ts`;
      assert.deepEqual(await rules(path, head + lines(600)), ['max-lines'], path);
      assert.deepEqual(
        await rules(path, `${head}export function long(): void {\n${lines(80)}}\n`),
        ['max-lines-per-function'],
        path,
      );
      assert.deepEqual(
        await rules(path, `${head}export function short(): void {\n${lines(60)}}\n`),
        [],
        path,
      );
    }
  });

  test('a constant in capitals is an error, also an exported one', async () => {
    for (const path of ['packages/storage/src/x.ts', 'test/x.ts'])
      for (const name of ['LEASE_MS', 'MAGIC', 'A1']) {
        assert.deepEqual(await rules(path, `const ${name} = 1;\nvoid ${name};\n`), [ofNames], name);
        assert.deepEqual(await rules(path, `export const ${name} = 1;\n`), [ofNames], name);
      }
    for (const name of ['leaseMs', 'EtherType'])
      assert.deepEqual(await rules('packages/storage/src/x.ts', `export const ${name} = 1;\n`), [], name);
  });

  test('prettier-ignore before anything but a table is an error', async () => {
    const path = 'packages/storage/src/x.ts';
    const ofTables = 'house/tables-only';
    const ignore = '// prettier-ignore\n';
    const scalars = '1, 2, 3, 4,\n  5, 6, 7, 8,\n';
    const tables = [
      `export const cells = [\n  ${scalars}];\n`,
      `/** Cells. */\nexport const cells = new Set([\n  ${scalars}] as const);\n`,
      "export const names: Record<number, string> = {\n  1: 'a', 2: 'b', 3: 'c', 4: 'd',\n  5: 'e', 6: 'f', 7: 'g', 8: 'h',\n};\n",
      "export const rows = [\n  ['a', run()], ['b', run],\n  ['c', 3],\n] as const;\n",
    ];
    const others = [
      `export const cells = [\n  1, 2,\n  3];\n`,
      'export const far = { a: [1], b: [2], c: [3] };\n',
      'export const view = {\n  a: run(), b: run,\n  c: 1 };\n',
      `run([\n  ${scalars}]);\n`,
      "import { a,\n  b } from './c.ts';\nrun(a, b);\n",
      `export function f(): number[] {\n  return [\n  ${scalars}]; }\n`,
    ];
    const head = 'declare const run: (...all: unknown[]) => number;\nrun();\n';
    const before = (text: string): string => head + text.replace(/^(?=export|run|import)/m, ignore);
    for (const text of tables) assert.deepEqual(await rules(path, before(text)), [], text);
    for (const text of others) assert.ok((await rules(path, before(text))).includes(ofTables), text);
    for (const text of [...tables, ...others]) {
      const behind = `${head}${text.trimEnd()} ${ignore}`;
      assert.ok((await rules(path, behind)).includes(ofTables), `behind it: ${text}`);
    }
  });

  test('a private member by keyword is an error, but a private constructor is none, nor is AssemblyScript', async () => {
    const wrong = [
      'private readonly a = 1;',
      'private static b(): void {}',
      'private get c(): number { return 1; }',
    ];
    for (const member of wrong) {
      const text = `export class Thing {\n  d = 1;\n  ${member}\n}\n`;
      assert.ok(
        (await rules('packages/emulator/src/wasm/x.ts', text)).includes('house/private-by-hash'),
        member,
      );
      assert.ok(!(await rules('packages/emulator/src/core/x.ts', text)).includes('house/private-by-hash'));
    }
    const right = 'export class Thing {\n  #a = 1;\n  private constructor() {\n    this.#a++;\n  }\n}\n';
    const found = await rules('packages/emulator/src/wasm/x.ts', right);
    assert.ok(!found.includes('house/private-by-hash'), found.join());
  });

  test('a default export is an error', async () => {
    assert.deepEqual(await rules('packages/cli/src/x.ts', 'export default 1;\n'), ['no-restricted-exports']);
  });
});

test('unused files, exports and dependencies are found', async () => {
  const folder = await tree({
    'package.json': JSON.stringify({ name: 'house', type: 'module', workspaces: ['packages/*'] }),
    'packages/a/package.json': JSON.stringify({
      name: 'a',
      type: 'module',
      exports: { '.': './src/index.ts' },
      dependencies: { 'left-pad': '1' },
    }),
    'packages/a/src/index.ts': "export { used } from './b.ts';\n",
    'packages/a/src/b.ts': 'export const used = 1;\nexport const unusedExport = 2;\n',
    'packages/a/src/unused-file.ts': 'export const nobody = 1;\n',
  });
  const output = runTool(
    'knip/bin/knip.js',
    ['--no-progress', '--directory', folder, '--config', join(root, 'knip.jsonc')],
    folder,
  );
  for (const found of [/unusedExport/, /unused-file\.ts/, /left-pad/]) assert.match(output, found);
  assert.doesNotMatch(output, /\bused {2}/);
});
