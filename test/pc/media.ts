/** Files out of Debian's packages, from the cache or fetched into it as guest images are. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import type { TestContext } from 'node:test';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CliError } from '../../packages/cli/src/errors.ts';
import { PrivateApt, readMatchingFiles } from '../../packages/cli/src/images/apt.ts';
import { cacheFolder } from '../../packages/cli/src/images/cache.ts';

/** A file of a package whose name Debian changes with each release. */
export interface Released {
  /** What depends on it, under a name that stays. */
  meta: string;
  /** How its name begins. */
  name: RegExp;
  /** The file in it. */
  path: RegExp;
  cachedAs: string;
}

/** A file of a package; undefined, with the test skipped, where it can't be had. */
export async function fileOrSkip(
  context: TestContext,
  name: string,
  path: string,
): Promise<Uint8Array | undefined> {
  const exactly = new RegExp(`^${path.replaceAll(/[.+]/g, '\\$&')}$`);
  return cachedOrSkip(context, { name, path: exactly, cachedAs: path.replaceAll('/', '_') });
}

/** As `fileOrSkip`. */
export async function releasedOrSkip(
  context: TestContext,
  { meta, name, path, cachedAs }: Released,
): Promise<Uint8Array | undefined> {
  return cachedOrSkip(context, {
    name: meta,
    path,
    cachedAs,
    resolve: (apt) => apt.resolveMetaPackage(meta, name),
  });
}

interface Wanted {
  name: string;
  path: RegExp;
  cachedAs: string;
  resolve?: (apt: PrivateApt) => Promise<string>;
}

async function cachedOrSkip(
  context: TestContext,
  { name, path, cachedAs, resolve }: Wanted,
): Promise<Uint8Array | undefined> {
  const folder = join(cacheFolder(), 'boot-media');
  const cached = join(folder, cachedAs);
  if (existsSync(cached)) return readFile(cached);
  const temporary = `${cached}.${String(process.pid)}.tmp`;
  try {
    await mkdir(temporary, { recursive: true });
    const apt = new PrivateApt(join(cacheFolder(), 'apt', 'amd64'), 'amd64');
    await apt.update();
    const deb = await apt.download((await resolve?.(apt)) ?? name, temporary);
    const [bytes] = (await readMatchingFiles(deb.path, path, 1)).values();
    assert.ok(bytes, `${name} has no ${path.source}: ${(await readdir(temporary)).join()}`);
    await writeFile(join(temporary, 'file'), bytes);
    await rename(join(temporary, 'file'), cached);
    return bytes;
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    context.skip(`${name} can't be fetched: ${error.message}`);
    return undefined;
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

export function run(command: string, ...words: string[]): void {
  const { status, stderr, error } = spawnSync(command, words, { encoding: 'utf8' });
  assert.equal(status, 0, `${command}: ${error?.message ?? stderr}`);
}

/** Folder with packages unpacked; undefined, with the test skipped, where they can't be had. */
export async function unpackedOrSkip(
  context: TestContext,
  cachedAs: string,
  packages: readonly string[],
): Promise<string | undefined> {
  const folder = join(cacheFolder(), 'boot-media', cachedAs);
  if (existsSync(folder)) return folder;
  const temporary = `${folder}.${String(process.pid)}.tmp`;
  try {
    await mkdir(temporary, { recursive: true });
    const apt = new PrivateApt(join(cacheFolder(), 'apt', 'amd64'), 'amd64');
    await apt.update();
    for (const name of packages) {
      const { path } = await apt.download(name, temporary);
      run('dpkg-deb', '-x', path, temporary);
      await rm(path);
    }
    await rename(temporary, folder);
    return folder;
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    context.skip(`${cachedAs} can't be fetched: ${error.message}`);
    return undefined;
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}
