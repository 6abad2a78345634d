/** A checkpoint of a VM of the cluster goes on in the tab, in both engines, and shows the same screen. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { ClusterClient, NodeProcess } from '@revenant/cluster';
import { builtinDigest, makeBuiltinKernel } from '../../images/builtin/kernel.ts';
import { browserMissing, openBrowser } from './browser.ts';

const missing = browserMissing();
const patienceMs = 180_000;
const token = 'a token for this test only';
const viewToken = 'a-token-of-who-only-looks';

describe('a checkpoint in the tab', { skip: missing ?? false }, () => {
  let folder: string;
  let node: NodeProcess;
  let client: ClusterClient;
  let browser: Browser;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'revenant-open-'));
    await writeFile(join(folder, 'token'), token);
    await writeFile(join(folder, 'people'), `vera view ${viewToken}\n`);
    const [store, logFile, tokenFile] = [`file:${folder}/store`, join(folder, 'log'), join(folder, 'token')];
    const words = ['--people-file', join(folder, 'people')];
    node = await NodeProcess.start({ name: 'a', store, profile: 'default', logFile, tokenFile, words });
    client = new ClusterClient({ nodes: [node.address], token });
    const kernel = await client.putBlob(makeBuiltinKernel());
    const description = { memoryBytes: 128 << 20, kernel, commandLine: '' };
    const spec = { runtime: 'machine', description, memoryMiB: 128, priority: 1, outputs: 'async' as const };
    await client.command({ type: 'vm-create', vmId: 'chain', spec, start: true });
    await new Promise<void>((counts) => {
      let heard = '';
      const follower = client.console('chain', (bytes) => {
        heard += Buffer.from(bytes).toString();
        if (!/step 3 /.test(heard)) return;
        follower.close();
        counts();
      });
    });
    await client.command({ type: 'vm-pause', vmId: 'chain' });
    await client.waitFor('chain', ['paused']);
    browser = await openBrowser();
  });
  after(async () => {
    await browser.close();
    await client.close();
    node.kill();
    await node.whenEnded;
    await rm(folder, { recursive: true, force: true });
  });

  async function logIn(word: string): Promise<Page> {
    const page = await (await browser.newContext()).newPage();
    page.setDefaultTimeout(patienceMs);
    await page.goto(`http://${node.address}/`);
    await page.getByLabel('Token of the cluster').fill(word);
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByRole('table').getByRole('button', { name: 'chain', exact: true }).click();
    return page;
  }

  const stepsOf = (text: string): { n: number; digest: string }[] =>
    [...text.matchAll(/step (\d+) ([0-9a-f]{16})/g)].map(([, n, digest]) => ({
      n: Number(n),
      digest: digest!,
    }));

  for (const engine of ['translator', 'interpreter'])
    test(`it goes on where it was, detached, in the ${engine}`, async () => {
      const page = await logIn(token);
      const before = (await client.screen('chain')).lines.join('\n');
      const link = page.getByRole('link', { name: /open checkpoint/ }).first();
      const address = new URL((await link.getAttribute('href'))!, page.url()).href;
      const tab = await page.context().newPage();
      tab.setDefaultTimeout(patienceMs);
      const errors: string[] = [];
      tab.on('pageerror', (error) => errors.push(error.message));
      await tab.goto(`${address}&engine=${engine}`);
      const terminal = tab.locator('.xterm-accessibility-tree');
      await terminal.filter({ hasText: /(step \d+ [0-9a-f]{16}\s*){2}/ }).waitFor();
      await tab.getByRole('img', { name: /screen of chain@/ }).waitFor();
      const [last] = stepsOf(before).slice(-1);
      const there = stepsOf(await terminal.innerText());
      assert.ok(there.length >= 2 && there[0]!.n > last!.n, `${before}\n${JSON.stringify(there)}`);
      // What it computes follows from what the cluster's guest had; its first lines may have left the terminal meanwhile.
      let { digest } = last!;
      for (let n = last!.n + 1; n <= there[0]!.n; n++) digest = builtinDigest(digest, n);
      assert.equal(there[0]!.digest, digest);
      // The cluster's guest has not moved.
      assert.equal((await client.screen('chain')).lines.join('\n'), before);
      await page.context().close();
      assert.deepEqual(errors, []);
    });

  test('from the click to a running guest of 128 MiB', async (context) => {
    const page = await logIn(token);
    const tab = await page.context().newPage();
    tab.setDefaultTimeout(patienceMs);
    const began = performance.now();
    await tab.goto(`http://${node.address}/run.html#open=chain`);
    await tab
      .getByRole('status')
      .filter({ hasText: /^running/ })
      .waitFor();
    context.diagnostic(`${(performance.now() - began).toFixed(0)} ms`);
    await page.context().close();
  });

  test('who only looks is told so, and gets none of its memory', async () => {
    const page = await logIn(viewToken);
    await page.getByRole('region', { name: 'checkpoints of chain' }).getByRole('row').nth(1).waitFor();
    assert.equal(await page.getByRole('link', { name: /checkpoint/ }).count(), 0);
    const tab = await page.context().newPage();
    tab.setDefaultTimeout(patienceMs);
    await tab.goto(`http://${node.address}/run.html#open=chain`);
    await tab
      .getByRole('status')
      .filter({ hasText: 'to open a checkpoint needs the role operate' })
      .waitFor();
    await page.context().close();
  });

  test('what is no checkpoint or no page of it is refused in words', async () => {
    const page = await logIn(token);
    const statusOf = (path: string): Promise<number> =>
      page.evaluate(async (asked) => (await fetch(asked)).status, `/v1/vms/chain/checkpoints${path}`);
    assert.equal(await statusOf('/9-99999/state'), 404);
    for (const query of [
      '',
      '?space=ram',
      '?space=ram&indexes=-1',
      '?space=ram&indexes=99999999',
      '?space=constructor&indexes=1',
      `?space=ram&indexes=${'1,'.repeat(512)}1`,
    ])
      assert.equal(await statusOf(`/latest/pages${query}`), 400, query);
    await page.context().close();
  });
});
