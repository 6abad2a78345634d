/**
 * Puts all modules of a program into few files: a process that resolves, reads and links each of some hundred modules takes twice or three
 * times the processor time until its work begins. The files lie in a folder of their own for each state of the sources; a list beside it says
 * which is the newest and what is in it. `import.meta.url` stays that of the source, so that whatever is looked for beside one is found.
 */
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { isAbsolute, join, relative, sep } from 'node:path';
import { rolldown } from 'rolldown';
import { areCurrent, listName, root, stampOf, type ThreadFiles } from './src/vm/thread-files.ts';

/** A process that runs goes on with those that it began with. */
const buildsKept = 3;

export interface Program {
  /** For the line that says that it is built. */
  what: string;
  /** Below the root, with slashes: where the folders and the list go. */
  parent: string;
  /** Name of the file that is made → source, below the root. */
  inputs: Record<string, string>;
}

interface Built extends ThreadFiles {
  /** Hash of the sources. */
  contents: string;
}

const toPath = (file: string): string => relative(root, file).split(sep).join('/');

function contentsOf(paths: readonly string[]): string {
  const hash = createHash('sha256');
  for (const path of paths) hash.update(`${path}\n`).update(readFileSync(join(root, path)));
  return hash.digest('hex');
}

/** What a module says of itself; only the source that a file is named after may be what was started. */
function ofSource(code: string, path: string, isInput: boolean): string {
  const url = `new URL(${JSON.stringify(`../../../${path}`)}, import.meta.url).href`;
  const main = isInput ? 'import.meta.main' : 'false';
  return code.replaceAll('import.meta.main', main).replaceAll('import.meta.url', url);
}

async function build({ parent, inputs }: Program): Promise<Built> {
  const bundle = await rolldown({
    input: Object.fromEntries(Object.entries(inputs).map(([name, path]) => [name, join(root, path)])),
    platform: 'node',
    // Packages of others may have parts that aren't JavaScript.
    external: (id) => /^[@\w]/.test(id) && !id.startsWith('@revenant/'),
    logLevel: 'warn',
    plugins: [
      {
        name: 'of-source',
        transform: (code, id) =>
          code.includes('import.meta.')
            ? { code: ofSource(code, toPath(id), Object.values(inputs).includes(toPath(id))), map: null }
            : undefined,
      },
    ],
  });
  const { output } = await bundle.generate({
    format: 'esm',
    entryFileNames: '[name].mjs',
    chunkFileNames: '[name].mjs',
  });
  await bundle.close();
  const hash = createHash('sha256');
  const chunks = output.filter((each) => each.type === 'chunk');
  for (const { fileName, code } of chunks) hash.update(fileName).update(code);
  const folder = hash.digest('hex').slice(0, 16);
  const target = join(root, parent, folder);
  // Several processes may build at once: a folder is there whole or not at all.
  if (!existsSync(target)) {
    const temporary = `${target}.${String(process.pid)}`;
    mkdirSync(temporary, { recursive: true });
    for (const { fileName, code } of chunks) writeFileSync(join(temporary, fileName), code);
    renameSync(temporary, target);
  }
  const modules = new Set(chunks.flatMap(({ moduleIds }) => moduleIds));
  const sources = [...modules]
    .filter(isAbsolute)
    .sort()
    .flatMap((file) => {
      const stamp = stampOf(file);
      return stamp === undefined ? [] : [{ path: toPath(file), ...stamp }];
    });
  const entries = Object.fromEntries(Object.entries(inputs).map(([name, path]) => [path, `${name}.mjs`]));
  return { folder, entries, sources, contents: contentsOf(sources.map(({ path }) => path)) };
}

function removeOld(parent: string, newest: string): void {
  const folders = readdirSync(parent, { withFileTypes: true })
    .filter((each) => each.isDirectory() && each.name !== newest)
    .map(({ name }) => join(parent, name))
    .sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  for (const folder of folders.slice(buildsKept - 1)) rmSync(folder, { recursive: true, force: true });
}

function isCurrent(list: string, { parent }: Program): boolean {
  if (!existsSync(list)) return false;
  const built = JSON.parse(readFileSync(list, 'utf8')) as Built;
  // The times and sizes are what processes compare that run; a file may be another with the same of both.
  return (
    areCurrent(built, root, parent) && built.contents === contentsOf(built.sources.map(({ path }) => path))
  );
}

/** Builds it when a source has changed, or something is missing. */
export async function bringUpToDate(program: Program): Promise<void> {
  const parent = join(root, program.parent);
  const list = join(parent, listName);
  if (isCurrent(list, program)) return;
  process.stderr.write(`Building ${program.what} …\n`);
  mkdirSync(parent, { recursive: true });
  const built = await build(program);
  const temporary = `${list}.${String(process.pid)}`;
  writeFileSync(temporary, `${JSON.stringify(built)}\n`);
  renameSync(temporary, list);
  removeOld(parent, built.folder);
}
