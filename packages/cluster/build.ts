/**
 * Puts what a guest's thread loads into few files, in build/threads: it is some 300 modules, and a thread that reads each of them needs three
 * times as much processor time until its guest is there. A takeover waits for that once for each VM. Nodes run the sources where there
 * are no such files, or where a source has changed since (src/vm/thread-files.ts).
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
import {
  areCurrent,
  listFile,
  root,
  stampOf,
  threadsFolder,
  type ThreadFiles,
} from './src/vm/thread-files.ts';

const here = join(root, 'packages/cluster/src/vm');
const inputs = { worker: join(here, 'worker.ts'), 'machine-guest': join(here, 'machine-guest.ts') };
/** A node that runs goes on with those that it began with. */
const buildsKept = 3;

const path = (file: string): string => relative(root, file).split(sep).join('/');

async function build(): Promise<ThreadFiles> {
  const bundle = await rolldown({
    input: inputs,
    platform: 'node',
    // Packages of others may have parts that aren't JavaScript.
    external: (id) => /^[@\w]/.test(id) && !id.startsWith('@revenant/'),
    logLevel: 'warn',
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
  const target = join(threadsFolder, folder);
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
      return stamp === undefined ? [] : [{ path: path(file), ...stamp }];
    });
  const entries = Object.fromEntries(
    Object.entries(inputs).map(([name, file]) => [path(file), `${name}.mjs`]),
  );
  return { folder, entries, sources };
}

function write(files: ThreadFiles): void {
  const temporary = `${listFile}.${String(process.pid)}`;
  writeFileSync(temporary, `${JSON.stringify(files)}\n`);
  renameSync(temporary, listFile);
}

function removeOld(newest: string): void {
  const folders = readdirSync(threadsFolder, { withFileTypes: true })
    .filter((each) => each.isDirectory() && each.name !== newest)
    .map(({ name }) => join(threadsFolder, name))
    .sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  for (const folder of folders.slice(buildsKept - 1)) rmSync(folder, { recursive: true, force: true });
}

const before = existsSync(listFile) ? (JSON.parse(readFileSync(listFile, 'utf8')) as ThreadFiles) : undefined;
if (before === undefined || !areCurrent(before)) {
  process.stderr.write("Building the guests' threads …\n");
  mkdirSync(threadsFolder, { recursive: true });
  const files = await build();
  write(files);
  removeOld(files.folder);
}
