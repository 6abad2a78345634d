/**
 * Which files a guest's thread loads: those that `packages/cluster/build.ts` made of the sources, as long as no source has changed since, else
 * the sources themselves.
 */
import { readFileSync, statSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** Of the repository. */
export const root = fileURLToPath(new URL('../../../..', import.meta.url));
export const threads = 'build/threads';
const threadsFolder = join(root, threads);
/** Beside the folders of the builds. */
export const listName = 'files.json';

/** What was built; paths are relative to the root, with slashes. */
export interface ThreadFiles {
  /** One for each build, in build/threads. */
  folder: string;
  /** Source → file in the folder. */
  entries: Record<string, string>;
  /** All that is in these files, as it was then. */
  sources: { path: string; size: number; mtimeMs: number }[];
}

/** What is compared of a source; undefined: there is none. */
export function stampOf(path: string): { size: number; mtimeMs: number } | undefined {
  const stats = statSync(path, { throwIfNoEntry: false });
  return stats && { size: stats.size, mtimeMs: stats.mtimeMs };
}

/** Whether the files are there, and each source is as it was. `base`: what the paths are relative to; `parent`: where the folders are. */
export function areCurrent({ folder, sources }: ThreadFiles, base = root, parent = threads): boolean {
  if (stampOf(join(base, parent, folder)) === undefined) return false;
  return sources.every(({ path, size, mtimeMs }) => {
    const now = stampOf(join(base, path));
    return now?.size === size && now.mtimeMs === mtimeMs;
  });
}

function find(): ThreadFiles | undefined {
  try {
    const files = JSON.parse(readFileSync(join(threadsFolder, listName), 'utf8')) as ThreadFiles;
    return areCurrent(files) ? files : undefined;
  } catch {
    return undefined;
  }
}

let found: { files: ThreadFiles | undefined } | undefined;

/** The URL of what is to be loaded for a module, which is looked for once in a process. */
export function threadFile(source: string): string {
  found ??= { files: find() };
  const { files } = found;
  if (files === undefined || !source.startsWith('file:')) return source;
  const path = relative(root, fileURLToPath(source)).split(sep).join('/');
  if (!Object.hasOwn(files.entries, path)) return source;
  return pathToFileURL(join(threadsFolder, files.folder, files.entries[path] ?? '')).href;
}
