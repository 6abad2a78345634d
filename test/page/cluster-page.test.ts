/**
 * The cluster's page in a real browser, served by real node processes: a person makes a VM, sees its console, kills the node that runs it and
 * serves the page, and goes on with both.
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { NodeProcess } from '@revenant/cluster';
import { browserMissing, openBrowser } from './browser.ts';

const missing = browserMissing();
/** A loaded machine needs longer; nothing waits for it. */
const patienceMs = 180_000;
const token = 'a token for this test only';

async function open(browser: Browser, address: string): Promise<Page> {
  const page = await browser.newPage();
  page.setDefaultTimeout(patienceMs);
  await page.goto(`http://${address}/`);
  return page;
}

async function logIn(page: Page, word = token): Promise<void> {
  await page.getByLabel('Token of the cluster').fill(word);
  await page.getByRole('button', { name: 'Log in' }).click();
}

describe('the page of a cluster', { skip: missing ?? false }, () => {
  const nodes = new Map<string, NodeProcess>();
  let folder: string;
  let browser: Browser;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'revenant-page-'));
    await writeFile(join(folder, 'token'), token);
    for (const name of ['a', 'b'])
      nodes.set(
        name,
        await NodeProcess.start({
          name,
          store: `file:${join(folder, 'store')}`,
          profile: 'default',
          logFile: join(folder, `${name}.log`),
          tokenFile: join(folder, 'token'),
        }),
      );
    browser = await openBrowser();
  });
  after(async () => {
    await browser.close();
    for (const node of nodes.values()) node.kill();
    await rm(folder, { recursive: true, force: true });
  });

  const addressOf = (name: string): string => nodes.get(name)!.address;

  test('nobody gets in without the token, and a session ends at log-out', async () => {
    const page = await open(browser, addressOf('a'));
    await logIn(page, 'another token, of nobody');
    await page.getByRole('alert').filter({ hasText: 'no valid proof' }).waitFor();
    assert.equal(await page.getByRole('heading', { name: 'Virtual machines' }).count(), 0);
    await logIn(page);
    await page.getByRole('heading', { name: 'Virtual machines' }).waitFor();
    const cookies = await page.context().cookies();
    assert.deepEqual(
      cookies.map(({ httpOnly, sameSite }) => ({ httpOnly, sameSite })),
      [{ httpOnly: true, sameSite: 'Strict' }],
    );
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.getByLabel('Token of the cluster').waitFor();
    await page.reload();
    await page.getByLabel('Token of the cluster').waitFor();
    await page.close();
  });

  test('a VM is made, seen, and goes on with the page when the node of both is killed', async () => {
    const page = await open(browser, addressOf('a'));
    const errors: string[] = [];
    page.on('pageerror', (error) => errors.push(error.message));
    await logIn(page);
    for (const name of ['a', 'b'])
      await page.getByLabel(`node ${name}`, { exact: true }).filter({ hasText: 'alive' }).waitFor();
    await page.getByRole('button', { name: 'Create', exact: true }).click();
    await page.getByLabel('Name', { exact: true }).fill('chain');
    await page.getByRole('button', { name: 'Create and start' }).click();
    await page
      .getByRole('row')
      .filter({ hasText: 'running' })
      .getByRole('button', { name: 'chain', exact: true })
      .click();
    const terminal = page.locator('.xterm-accessibility-tree');
    await terminal.filter({ hasText: /step \d+ [0-9a-f]{16}/ }).waitFor();
    const place = page.getByRole('status', { name: 'state of chain' });
    const before = (await place.filter({ hasText: /running on [ab], epoch 1/ }).textContent()) ?? '';
    const [, holder = ''] = /on ([ab])/.exec(before) ?? [];
    // The node that runs the guest serves the page as well.
    if (holder !== 'a') {
      await page.getByRole('button', { name: 'Migrate chain' }).click();
      await place.filter({ hasText: 'running on a' }).waitFor();
    }
    nodes.get('a')!.kill();
    await page.getByRole('status', { name: 'connection' }).filter({ hasText: 'served by b' }).waitFor();
    await place.filter({ hasText: /running on b, epoch [2-9]/ }).waitFor();
    await page.getByLabel('events of chain').filter({ hasText: 'a is fenced' }).waitFor();
    const lastStep = async (): Promise<number> =>
      Math.max(...[...(await terminal.innerText()).matchAll(/step (\d+) /g)].map(([, n]) => Number(n)));
    const seen = await lastStep();
    while ((await lastStep()) <= seen) await page.waitForTimeout(100);
    await page.getByRole('button', { name: 'Delete chain' }).click();
    await page.getByRole('button', { name: 'Really delete chain' }).click();
    await place.filter({ hasText: 'deleted' }).waitFor();
    await page.close();
    assert.deepEqual(errors, []);
  });
});
