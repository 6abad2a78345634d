/**
 * One person's way through the page, on a real machine of real nodes: makes a VM, types in its terminal, sees its screen, kills its node under
 * it, types on in the resumed guest, and opens its checkpoint in the tab; and what people of each role may do there.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Page } from 'playwright-core';
import { until } from '../../packages/cluster/src/testing/until.ts';
import { browserMissing } from './browser.ts';
import { makeEchoKernel } from './echo-kernel.ts';
import { guestText, openVm, PageNodes, pixelsOf, terminalShows, typeLine } from './nodes.ts';

const missing = browserMissing();
const people = {
  vera: ['view', 'a-token-of-who-only-looks'],
  otto: ['operate', 'a-token-of-who-uses-vms'],
} as const;
const kernelFile = {
  name: 'echo',
  mimeType: 'application/octet-stream',
  buffer: Buffer.from(makeEchoKernel()),
};

describe('a person at the page', { skip: missing ?? false }, () => {
  let nodes: PageNodes;

  before(async () => {
    nodes = await PageNodes.open({ names: ['a', 'b', 'c'], withToken: true, people });
  });
  after(() => nodes.close());

  /** What the VM's screen shows once `line` is on it. */
  async function seeScreen(page: Page, line: string): Promise<string> {
    await page.getByRole('button', { name: 'Screen', exact: true }).click();
    await page.getByLabel('text on the screen of echo').filter({ hasText: line }).waitFor();
    const text = (await page.getByLabel('text on the screen of echo').textContent()) ?? '';
    await page.getByRole('button', { name: 'Console', exact: true }).click();
    return text;
  }

  test('makes a VM, types, loses its node, types on, and opens its checkpoint in the tab', async () => {
    const { page, errors } = await nodes.logIn();
    await page.getByRole('button', { name: 'Create', exact: true }).click();
    const form = page.getByRole('form', { name: 'create a VM' });
    await form.getByLabel('Name', { exact: true }).fill('echo');
    await form.getByRole('combobox', { name: 'Guest' }).selectOption('own');
    await form.getByLabel('Kernel', { exact: true }).setInputFiles(kernelFile);
    await form.getByLabel('Memory in MiB', { exact: true }).fill('16');
    await form.getByRole('combobox', { name: 'When what it says leaves its node' }).selectOption('log');
    await form.getByRole('button', { name: 'Create and start' }).click();
    await page.getByRole('row').filter({ hasText: 'running' }).waitFor();
    await openVm(page, 'echo');

    await terminalShows(page, 'type here');
    await typeLine(page, 'before the end of its node');
    assert.match(await seeScreen(page, 'before the end'), /^type here\s+before the end of its node\s*$/);

    const state = page.getByRole('status', { name: 'state of echo' });
    const before = (await state.filter({ hasText: /running on [abc], epoch 1/ }).textContent()) ?? '';
    const [, holder = ''] = /on ([abc])/.exec(before) ?? [];
    await nodes.kill(holder);
    await state.filter({ hasText: /running on [abc], epoch [2-9]/ }).waitFor();
    await typeLine(page, 'and behind it');
    // Nothing that was seen is taken back, and nothing typed comes twice.
    assert.match(
      await seeScreen(page, 'and behind it'),
      /^type here\s+before the end of its node\s+and behind it\s*$/,
    );

    await page.getByRole('button', { name: 'Screen', exact: true }).click();
    const shown = await pixelsOf(page.getByRole('img', { name: 'screen of echo', exact: true }));
    await page.getByRole('button', { name: 'Pause echo' }).click();
    await state.filter({ hasText: 'paused' }).waitFor();
    const [tab] = await Promise.all([
      page.context().waitForEvent('page'),
      page.getByRole('link', { name: 'Open its newest checkpoint in a tab' }).click(),
    ]);
    tab.setDefaultTimeout(180_000);
    tab.on('pageerror', (error) => errors.push(error.message));
    const there = tab.getByRole('img', { name: 'screen of echo@latest, detached' });
    await there.waitFor();
    await until('the tab shows the same screen', async () => (await pixelsOf(there)) === shown);
    // It goes on there, and only there.
    await typeLine(tab, 'in the tab');
    await page.getByRole('button', { name: 'Go on echo' }).click();
    await state.filter({ hasText: 'running' }).waitFor();
    await page.getByRole('button', { name: 'Console', exact: true }).click();
    await typeLine(page, 'in the cluster');
    assert.doesNotMatch(await seeScreen(page, 'in the cluster'), /in the tab/);
    await page.context().close();
    assert.deepEqual(errors, []);
  });

  test('who only looks sees all of it and can do nothing', async () => {
    const { page, errors } = await nodes.logIn(people.vera[1]);
    await page.getByLabel('role', { exact: true }).filter({ hasText: 'vera: view' }).waitFor();
    for (const name of ['Create', 'Rebalance', 'Pause echo', 'Stop echo', 'Delete echo'])
      assert.ok(await page.getByRole('button', { name, exact: true }).isDisabled(), name);
    await openVm(page, 'echo');
    await terminalShows(page, 'in the cluster');
    await page.locator('.xterm-helper-textarea').focus();
    await page.keyboard.type('of nobody\n');
    const other = await nodes.logIn();
    await openVm(other.page, 'echo');
    await typeLine(other.page, 'of the admin');
    await terminalShows(page, 'of the admin');
    assert.doesNotMatch(await guestText(page), /of nobody/);
    await other.page.context().close();
    await page.context().close();
    assert.deepEqual([...errors, ...other.errors], []);
  });

  test('who uses VMs may type, stop and start, and makes and deletes none', async () => {
    const { page, errors } = await nodes.logIn(people.otto[1]);
    await page.getByLabel('role', { exact: true }).filter({ hasText: 'otto: operate' }).waitFor();
    for (const name of ['Create', 'Rebalance', 'Delete echo'])
      assert.ok(await page.getByRole('button', { name, exact: true }).isDisabled(), name);
    await openVm(page, 'echo');
    await typeLine(page, 'of the operator');
    const state = page.getByRole('status', { name: 'state of echo' });
    await page.getByRole('button', { name: 'Stop echo' }).click();
    await state.filter({ hasText: 'stopped' }).waitFor();
    await page.getByRole('button', { name: 'Start echo' }).click();
    await state.filter({ hasText: 'running' }).waitFor();
    await typeLine(page, 'in another life');
    const events = await nodes.client.events();
    for (const did of ['vm-stop', 'vm-start'])
      assert.ok(
        events.some(
          ({ by, event, reason }) => /otto/.test(`${by} ${event} ${reason}`) && reason.includes(did),
        ),
        did,
      );
    await page.context().close();
    assert.deepEqual(errors, []);
  });
});
