/**
 * The root of a container: layers put on each other (OCI image specification, "Image Layer Filesystem Changeset"), and as an archive that Linux unpacks. A path
 * never leaves the root: neither by `..` nor through a link that a layer made.
 */
import { CliError, ExitCode } from '../../errors.ts';
import { FileType, type CpioEntry } from '../cpio.ts';
import type { TarEntry } from './tar.ts';

type File = Omit<TarEntry, 'path' | 'kind' | 'target'> & {
  kind: Exclude<TarEntry['kind'], 'hard-link'>;
  target: string;
};
interface Folder extends File {
  children: Map<string, File | Folder>;
}

/** OCI: a file of this name beside others deletes what is under the rest of its name; this one all that lower layers put into its folder. */
const whiteout = '.wh.';
const opaque = '.wh..wh..opq';
const maxDepth = 256;
/** As Linux follows. */
const maxLinks = 40;

const isFolder = (file: File | undefined): file is Folder => file?.kind === 'folder';
const none = new Uint8Array(0);
const emptyFolder = (): Folder => ({
  ...{ kind: 'folder', mode: 0o755, uid: 0, gid: 0, target: '', device: [0, 0], data: none },
  children: new Map(),
});

function bad(path: string, what: string): never {
  throw new CliError(
    ExitCode.badInput,
    `the image holds ${JSON.stringify(path.slice(0, 200))}: ${what}`,
    'it is damaged, or meant to do harm',
  );
}

function partsOf(path: string): string[] {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) bad(path, 'it leads out of the image');
  if (parts.length > maxDepth || path.includes('\0')) bad(path.replaceAll('\0', '?'), 'no path for a file');
  return parts;
}

export class ContainerRoot {
  readonly #root = emptyFolder();

  /** Puts a layer on what is there. */
  apply(entries: readonly TarEntry[]): void {
    // What a layer deletes is what lower ones have, wherever in it the deletion stands.
    for (const { path } of entries) this.#delete(path);
    for (const entry of entries) this.#put(entry);
  }

  #delete(path: string): void {
    const parts = partsOf(path);
    const name = parts.pop() ?? '';
    if (!name.startsWith(whiteout)) return;
    const folder = this.#folder(parts, path);
    if (name === opaque) folder?.children.clear();
    else folder?.children.delete(name.slice(whiteout.length));
  }

  #put({ path, kind, ...file }: TarEntry): void {
    const parts = partsOf(path);
    const name = parts.pop();
    if (name?.startsWith(whiteout) === true) return;
    if (name === undefined) {
      if (kind === 'folder') Object.assign(this.#root, { mode: file.mode, uid: file.uid, gid: file.gid });
      return;
    }
    const folder = this.#folder(parts, path, true)!;
    const before = folder.children.get(name);
    if (kind === 'hard-link') folder.children.set(name, this.#linked(file.target, path));
    else if (kind === 'folder' && isFolder(before)) Object.assign(before, file);
    else folder.children.set(name, kind === 'folder' ? { ...emptyFolder(), ...file } : { ...file, kind });
  }

  #linked(target: string, path: string): File {
    const parts = partsOf(target);
    const name = parts.pop() ?? '';
    const found = this.#folder(parts, target)?.children.get(name);
    if (found === undefined || isFolder(found))
      bad(path, `it is another name of ${JSON.stringify(target.slice(0, 200))}, which is not there`);
    return found;
  }

  /** Undefined where there is none, unless it is to be made. A link on the way is followed by nobody: no tool writes such layers. */
  #folder(parts: readonly string[], path: string, make = false): Folder | undefined {
    let folder = this.#root;
    for (const part of parts) {
      const next = folder.children.get(part);
      if (next === undefined && !make) return undefined;
      if (next !== undefined && !isFolder(next)) bad(path, 'it leads through what is no folder');
      const inner = next ?? emptyFolder();
      folder.children.set(part, inner);
      folder = inner;
    }
    return folder;
  }

  /** What the file at a path of the finished root holds, if there is one; links are followed, inside of the root. */
  read(path: string): Uint8Array | undefined {
    const left = path.split('/');
    let at: Folder[] = [this.#root];
    let links = 0;
    while (left.length > 0) {
      const part = left.shift()!;
      if (part === '' || part === '.') continue;
      if (part === '..') at = at.slice(0, Math.max(1, at.length - 1));
      else {
        const next = at.at(-1)!.children.get(part);
        if (next === undefined) return undefined;
        if (isFolder(next)) at.push(next);
        else if (next.kind === 'link' && ++links < maxLinks) {
          if (next.target.startsWith('/')) at = [this.#root];
          left.unshift(...next.target.split('/'));
        } else return left.length === 0 && next.kind === 'file' ? next.data : undefined;
      }
    }
    return undefined;
  }

  /** All of it under a folder of an archive, folders before what they hold; several names of one file share it. */
  cpio(under: string): CpioEntry[] {
    const names = new Map<File, number>();
    const count = (folder: Folder): void => {
      for (const file of folder.children.values())
        if (isFolder(file)) count(file);
        else names.set(file, (names.get(file) ?? 0) + 1);
    };
    count(this.#root);
    const seen = new Map<File, number>();
    const entries: CpioEntry[] = [entryOf(under, this.#root)];
    const walk = (folder: Folder, at: string): void => {
      for (const [name, file] of folder.children) {
        const path = `${at}/${name}`;
        const links = names.get(file) ?? 1;
        if (links === 1) entries.push(entryOf(path, file));
        else {
          const first = !seen.has(file);
          const inode = seen.get(file) ?? 1_000_000 + seen.size;
          seen.set(file, inode);
          entries.push({ ...entryOf(path, file), ...(first ? {} : { data: none }), inode, links });
        }
        if (isFolder(file)) walk(file, path);
      }
    };
    walk(this.#root, under);
    return entries;
  }
}

const types = {
  file: FileType.regular,
  folder: FileType.directory,
  link: FileType.link,
  character: FileType.character,
  block: FileType.block,
  pipe: FileType.pipe,
} as const;

function entryOf(path: string, { kind, mode, uid, gid, target, device, data }: File): CpioEntry {
  return {
    ...{ path, mode: types[kind] | mode, owner: [uid, gid], device },
    ...(kind === 'link' ? { data: Buffer.from(target) } : kind === 'file' ? { data } : {}),
  };
}
