/**
 * curl fetches a file from a guest of a cluster with the policy `log`, by a living node, while the node that runs the guest is killed:
 *
 *     node test/network/download.ts --megabytes 256 --kills 2
 *
 * It connects once, and what arrives has the checksum that the guest says. Wants curl and the image linux-cloud.
 */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs, promisify } from 'node:util';
import { ClusterClient, Guardian, NodeProcess } from '@revenant/cluster';
import { buildModules } from '@revenant/emulator/host-node';
import { freePorts } from '../../packages/cluster/src/demo/free-ports.ts';
import { until } from '../../packages/cluster/src/testing/until.ts';

const run = promisify(execFile);
const launcher = join(import.meta.dirname, '../../launcher.mjs');
/** The client enters by `c`, which has no room for the guest. */
const names = ['a', 'b', 'c'] as const;
type Name = (typeof names)[number];
const mebibyte = 2 ** 20;

/** curl, with one connection; `received` bytes so far. */
class Download {
  readonly #curl;
  readonly #hash = createHash('sha256');
  received = 0;

  constructor(url: string) {
    this.#curl = spawn('curl', ['-sS', url], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#curl.stdout.on('data', (data: Buffer) => {
      this.received += data.length;
      this.#hash.update(data);
    });
  }

  async end(): Promise<string> {
    const [status] = (await once(this.#curl, 'close')) as [number];
    assert.equal(status, 0, 'curl failed');
    return this.#hash.digest('hex');
  }
}

async function main(megabytes: number, kills: number): Promise<void> {
  buildModules(() => undefined);
  const folder = mkdtempSync(join(tmpdir(), 'revenant-download-'));
  const guardian = await Guardian.start();
  guardian.remove(folder);
  const store = `file:${folder}/store`;
  const start = (name: Name): Promise<NodeProcess> =>
    NodeProcess.start({
      store, name, profile: 'default', logFile: join(folder, `${name}.log`), guardian,
      words: ['--memory-mib', name === 'c' ? '64' : '2048'],
    }); // prettier-ignore
  const nodes = new Map<string, NodeProcess>();
  const client = new ClusterClient({ store, answerMs: 120_000 });
  const allAlive = (): Promise<void> =>
    until('three nodes', async () => {
      const known = await client.status().catch(() => undefined);
      return known?.nodes.filter(({ state }) => state === 'alive').length === names.length;
    });
  try {
    for (const name of names) nodes.set(name, await start(name));
    await allAlive();
    const [port = 0] = await freePorts(1);
    await run(process.execPath, [launcher, 'network', 'create', 'lan', '--guard', '--store', store]);
    const command = `cd /srv/www; dd if=/dev/urandom of=big bs=1M count=${String(megabytes)}; sha256sum big >sum; mv sum told; sleep 100000`;
    await run(process.execPath, [
      launcher, 'vm', 'create', 'web', 'linux-cloud', '--memory', `${String(192 + megabytes)}M`, '--output', 'log', '--net', 'lan',
      '--publish', `c:${String(port)}:80`, '--append', `quiet run="${command}"`, '--store', store,
    ]); // prettier-ignore
    const url = `http://127.0.0.1:${String(port)}`;
    let told = '';
    await until('the file', async () => {
      told = await run('curl', ['-sSf', `${url}/told`]).then(({ stdout }) => stdout, () => sleep(500, '')); // prettier-ignore
      return told !== '';
    });
    console.log('the guest has its file');
    const began = performance.now();
    const download = new Download(`${url}/big`);
    const ended = download.end();
    for (let n = 1; n <= kills; n++) {
      const from = (megabytes * mebibyte * n) / (kills + 1);
      await Promise.race([ended, until('its part', () => download.received >= from)]);
      const holder = (await client.waitFor('web', ['running'])).assignment!.node as Name;
      const before = download.received;
      assert.ok(before < megabytes * mebibyte, 'the download had ended before the node was killed');
      nodes.get(holder)!.kill();
      await Promise.race([ended, until('more', () => download.received > before + mebibyte)]);
      console.log(`kill ${String(n)}: ${holder} after ${(before / mebibyte).toFixed(0)} MiB; it goes on`);
      nodes.set(holder, await start(holder));
      await allAlive();
    }
    assert.equal(await ended, told.slice(0, 64));
    const seconds = (performance.now() - began) / 1000;
    console.log(`${String(megabytes)} MiB over one connection in ${seconds.toFixed(1)} s, ${String(kills)} nodes killed: the checksum is right`); // prettier-ignore
  } finally {
    await client.close();
    for (const node of nodes.values()) node.kill();
    await Promise.all([...nodes.values()].map(({ whenEnded }) => whenEnded));
    rmSync(folder, { recursive: true, force: true });
  }
}

const { values } = parseArgs({
  options: { megabytes: { type: 'string', default: '256' }, kills: { type: 'string', default: '2' } },
});
await main(Number(values.megabytes), Number(values.kills));
