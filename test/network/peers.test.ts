/**
 * A Linux guest whose card leads to a peer: Debian's passt, a QEMU guest, a switch of VDE, a tap device of the host. What is fetched goes
 * through the guest's kernel, its card, and the peer. In a network namespace, so that nothing of the host's own network is touched.
 * Needs root on Linux, the image linux-cloud and the peers' programs; says so where they are missing.
 */
import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { until } from '../../packages/cluster/src/testing/until.ts';
import { fetchImage } from '../../packages/cli/src/images/image.ts';
import { imageOrSkip } from '../linux/shell.ts';

const root = join(import.meta.dirname, '../..');
const run = promisify(execFile);
const inside = process.env.REVENANT_NAMESPACE === 'yes';

function missing(): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'needs root on Linux';
  try {
    const probe = 'ip link set lo up; ip tuntap add mode tap name probe0';
    execFileSync('unshare', ['-n', 'sh', '-c', probe], { stdio: 'ignore' });
    return undefined;
  } catch {
    return 'needs unshare, iproute2 and the right to make a tap device';
  }
}

/** Whether the context goes on: the image is there, and the programs are. */
async function ready(context: TestContext, programs: readonly string[]): Promise<boolean> {
  for (const program of programs) {
    const found = await run('which', [program]).then(
      () => true,
      () => false,
    );
    if (found) continue;
    context.skip(`needs ${program}`);
    return false;
  }
  return (await imageOrSkip(context, 'linux-cloud')) !== undefined;
}

/** Ends its processes and removes its folder when the test is over. */
class Bench {
  readonly folder = mkdtempSync(join(tmpdir(), 'revenant-peers-'));
  readonly #processes: ChildProcess[] = [];

  constructor(context: TestContext) {
    context.after(async () => {
      for (const one of this.#processes.reverse()) {
        if (one.exitCode !== null || one.signalCode !== null) continue;
        const ended = new Promise((resolve) => one.once('close', resolve));
        one.kill('SIGKILL');
        await ended;
      }
      rmSync(this.folder, { recursive: true, force: true });
    });
  }

  start(program: string, words: readonly string[]): void {
    // vde_switch ends with its standard input.
    this.#processes.push(spawn(program, words, { stdio: ['pipe', 'ignore', 'inherit'] }));
  }

