/**
 * Images: what a guest is started from. An image in the cache is a folder with manifest.json and the files it names;
 * the manifest is written last and carries a SHA-256 of each file, so a folder without it, or with other bytes, is no image.
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CliError, ExitCode } from '../errors.ts';
import { PrivateApt, readMatchingFiles, readPackageFiles } from './apt.ts';
import { cacheFolder } from './cache.ts';
import { makeInitramfs, readUserland, userlandSources } from './initramfs.ts';
import { extractKernelElf, unpackXz } from './kernel-elf.ts';
import { readRecipe, recipeNames, type Recipe } from './recipe.ts';

const manifestVersion = 1;
export const imageName = /^[a-z0-9][a-z0-9._-]{0,62}$/;

interface ImageFile {
  file: string;
  sizeBytes: number;
  sha256: string;
}

export interface ImageManifest {
  version: number;
  name: string;
  title: string;
  /** Hash of everything in the repository that shapes the image: when it differs, the image is made again. */
  sources: string;
  /** Debian packages and their versions. */
  packages: Record<string, string>;
  /** The kernel's ELF file, ready to run. */
  kernel: ImageFile;
  /** The kernel as Debian ships it. */
  bzImage: ImageFile;
  initrd: ImageFile;
  commandLine: string;
  memoryMiB: number;
  /** Of a container image that was imported: its digest. It is made from no recipe. */
  container?: string;
}

export interface Image {
  manifest: ImageManifest;
  /** Absolute path of the folder. */
  folder: string;
}

/** One line for each step of making an image. */
export type Progress = (line: string) => void;

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

async function hashSources(recipe: Recipe): Promise<string> {
  const userland = await readUserland();
  const hash = createHash('sha256').update(`${manifestVersion}\n${JSON.stringify(recipe)}\n`);
  for (const name of userlandSources)
    hash.update(`${name} ${userland[name].length}\n`).update(userland[name]);
  return hash.digest('hex');
}

function imageFolder(name: string): string {
  return join(cacheFolder(), 'images', name);
}

/** The image if it is in the cache and made from the recipe as it stands, else undefined. */
export async function findImage(name: string): Promise<Image | undefined> {
  const folder = imageFolder(name);
  let manifest: ImageManifest;
  try {
    manifest = JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8')) as ImageManifest;
  } catch {
    return undefined;
  }
  if (manifest.version !== manifestVersion) return undefined;
  if (manifest.container === undefined && manifest.sources !== (await hashSources(await readRecipe(name))))
    return undefined;
  for (const { file, sizeBytes } of [manifest.kernel, manifest.initrd, manifest.bzImage]) {
    const found = await stat(join(folder, file)).catch(() => undefined);
    if (found?.size !== sizeBytes) return undefined;
  }
  return { manifest, folder };
}

/**
 * Reads one file of an image and checks its hash.
 * @throws CliError when the file is not what was made
 */
export async function readImageFile(
  image: Image,
  which: 'kernel' | 'initrd' | 'bzImage',
): Promise<Uint8Array> {
  const { file, sha256: expected } = image.manifest[which];
  const bytes = await readFile(join(image.folder, file));
  if (sha256(bytes) !== expected) {
    const hint = `revenant images fetch ${image.manifest.name} --again`;
    throw new CliError(
      ExitCode.badInput,
      `${join(image.folder, file)} is damaged: its checksum differs`,
      hint,
    );
  }
  return bytes;
}

/** Modules out of a kernel's package by file name. Debian 12 ships them as they are, later ones packed with xz. */
async function readModules(deb: string, names: readonly string[]): Promise<Map<string, Uint8Array>> {
  const wanted = new RegExp(`^(usr/)?lib/modules/.*/(${names.join('|')})\\.ko(\\.xz)?$`);
  const found = await readMatchingFiles(deb, wanted, names.length);
  const modules = new Map<string, Uint8Array>();
  for (const name of names) {
    const entry = [...found].find(([path]) => new RegExp(`/${name}\\.ko(\\.xz)?$`).test(path));
    if (entry === undefined)
      throw new CliError(
        ExitCode.unavailable,
        `${deb} has no module ${name}`,
        'the kernels come from Debian 12 or newer',
      );
    const [path, bytes] = entry;
    modules.set(`${name}.ko`, path.endsWith('.xz') ? unpackXz(bytes) : bytes);
  }
  return modules;
}

/** What a recipe takes of further packages: by path in the guest; and the packages' versions. */
async function readPrograms(
  apt: PrivateApt,
  programs: NonNullable<Recipe['programs']>,
  folder: string,
): Promise<{ files: Map<string, Uint8Array>; versions: Record<string, string> }> {
  const files = new Map<string, Uint8Array>();
  const versions: Record<string, string> = {};
  for (const [name, wanted] of Object.entries(programs)) {
    const deb = await apt.download(name, folder);
    const contents = await readPackageFiles(
      deb.path,
      Object.keys(wanted).map((pattern) => new RegExp(`^${pattern}$`)),
    );
    Object.values(wanted).forEach((path, n) => files.set(path, contents[n]!));
    versions[name] = deb.version;
    await rm(deb.path);
  }
  return { files, versions };
}

