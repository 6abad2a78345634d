/**
 * Makes the packages that people install: JavaScript, declarations, source maps, WebAssembly and the page; no tests. Below `dist` each
 * package has the tree of the repository, so every path that the sources know stays right.
 */
import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { compilePackages } from './compile.ts';
import { publishedManifest, type Manifest } from './manifest.ts';

interface Shipped {
  folder: string;
  /** The least Node that runs it. */
  node: string;
  /** Compiled files of the repository outside of its folder that go with it. */
  sources?: string;
  /** Folders and files that go along as they are, below `dist`. */
  along?: string[];
  /** Entries for what goes along. */
  exports?: Record<string, string>;
}

/** In the order of their dependencies. The command's own launcher starts Node 24 where the host's is older. */
const shipped: readonly Shipped[] = [
  {
    folder: 'packages/emulator',
    node: '>=22',
    along: ['core', 'fault', 'interpreter'].map((name) => `build/emulator/${name}.wasm`),
  },
  { folder: 'packages/network', node: '>=22' },
  { folder: 'packages/storage', node: '>=22' },
  { folder: 'packages/debugger', node: '>=22' },
  { folder: 'packages/unicorn', node: '>=22' },
  {
    folder: 'packages/cluster',
    node: '>=24',
    along: ['build/console'],
    exports: { './page/*': './dist/build/console/*' },
  },
  {
    folder: 'packages/cli',
    node: '>=20',
    sources: 'images/',
    along: [
      'images/linux',
      'images/linux-amd64',
      'images/linux-cloud',
      'images/linux-i386',
      'images/linux-server',
    ],
  },
];
/** What the command's package runs first: it needs no compiler. */
const command = { bin: { revenant: './bin/installed.mjs' }, files: ['installed.mjs', 'runtime.mjs'] };

const run = promisify(execFile);

async function readManifest(path: string): Promise<Manifest> {
  return JSON.parse(await readFile(join(path, 'package.json'), 'utf8')) as Manifest;
}

/** The commit that the packages are made of; `unknown` outside of a repository. */
async function commitOf(root: string): Promise<string> {
  const git = (...words: string[]): Promise<string> =>
    run('git', ['-C', root, ...words]).then(({ stdout }) => stdout.trim());
  try {
    const changed = await git('status', '--porcelain', '--untracked-files=no');
    return `${await git('rev-parse', '--short=12', 'HEAD')}${changed === '' ? '' : ' with changes'}`;
  } catch {
    return 'unknown';
  }
}

const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

async function writeUnder(folder: string, path: string, text: string): Promise<void> {
  await mkdir(dirname(join(folder, path)), { recursive: true });
  await writeFile(join(folder, path), text);
}

/**
 * Makes all packages and their tarballs.
 * @param root of the repository, whose WebAssembly and page are built
 * @param target gets a folder and a tarball for each package
 * @returns paths of the tarballs
 */
export async function pack(root: string, target: string): Promise<string[]> {
  const [files, commit, repository] = [
    compilePackages(
      root,
      shipped.map(({ folder }) => folder),
    ),
    await commitOf(root),
    await readManifest(root),
  ];
  const tarballs: string[] = [];
  for (const { folder, node, sources, along = [], exports = {} } of shipped) {
    const to = join(target, folder);
    const isCommand = folder === 'packages/cli';
    const source = await readManifest(join(root, folder));
    for (const name of Object.keys(source.dependencies ?? {}))
      if (
        name.startsWith('@revenant/') &&
        !shipped.some((each) => each.folder.endsWith(name.slice('@revenant'.length)))
      )
        throw new Error(`${source.name} needs ${name}, which is not among the packages that are made`);
    await rm(to, { recursive: true, force: true });
    const manifest = publishedManifest(folder, source, {
      commit,
      node,
      exports,
      ...(isCommand ? { bin: command.bin, optionalDependencies: repository.optionalDependencies ?? {} } : {}),
    });
    await writeUnder(to, 'package.json', json(manifest));
    for (const { path, text } of files)
      if (path.startsWith(`${folder}/`) || (sources !== undefined && path.startsWith(sources)))
        await writeUnder(to, `dist/${path}`, text);
    // `revenant --version` reads it beside its sources, here as in the repository.
    if (isCommand) await writeUnder(to, `dist/${folder}/package.json`, json(manifest));
    for (const path of along) await cp(join(root, path), join(to, 'dist', path), { recursive: true });
    for (const name of isCommand ? command.files : [])
      await cp(join(root, folder, 'bin', name), join(to, 'bin', name), { recursive: true });
    await cp(join(root, 'LICENSE'), join(to, 'LICENSE'));
    await cp(join(root, folder, 'README.md'), join(to, 'README.md'));
    const { stdout } = await run('npm', ['pack', '--silent', '--pack-destination', target], { cwd: to });
    tarballs.push(join(target, stdout.trim()));
  }
  return tarballs;
}
