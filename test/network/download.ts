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
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs, promisify } from 'node:util';
import { freePorts } from '../../packages/cluster/src/demo/free-ports.ts';
import { until } from '../../packages/cluster/src/testing/until.ts';
import { KillableNodes } from './killable-nodes.ts';

const run = promisify(execFile);
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

/** A guest that makes a file of random bytes, whose checksum it tells when the file is there. */
async function createServer(nodes: KillableNodes, megabytes: number, port: string): Promise<void> {
  await nodes.revenant('network', 'create', 'lan', '--guard');
  const made = `dd if=/dev/urandom of=big bs=1M count=${String(megabytes)}; sha256sum big >sum; mv sum told`;
  const words = `vm create web linux-cloud --output log --net lan --publish c:${port}:80`.split(' ');
  const memory = ['--memory', `${String(192 + megabytes)}M`];
  await nodes.revenant(...words, ...memory, '--append', `quiet run="cd /srv/www; ${made}; sleep 100000"`);
}

async function whatIsTold(url: string): Promise<string> {
  let told = '';
  await until('the file', async () => {
    told = await run('curl', ['-sSf', `${url}/told`]).then(
      ({ stdout }) => stdout,
      () => sleep(500, ''),
    );
    return told !== '';
  });
  return told;
}

async function main(megabytes: number, kills: number): Promise<void> {
  const nodes = await KillableNodes.prepare('download', 2048);
  try {
    await nodes.start();
    const port = String((await freePorts(1))[0]);
    await createServer(nodes, megabytes, port);
    const url = `http://127.0.0.1:${port}`;
    const told = await whatIsTold(url);
    console.log('the guest has its file');
    const began = performance.now();
    const download = new Download(`${url}/big`);
    const ended = download.end();
    for (let n = 1; n <= kills; n++) {
      const from = (megabytes * mebibyte * n) / (kills + 1);
      await Promise.race([ended, until('its part', () => download.received >= from)]);
      const before = download.received;
      assert.ok(before < megabytes * mebibyte, 'the download had ended before the node was killed');
      const holder = await nodes.killHolder('web');
      await Promise.race([ended, until('more', () => download.received > before + mebibyte)]);
      console.log(`kill ${String(n)}: ${holder} after ${(before / mebibyte).toFixed(0)} MiB; it goes on`);
      await nodes.startAgain(holder);
    }
    assert.equal(await ended, told.slice(0, 64));
    const seconds = (performance.now() - began) / 1000;
    console.log(
      `${String(megabytes)} MiB over one connection in ${seconds.toFixed(1)} s, ${String(kills)} nodes killed: the checksum is right`,
    );
  } finally {
    await nodes.close();
  }
}

const { values } = parseArgs({
  options: { megabytes: { type: 'string', default: '256' }, kills: { type: 'string', default: '2' } },
});
await main(Number(values.megabytes), Number(values.kills));
