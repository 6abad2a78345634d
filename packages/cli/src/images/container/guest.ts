/** From a container image to a guest: its root beside Debian's kernel and BusyBox, and the script that starts its program in it. */
import { CliError, ExitCode } from '../../errors.ts';
import { directory, file, writeCpio } from '../cpio.ts';
import type { ContainerConfig, ContainerImage } from './archive.ts';
import { ContainerRoot } from './root.ts';
import { powerOff, runAs } from './programs.ts';
import { readTar } from './tar.ts';
import { findUser } from './user.ts';

const folder = 'container';
export const startScript = '/etc/container';
const statusProgram = '/bin/container-off';
const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

const quote = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`;

function environment({ Env }: ContainerConfig, home: string): Map<string, string> {
  const own = (Env ?? []).filter((each) => each.includes('=') && !each.includes('\0'));
  return new Map([
    ...Object.entries({ PATH: defaultPath, HOME: home, TERM: 'linux' }),
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
  const found = places.find((place) => root.read(place) !== undefined);
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
  const { uid, gid, groups, home } = findUser(root, config.User);
  const env = environment(config, home ?? (uid === 0 ? '/root' : '/'));
  const workingFolder =
    config.WorkingDir === undefined || config.WorkingDir === null || config.WorkingDir === ''
      ? '/'
      : config.WorkingDir;
  const run = [program(root, first, env.get('PATH') ?? '', workingFolder), ...rest].map(quote).join(' ');
  const assignments = [...env].map(([name, value]) => quote(`${name}=${value}`)).join(' ');
  return `#!/bin/busybox sh
# Starts the program of a container in its root; when it ends, the machine is switched off with its status.
cd /${folder}
mkdir -p proc sys dev etc tmp .revenant
mount -t proc proc proc
mount -t sysfs sysfs sys
# What a container engine gives each container (OCI runtime specification, "Default Devices").
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts 2>/dev/null
mount -t tmpfs tmpfs /dev/shm
ln -sf /proc/self/fd /dev/fd
for n in 0:stdin 1:stdout 2:stderr; do ln -sf "/proc/self/fd/\${n%:*}" "/dev/\${n#*:}"; done
mount --rbind /dev dev
cp /bin/busybox .revenant/busybox
mv /bin/container-as .revenant/as
[ -s /etc/resolv.conf ] && cp /etc/resolv.conf etc/resolv.conf
[ -e etc/hosts ] || echo '127.0.0.1 localhost revenant' >etc/hosts
ip link set lo up
# The web server of our images has the port that a container's may want.
killall httpd 2>/dev/null
chown ${String(uid)}:${String(gid)} "$(tty)"
cd /
/bin/env -i ${assignments} /bin/chroot /${folder} /.revenant/busybox sh -c 'mkdir -p "$0"; cd "$0" && exec /.revenant/as "$@"' ${quote(workingFolder)} ${String(uid)} ${String(gid)} '${groups.join(',')}' ${run}
status=$?
echo "Revenant: the program ended with status $status"
sync
${statusProgram} $status
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
    file(statusProgram.slice(1), powerOff),
    file('bin/container-as', runAs),
  ]);
  // Linux unpacks archives behind each other, each from a multiple of four bytes on.
  const initrd = Buffer.concat([base, Buffer.alloc(-base.length & 3), own]);
  return { initrd, memoryMiB: 128 + 3 * Math.ceil(own.length / 2 ** 20) };
}