async function writeImage(
  name: string,
  recipe: Recipe,
  folder: string,
  progress: Progress,
): Promise<ImageManifest> {
  const apt = new PrivateApt(join(cacheFolder(), 'apt', recipe.architecture), recipe.architecture);
  progress(`${name}: fetching package lists`);
  await apt.update();
  const kernelPackage = await apt.resolveMetaPackage(recipe.kernelPackage);
  progress(`${name}: downloading ${kernelPackage} and ${recipe.userlandPackage}`);
  const kernelDeb = await apt.download(kernelPackage, folder);
  const userlandDeb = await apt.download(recipe.userlandPackage, folder);
  progress(`${name}: unpacking the kernel`);
  const [bzImage] = await readPackageFiles(kernelDeb.path, [/^boot\/vmlinuz-/]);
  const modules = await readModules(kernelDeb.path, recipe.modules);
  const [busybox] = await readPackageFiles(userlandDeb.path, [/^(usr\/)?bin\/busybox$/]);
  await Promise.all([rm(kernelDeb.path), rm(userlandDeb.path)]);
  const { files: programs, versions } = await readPrograms(apt, recipe.programs ?? {}, folder);
  const put = putIn(folder);
  const manifest: ImageManifest = {
    version: manifestVersion,
    name,
    title: recipe.title,
    sources: await hashSources(recipe),
    packages: {
      [kernelPackage]: kernelDeb.version,
      [recipe.userlandPackage]: userlandDeb.version,
      ...versions,
    },
    kernel: await put('kernel.elf', extractKernelElf(bzImage!)),
    bzImage: await put('vmlinuz', bzImage!),
    initrd: await put('initrd.cpio', await makeInitramfs(busybox!, modules, programs)),
    commandLine: recipe.commandLine,
    memoryMiB: recipe.memoryMiB,
  };
  return writeManifest(folder, manifest);
}

/**
 * The image, made if it is not in the cache yet. It appears in the cache whole or not at all.
 * @throws CliError (unavailable) without network, apt or dpkg
 */
export async function fetchImage(name: string, progress: Progress, again = false): Promise<Image> {
  const present = again ? undefined : await findImage(name);
  if (present !== undefined) return present;
  const recipe = await readRecipe(name);
  return keepImage(name, (folder) => writeImage(name, recipe, folder, progress));
}

const putIn =
  (folder: string) =>
  async (file: string, bytes: Uint8Array): Promise<ImageFile> => {
    await writeFile(join(folder, file), bytes);
    return { file, sizeBytes: bytes.length, sha256: sha256(bytes) };
  };

async function writeManifest(folder: string, manifest: ImageManifest): Promise<ImageManifest> {
  await writeFile(join(folder, 'manifest.json'), `${JSON.stringify(manifest, undefined, 2)}\n`);
  return manifest;
}

/** Puts an image into the cache, whole or not at all. */
async function keepImage(name: string, write: (folder: string) => Promise<ImageManifest>): Promise<Image> {
  const folder = imageFolder(name);
  const temporary = `${folder}.${randomBytes(4).toString('hex')}.tmp`;
  try {
    await mkdir(temporary, { recursive: true });
    const manifest = await write(temporary);
    await rm(folder, { recursive: true, force: true });
    await rename(temporary, folder);
    return { manifest, folder };
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(
      ExitCode.cannotWrite,
      `can't write the image: ${(error as Error).message}`,
      'set REVENANT_CACHE to a folder with room',
      error,
    );
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

/** Names of container images that were imported, sorted. */
export async function importedNames(): Promise<string[]> {
  const folders = await readdir(join(cacheFolder(), 'images')).catch(() => []);
  const recipes = await recipeNames();
  const names = folders.filter((name) => imageName.test(name) && !recipes.includes(name));
  const found = await Promise.all(names.map((name) => findImage(name).catch(() => undefined)));
  return found
    .flatMap((image) => (image?.manifest.container === undefined ? [] : [image.manifest.name]))
    .sort();
}

/**
 * Keeps a container image under a name, in place of one that was imported under it before.
 * @param base the image of ours whose kernel it runs on
 */
export async function keepContainer(
  name: string,
  {
    base,
    digest,
    guest,
    commandLine,
  }: { base: Image; digest: string; guest: { initrd: Uint8Array; memoryMiB: number }; commandLine: string },
): Promise<Image> {
  const { manifest } = base;
  const [kernel, bzImage] = [await readImageFile(base, 'kernel'), await readImageFile(base, 'bzImage')];
  return keepImage(name, async (folder) => {
    const put = putIn(folder);
    return writeManifest(folder, {
      ...manifest,
      ...{ name, title: `container image ${digest.slice(0, 19)}`, sources: digest, container: digest },
      ...{ kernel: await put('kernel.elf', kernel), bzImage: await put('vmlinuz', bzImage) },
      ...{ initrd: await put('initrd.cpio', guest.initrd), commandLine, memoryMiB: guest.memoryMiB },
    });
  });
}
