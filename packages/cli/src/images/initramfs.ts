/** The initial file system of the Linux guests: BusyBox and the scripts of images/linux. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { recipeFolder } from './cache.ts';
import { characterDevice, directory, file, symbolicLink, writeCpio } from './cpio.ts';

/** Sources of the userland, in the order in which they enter the hash of an image. */
export const userlandSources = [
  'init',
  'agent',
  'chain',
  'modprobe',
  'network',
  'profile',
  'servers',
  'udhcpc',
] as const;

export async function readUserland(): Promise<Record<(typeof userlandSources)[number], Uint8Array>> {
  const [init, agent, chain, modprobe, network, profile, servers, udhcpc] = await Promise.all(
    userlandSources.map((name) => readFile(join(recipeFolder, 'linux', name))),
  );
  return {
    init: init!,
    agent: agent!,
    chain: chain!,
    modprobe: modprobe!,
    network: network!,
    profile: profile!,
    servers: servers!,
    udhcpc: udhcpc!,
  };
}

// prettier-ignore
const folders = [
  'bin', 'dev', 'etc', 'lib', 'lib/modules', 'lib64', 'mnt', 'proc', 'root', 'sbin', 'srv', 'sys', 'tmp',
];

/**
 * @param busybox a static BusyBox for the guest's architecture
 * @param modules kernel modules by file name, which lie in /lib/modules until something needs them
 * @param programs further programs and libraries by their paths
 * @returns an uncompressed newc archive: unpacking costs the guest more than reading it
 */
export async function makeInitramfs(
  busybox: Uint8Array,
  modules: ReadonlyMap<string, Uint8Array>,
  programs: ReadonlyMap<string, Uint8Array>,
): Promise<Uint8Array> {
  const { init, agent, chain, modprobe, network, profile, servers, udhcpc } = await readUserland();
  return writeCpio([
    ...folders.map(directory),
    characterDevice('dev/console', 5, 1),
    characterDevice('dev/null', 1, 3),
    file('bin/busybox', busybox),
    symbolicLink('bin/sh', 'busybox'),
    file('bin/agent', agent),
    file('bin/chain', chain),
    file('sbin/modprobe', modprobe),
    ...[...modules].map(([name, bytes]) => file(`lib/modules/${name}`, bytes, 0o644)),
    // What mount tries when it is told no type, before what the kernel knows already.
    file('etc/filesystems', Buffer.from('ext4\next3\next2\n*\n'), 0o644),
    file('etc/network', network, 0o644),
    file('etc/servers', servers, 0o644),
    file('etc/udhcpc', udhcpc),
    ...[...programs].map(([path, bytes]) => file(path, bytes)),
    file('etc/profile', profile, 0o644),
    file('etc/passwd', Buffer.from('root::0:0:root:/root:/bin/sh\n'), 0o644),
    file('etc/group', Buffer.from('root:x:0:\n'), 0o644),
    file('init', init),
  ]);
}
