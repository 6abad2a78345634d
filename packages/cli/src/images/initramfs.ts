/** The initial file system of the Linux guests: BusyBox and the scripts of images/linux. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { recipeFolder } from './cache.ts';
import { characterDevice, directory, file, symbolicLink, writeCpio } from './cpio.ts';

/** Sources of the userland, in the order in which they enter the hash of an image. */
export const userlandSources = ['init', 'chain', 'profile'] as const;

export async function readUserland(): Promise<Record<(typeof userlandSources)[number], Uint8Array>> {
  const [init, chain, profile] = await Promise.all(
    userlandSources.map((name) => readFile(join(recipeFolder, 'linux', name))),
  );
  return { init: init!, chain: chain!, profile: profile! };
}

/**
 * @param busybox a static BusyBox for the guest's architecture
 * @returns an uncompressed newc archive: unpacking costs the guest more than reading it
 */
export async function makeInitramfs(busybox: Uint8Array): Promise<Uint8Array> {
  const { init, chain, profile } = await readUserland();
  return writeCpio([
    ...['bin', 'dev', 'etc', 'proc', 'root', 'sys', 'tmp'].map(directory),
    characterDevice('dev/console', 5, 1),
    characterDevice('dev/null', 1, 3),
    file('bin/busybox', busybox),
    symbolicLink('bin/sh', 'busybox'),
    file('bin/chain', chain),
    file('etc/profile', profile, 0o644),
    file('etc/passwd', Buffer.from('root::0:0:root:/root:/bin/sh\n'), 0o644),
    file('etc/group', Buffer.from('root:x:0:\n'), 0o644),
    file('init', init),
  ]);
}