  /** A guest with its own address, or one by DHCP, which serves a page. */
  guest(net: string, { mac, command = 'sleep 100000' }: { mac?: string; command?: string } = {}): void {
    const card = mac === undefined ? [] : ['--mac', mac];
    const words = [
      join(root, 'launcher.mjs'),
      'run',
      'linux-cloud',
      '--memory',
      '128M',
      '--net',
      net,
      ...card,
      '--serial',
      'none',
      '--append',
      `quiet run="${command}"`,
    ];
    this.start(process.execPath, words);
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  async exists(name: string): Promise<string> {
    await until(name, () => existsSync(this.path(name)));
    return this.path(name);
  }
}

/** The guest's page, as soon as it answers. */
async function page(url: string): Promise<string> {
  let text = '';
  await until(url, async () => {
    const answer = await run('curl', ['-sS', '--max-time', '5', url]).catch(() => sleep(200));
    text = answer?.stdout ?? '';
    return answer !== undefined;
  });
  return text;
}

const address = (own: string): string => `ip addr add ${own} dev eth0; ip link set eth0 up; sleep 100000`;
const greeting = /Hello from revenant/;

/** A tap device of this namespace, with an address. */
function makeTap(name: string, own: string): void {
  execFileSync('ip', ['tuntap', 'add', 'mode', 'tap', 'name', name]);
  execFileSync('ip', ['addr', 'add', own, 'dev', name]);
  execFileSync('ip', ['link', 'set', name, 'up']);
}

async function withPasst(context: TestContext): Promise<void> {
  if (!(await ready(context, ['passt']))) return;
  const bench = new Bench(context);
  // It takes addresses and routes from an interface of the host, and changes its user when it is root.
  makeTap('uplink', '192.0.2.2/24');
  execFileSync('ip', ['route', 'add', 'default', 'via', '192.0.2.1']);
  execFileSync('chmod', ['777', bench.folder]);
  bench.start('passt', ['-f', '-q', '-4', '-s', bench.path('passt'), '-t', '8081:80']);
  bench.guest(`stream:unix:${await bench.exists('passt')}`);
  assert.match(await page('http://127.0.0.1:8081/'), greeting);
}

/** Each fetches the other's page: what QEMU's guest got, it serves. */
async function withQemu(context: TestContext): Promise<void> {
  if (!(await ready(context, ['qemu-system-x86_64']))) return;
  const bench = new Bench(context);
  const image = await fetchImage('linux-cloud', () => undefined);
  const fetchPage = 'while ! wget -q -O /srv/www/theirs http://10.9.1.1/index.html';
  // The card may come a moment after the guest's commands begin.
  const set = (own: string): string =>
    `while ! ip addr add ${own}/24 dev eth0; do usleep 100000; done; ip link set eth0 up`;
  const theirs = `${set('10.9.1.2')}; ${fetchPage}; do usleep 200000; done; sleep 100000`;
  const [console, kernel, initrd] = [
    'none',
    join(image.folder, 'vmlinuz'),
    join(image.folder, 'initrd.cpio'),
  ];
  const socket = bench.path('qemu');
  bench.start('qemu-system-x86_64', [
    '-accel',
    'tcg',
    '-m',
    '256',
    '-nodefaults',
    '-display',
    console,
    '-kernel',
    kernel,
    '-initrd',
    initrd,
    '-append',
    `${image.manifest.commandLine} quiet run="${theirs}"`,
    '-netdev',
    `stream,id=n,server=on,addr.type=unix,addr.path=${socket}`,
    '-device',
    'virtio-net-pci,netdev=n',
  ]);
  await bench.exists('qemu');
  const fetchTheirs = 'while ! wget -q -O /srv/www/back http://10.9.1.2/theirs; do usleep 200000; done';
  const own = `${set('10.9.1.1')}; ${fetchTheirs}; poweroff -f`;
  const words = [
    join(root, 'launcher.mjs'),
    'run',
    'linux-cloud',
    '--memory',
    '128M',
    '--net',
    `stream:unix:${socket}`,
    '--mac',
    '52:54:00:12:34:57',
    '--append',
    `quiet run="${own.replace('poweroff', 'cat /srv/www/back; poweroff')}"`,
  ];
  const { stdout } = await run(process.execPath, words);
  assert.match(stdout, greeting);
}

async function withVde(context: TestContext): Promise<void> {
  if (!(await ready(context, ['vde_switch', 'vde_plug']))) return;
  const bench = new Bench(context);
  const folder = bench.path('switch');
  makeTap('vde0', '10.9.2.254/24');
  bench.start('vde_switch', ['-s', folder, '-t', 'vde0', '-n', '8']);
  await bench.exists('switch/ctl');
  bench.guest(`vde:${folder}`, { command: address('10.9.2.1/24') });
  const ask = 'while ! wget -q -O /srv/www/neighbour http://10.9.2.1/; do usleep 200000; done';
  bench.guest(`vde:${folder}`, {
    mac: '52:54:00:12:34:57',
    command: `ip addr add 10.9.2.2/24 dev eth0; ip link set eth0 up; ${ask}; sleep 100000`,
  });
  assert.match(await page('http://10.9.2.1/'), greeting);
  assert.match(await page('http://10.9.2.2/'), greeting);
  await until('the neighbour', async () => greeting.test(await page('http://10.9.2.2/neighbour')));
}

async function withTap(context: TestContext): Promise<void> {
  if (!(await ready(context, ['vde_plug']))) return;
  const bench = new Bench(context);
  makeTap('tap7', '10.9.3.254/24');
  const big = 'dd if=/dev/zero of=/srv/www/big bs=1M count=16';
  bench.guest('tap:tap7', { command: `${big}; ${address('10.9.3.1/24')}` });
  assert.match(await page('http://10.9.3.1/'), greeting);
  const { stdout } = await run('sh', ['-c', 'curl -sS http://10.9.3.1/big | sha256sum']);
  assert.match(stdout, /^080acf35a507ac9849cfcba47dc2ad83e01b75663a516279c8b9d243b719643e/);
}

if (inside)
  describe('peers', { concurrency: true }, () => {
    it('passt', withPasst);
    it("QEMU's guest", withQemu);
    it('a switch of VDE', withVde);
    it('a tap device', withTap);
  });
else
  it('a guest whose card leads to passt, QEMU, VDE, a tap device', { skip: missing() ?? false }, async () => {
    const { NODE_TEST_CONTEXT: _context, ...env } = process.env;
    const command = `ip link set lo up; exec "${process.execPath}" --test --test-reporter=tap "${import.meta.filename}"`;
    await run('unshare', ['-n', 'sh', '-c', command], { env: { ...env, REVENANT_NAMESPACE: 'yes' } });
  });
