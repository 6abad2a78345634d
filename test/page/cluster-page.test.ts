/**
 * The cluster's page in a real browser, served by real node processes: a person makes a VM, sees its console, kills the node that runs it and
 * serves the page, and goes on with both.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { until } from '../../packages/cluster/src/testing/until.ts';
import { browserMissing } from './browser.ts';
import { giveToken, openVm, PageNodes } from './nodes.ts';

const missing = browserMissing();

describe('the page of a cluster', { skip: missing ?? false }, () => {
  let nodes: PageNodes;

  before(async () => {
    nodes = await PageNodes.open({ names: ['a', 'b'], withToken: true });
  });
  after(() => nodes.close());

  test('nobody gets in without the token, and a session ends at log-out', async () => {
    const { page } = await nodes.visit('a');
    await giveToken(page, 'another token, of nobody');
    await page.getByRole('alert').filter({ hasText: 'no valid proof' }).waitFor();
    assert.equal(await page.getByRole('heading', { name: 'Virtual machines' }).count(), 0);
    await giveToken(page);
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
    await page.context().close();
  });

  test('a VM is made, seen, and goes on with the page when the node of both is killed', async () => {
    const { page, errors } = await nodes.logIn();
    for (const name of ['a', 'b'])
      await page.getByLabel(`node ${name}`, { exact: true }).filter({ hasText: 'alive' }).waitFor();
    await page.getByRole('button', { name: 'Create', exact: true }).click();
    const form = page.getByRole('form', { name: 'create a VM' });
    await form.getByLabel('Name', { exact: true }).fill('chain');
    await form.getByRole('button', { name: 'Create and start' }).click();
    await page.getByRole('row').filter({ hasText: 'running' }).waitFor();
    await openVm(page, 'chain');
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
    await nodes.kill('a');
    await page.getByRole('status', { name: 'connection' }).filter({ hasText: 'served by b' }).waitFor();
    await place.filter({ hasText: /running on b, epoch [2-9]/ }).waitFor();
    await page.getByLabel('events of chain').filter({ hasText: 'a is fenced' }).waitFor();
    const lastStep = async (): Promise<number> =>
      Math.max(...[...(await terminal.innerText()).matchAll(/step (\d+) /g)].map(([, n]) => Number(n)));
    const seen = await lastStep();
    await until('the guest counts on', async () => (await lastStep()) > seen);
    await page.getByRole('button', { name: 'Delete chain' }).click();
    await page.getByRole('button', { name: 'Really delete chain' }).click();
    await place.filter({ hasText: 'deleted' }).waitFor();
    await page.context().close();
    assert.deepEqual(errors, []);
  });
});
