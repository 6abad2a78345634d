/**
 * A disk image with Debian's PostgreSQL on it, made of packages, and what a guest runs to serve from it. By root the data base is made here;
 * else the guest makes it when it starts for the first time, which takes it some minutes.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** `dash` is what initdb starts programs with, `coreutils` has a chroot that changes the user. */
const packages = ['postgresql-15', 'libc-bin', 'dash', 'coreutils'];
/** PostgreSQL names it, and does without it as long as nothing is compiled at run time. */
const unneeded = /^(libllvm|perl|libperl|adduser|systemd|debconf)/;
const owner = 999;

/** In the root of the disk. */
const initialize = `
  $as $bin/initdb -D /data -A trust -U postgres --no-locale -E UTF8 --no-sync >/dev/null
  echo "host all all all trust" >>data/pg_hba.conf
  touch data/pg_hba.done`;
const settings = `
bin=/usr/lib/postgresql/15/bin
export LC_ALL=C PATH=/bin:/usr/bin:/sbin:/usr/sbin`;

/** In a mount namespace of its own, with the tree as its first argument. */
const makeDataBase = `set -e
cd "$1"
mkdir -p data dev proc tmp
mount --rbind /dev dev
as="chroot $1 /usr/sbin/chroot --userspec=${String(owner)}:${String(owner)} /"
chown ${String(owner)}:${String(owner)} data tmp
${settings}
${initialize}
`;

/** Without a data base on the disk it makes one; then it is the server. */
const start = `set -e
cd /mnt
mkdir -p data dev proc tmp
mount -t devtmpfs dev dev
mkdir -p dev/shm
mount -t tmpfs tmpfs dev/shm
mount -t proc proc proc
chown ${String(owner)}:${String(owner)} data tmp dev/shm
as="chroot /mnt /usr/sbin/chroot --userspec=${String(owner)}:${String(owner)} /"
${settings}
if [ ! -e data/pg_hba.done ]; then
${initialize}
fi
echo "the data base starts"
$as $bin/postgres -D /data -c listen_addresses='*' -c unix_socket_directories=/tmp -c shared_buffers=16MB -c jit=off
`;

function run(command: string, args: readonly string[], cwd: string): void {
  const result = spawnSync(command, args, { cwd, encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } });
  if (result.error !== undefined) throw result.error;
  if (result.status !== 0) throw new Error(`${command} ${args.join(' ')}: ${result.stderr}`);
}

/** Makes `disk`, a raw image with an ext4 file system; what it takes for that stays in the folder. */
export function makePostgresDisk(folder: string, disk: string): void {
  const state = join(folder, 'apt');
  for (const part of ['state', 'lists/partial', 'cache/archives/partial'])
    mkdirSync(join(state, part), { recursive: true });
  const options = [
    `Dir::State=${state}/state`,
    `Dir::State::Lists=${state}/lists`,
    'Dir::State::status=/dev/null',
    `Dir::Cache=${state}/cache`,
    'Debug::NoLocking=1',
    'APT::Sandbox::User=',
    'APT::Install-Recommends=0',
  ].flatMap((option) => ['-o', option]);
  run('apt-get', [...options, '-qq', 'update'], folder);
  run('apt-get', [...options, '-qq', '-y', '--download-only', 'install', ...packages], folder);
  const tree = join(folder, 'tree');
  mkdirSync(join(tree, 'etc'), { recursive: true });
  const archives = join(state, 'cache/archives');
  for (const name of readdirSync(archives))
    if (name.endsWith('.deb') && !unneeded.test(name))
      run('dpkg-deb', ['-x', join(archives, name), tree], folder);
  writeFileSync(
    join(tree, 'etc/passwd'),
    `root:x:0:0::/:/bin/sh\npostgres:x:${String(owner)}:${String(owner)}::/:/bin/sh\n`,
  );
  writeFileSync(join(tree, 'etc/group'), `root:x:0:\npostgres:x:${String(owner)}:\n`);
  writeFileSync(join(tree, 'start'), start);
  if (process.getuid?.() === 0) run('unshare', ['--mount', 'sh', '-c', makeDataBase, 'sh', tree], folder);
  run('mke2fs', ['-q', '-t', 'ext4', '-d', tree, disk, '640M'], folder);
}
