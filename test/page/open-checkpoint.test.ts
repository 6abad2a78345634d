/** A checkpoint of a VM of the cluster goes on in the tab, in both engines, and shows the same screen. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Page } from 'playwright-core';
import { builtinDigest } from '../../images/builtin/kernel.ts';
import { browserMissing } from './browser.ts';
import { openVm, PageNodes, terminalShows, token, type OpenedPage } from './nodes.ts';

const missing = browserMissing();
const people = { vera: ['view', 'a-token-of-who-only-looks'] } as const;

describe('a checkpoint in the tab', { skip: missing ?? false }, () => {
  let nodes: PageNodes;

  before(async () => {
    nodes = await PageNodes.open({ names: ['a'], withToken: true, people });
    const { client } = nodes;
    await nodes.makeVm('chain', { memoryMiB: 128 });
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
  });
  after(() => nodes.close());

  async function openChain(word = token): Promise<OpenedPage> {
    const opened = await nodes.logIn(word);
    await openVm(opened.page, 'chain');
    return opened;
  }

  /** Another tab of the same session. */
  async function openTab({ page, errors }: OpenedPage, address: string): Promise<Page> {
    const tab = await page.context().newPage();
    tab.setDefaultTimeout(180_000);
    tab.on('pageerror', (error) => errors.push(error.message));
    await tab.goto(address);
    return tab;
  }

  const stepsOf = (text: string): { n: number; digest: string }[] =>
    [...text.matchAll(/step (\d+) ([0-9a-f]{16})/g)].map(([, n, digest]) => ({
      n: Number(n),
      digest: digest!,
    }));

  for (const engine of ['translator', 'interpreter'])
    test(`it goes on where it was, detached, in the ${engine}`, async () => {
      const opened = await openChain();
      const { page, errors } = opened;
      const before = (await nodes.client.screen('chain')).lines.join('\n');
      const link = page.getByRole('link', { name: /open checkpoint/ }).first();
      const address = new URL((await link.getAttribute('href'))!, page.url()).href;
      const tab = await openTab(opened, `${address}&engine=${engine}`);
      const shown = await terminalShows(tab, /(step \d+ [0-9a-f]{16}\s*){2}/);
      await tab.getByRole('img', { name: /screen of chain@/ }).waitFor();
      const [last] = stepsOf(before).slice(-1);
      const there = stepsOf(shown);
      assert.ok(there.length >= 2 && there[0]!.n > last!.n, `${before}\n${JSON.stringify(there)}`);
      // What it computes follows from what the cluster's guest had; its first lines may have left the terminal meanwhile.
      let { digest } = last!;
      for (let n = last!.n + 1; n <= there[0]!.n; n++) digest = builtinDigest(digest, n);
      assert.equal(there[0]!.digest, digest);
      // The cluster's guest has not moved.
      assert.equal((await nodes.client.screen('chain')).lines.join('\n'), before);
      await page.context().close();
      assert.deepEqual(errors, []);
    });

  test('from the click to a running guest of 128 MiB', async (context) => {
    const opened = await openChain();
    const began = performance.now();
    const tab = await openTab(opened, `http://${nodes.addressOf('a')}/run.html#open=chain`);
    await tab
      .getByRole('status')
      .filter({ hasText: /^running/ })
      .waitFor();
    context.diagnostic(`${(performance.now() - began).toFixed(0)} ms`);
    await opened.page.context().close();
    assert.deepEqual(opened.errors, []);
  });

  test('who only looks is told so, and gets none of its memory', async () => {
    const opened = await openChain(people.vera[1]);
    const { page } = opened;
    await page.getByRole('region', { name: 'checkpoints of chain' }).getByRole('row').nth(1).waitFor();
    assert.equal(await page.getByRole('link', { name: /checkpoint/ }).count(), 0);
    const tab = await openTab(opened, `http://${nodes.addressOf('a')}/run.html#open=chain`);
    await tab
      .getByRole('status')
      .filter({ hasText: 'to open a checkpoint needs the role operate' })
      .waitFor();
    await page.context().close();
  });

  test('what is no checkpoint or no page of it is refused in words', async () => {
    const { page } = await openChain();
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
