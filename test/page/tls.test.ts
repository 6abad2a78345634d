/** A cluster that speaks TLS: its links, its API, its clients and its page, with certificates of an authority of its own. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ClusterClient, isClusterError, NodeProcess, trustAuthority } from '@revenant/cluster';
import { requireToolsInCi } from '../native/toolchain.ts';
import { browserMissing, openBrowser } from './browser.ts';
import { giveToken, token } from './nodes.ts';

requireToolsInCi(['openssl']);
const missing = existsSync('/usr/bin/openssl') ? undefined : 'openssl is missing: apt-get install openssl';
const patienceMs = 180_000;

describe('a cluster that speaks TLS', { skip: missing ?? false }, () => {
  const nodes: NodeProcess[] = [];
  let folder: string;
  let client: ClusterClient;
  const path = (name: string): string => join(folder, name);
  const openssl = (...words: string[]): void =>
    void execFileSync('openssl', words, { cwd: folder, stdio: 'pipe' });

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'revenant-tls-'));
    await writeFile(path('token'), token);
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
    openssl('req', '-x509', ...key, '-subj', '/CN=authority', '-keyout', 'ca.key', '-out', 'ca.pem');
    const named = ['-addext', 'subjectAltName=IP:127.0.0.1', '-addext', 'basicConstraints=CA:FALSE'];
    const signed = ['-CA', 'ca.pem', '-CAkey', 'ca.key'];
    openssl(
      'req',
      '-x509',
      ...key,
      '-subj',
      '/CN=node',
      ...named,
      ...signed,
      '-keyout',
      'node.key',
      '-out',
      'node.pem',
    );
    const words = ['--tls-cert', path('node.pem'), '--tls-key', path('node.key'), '--tls-ca', path('ca.pem')];
    for (const name of ['a', 'b']) {
      const [store, logFile] = [`file:${path('store')}`, path(`${name}.log`)];
      nodes.push(
        await NodeProcess.start({
          name,
          store,
          profile: 'default',
          logFile,
          tokenFile: path('token'),
          words,
        }),
      );
    }
    client = new ClusterClient({ nodes: nodes.map(({ address }) => address), token });
  });
  after(async () => {
    await client.close();
    for (const node of nodes) node.kill();
    await Promise.all(nodes.map(({ whenEnded }) => whenEnded));
    await rm(folder, { recursive: true, force: true });
  });

  test('who does not trust the authority, or speaks without TLS, gets nowhere', async () => {
    assert.ok(nodes.every(({ address }) => address.startsWith('https://127.0.0.1:')));
    await assert.rejects(client.status(), (error) => isClusterError(error, 'UNREACHABLE'));
    await assert.rejects(fetch(nodes[0]!.address.replace('https', 'http')));
  });

  test('nodes are linked, and clients are served, under certificates of the authority', async () => {
    trustAuthority(path('ca.pem'));
    for (;;) {
      const { nodes: seen } = await client.status();
      if (seen.length === 2 && seen.every(({ state }) => state === 'alive')) break;
    }
    const spec = { runtime: 'chain', description: {}, memoryMiB: 16, priority: 1, outputs: 'async' as const };
    await client.command({ type: 'vm-create', vmId: 'v', spec, start: true });
    await new Promise<void>((heard) => {
      const follower = client.console('v', () => {
        follower.close();
        heard();
      });
    });
  });

  test('the page logs in and lives', { skip: browserMissing() ?? false }, async () => {
    const browser = await openBrowser();
    const page = await browser.newPage({ ignoreHTTPSErrors: true });
    page.setDefaultTimeout(patienceMs);
    await page.goto(nodes[0]!.address);
    await giveToken(page);
    await page.getByRole('row').filter({ hasText: 'running' }).waitFor();
    assert.equal(await page.evaluate('crossOriginIsolated'), true);
    const [cookie] = await page.context().cookies();
    assert.deepEqual([cookie?.secure, cookie?.httpOnly, cookie?.sameSite], [true, true, 'Strict']);
    await browser.close();
  });
});
