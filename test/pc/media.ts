/** Files out of Debian's packages, from the cache or fetched into it as guest images are. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CliError } from '../../packages/cli/src/errors.ts';
import { PrivateApt, readMatchingFiles } from '../../packages/cli/src/images/apt.ts';
import { cacheFolder } from '../../packages/cli/src/images/cache.ts';

/** A file of a package; undefined, with the test skipped, where it can't be had. */
export async function fileOrSkip(
  context: TestContext,
  name: string,
  path: string,
): Promise<Uint8Array | undefined> {
  const folder = join(cacheFolder(), 'boot-media');
  const cached = join(folder, path.replaceAll('/', '_'));
  if (existsSync(cached)) return readFile(cached);
  const temporary = `${cached}.${String(process.pid)}.tmp`;
  try {
    await mkdir(temporary, { recursive: true });
    const apt = new PrivateApt(join(cacheFolder(), 'apt', 'amd64'), 'amd64');
    await apt.update();
    const deb = await apt.download(name, temporary);
    const found = await readMatchingFiles(deb.path, new RegExp(`^${path.replaceAll(/[.+]/g, '\\$&')}$`), 1);
    const bytes = found.get(path);
    assert.ok(bytes, `${name} has no ${path}: ${(await readdir(temporary)).join()}`);
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
