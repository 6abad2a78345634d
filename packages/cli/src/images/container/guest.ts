/** From a container image to a guest: its root beside Debian's kernel and BusyBox, and the script that starts its program in it. */
import { CliError, ExitCode } from '../../errors.ts';
import { directory, file, writeCpio } from '../cpio.ts';
import type { ContainerConfig, ContainerImage } from './archive.ts';
import { ContainerRoot } from './root.ts';
import { readTar } from './tar.ts';

const folder = 'container';
export const startScript = '/etc/container';
const defaults = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/root',
  TERM: 'linux',
};

const quote = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`;

function environment({ Env }: ContainerConfig): Map<string, string> {
  const own = (Env ?? []).filter((each) => each.includes('=') && !each.includes('\0'));
  return new Map([
    ...Object.entries(defaults),
    ...own.map((each): [string, string] => [
      each.slice(0, each.indexOf('=')),
      each.slice(each.indexOf('=') + 1),
    ]),
  ]);
}

/** Its program by its path in the root, so that no shell of ours takes a word for a command of its own. */
function program(root: ContainerRoot, word: string, path: string, workingFolder: string): string {
  const places = word.startsWith('/')
    ? [word]
    : word.includes('/')
      ? [`${workingFolder}/${word}`]
      : path.split(':').map((each) => `${each}/${word}`);
  const found = places.find((place) => root.has(place));
  if (found !== undefined) return found;
  throw new CliError(
    ExitCode.badInput,
    `the image starts ${JSON.stringify(word.slice(0, 200))}, which it does not hold`,
    'build it with its program',
  );
}

function script(root: ContainerRoot, config: ContainerConfig): string {
  const words = [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])];
  const [first, ...rest] = words;
  if (first === undefined)
    throw new CliError(ExitCode.badInput, 'the image says no program to start', 'give it an entry point');
  const env = environment(config);
  const workingFolder =
    config.WorkingDir === undefined || config.WorkingDir === null || config.WorkingDir === ''
      ? '/'
      : config.WorkingDir;
  const run = [program(root, first, env.get('PATH') ?? '', workingFolder), ...rest].map(quote).join(' ');
  const assignments = [...env].map(([name, value]) => quote(`${name}=${value}`)).join(' ');
  return `#!/bin/busybox sh
# Starts the program of a container in its root; when it ends, the machine is switched off.
cd /${folder}
mkdir -p proc sys dev tmp .revenant
mount -t proc proc proc
mount -t sysfs sysfs sys
mount --bind /dev dev
cp /bin/busybox .revenant/busybox
[ -s /etc/resolv.conf ] && mkdir -p etc && cp /etc/resolv.conf etc/resolv.conf
cd /
/bin/env -i ${assignments} /bin/chroot /${folder} /.revenant/busybox sh -c 'mkdir -p "$0"; cd "$0" && exec "$@"' ${quote(workingFolder)} ${run}
echo "Revenant: the program ended with status $?"
poweroff -f
`;
}

export interface ContainerGuest {
  initrd: Uint8Array;
  /** What it needs to unpack that: it lies in memory twice for a moment, and Linux gives half of what is free to its first file system. */
  memoryMiB: number;
}

/** @param base the initial file system of a Linux image of ours */
export function makeContainerGuest({ config, layers }: ContainerImage, base: Uint8Array): ContainerGuest {
  const root = new ContainerRoot();
  for (const layer of layers) root.apply(readTar(layer));
  const own = writeCpio([
    ...root.cpio(folder),
    directory('etc'),
    file(startScript.slice(1), Buffer.from(script(root, config))),
  ]);
  // Linux unpacks archives behind each other, each from a multiple of four bytes on.
  const initrd = Buffer.concat([base, Buffer.alloc(-base.length & 3), own]);
  return { initrd, memoryMiB: 128 + 3 * Math.ceil(own.length / 2 ** 20) };
}
