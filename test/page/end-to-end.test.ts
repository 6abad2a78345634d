/**
 * One person's way through the page, on a real machine of real nodes: makes a VM, types in its terminal, sees its screen, kills its node under
 * it, types on in the resumed guest, and opens its checkpoint in the tab; and what people of each role may do there.
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Browser, Locator, Page } from 'playwright-core';
import { ClusterClient, NodeProcess } from '@revenant/cluster';
import { browserMissing, openBrowser } from './browser.ts';
import { makeEchoKernel } from './echo-kernel.ts';

const missing = browserMissing();
/** A loaded machine needs longer; nothing waits for it. */
const patienceMs = 180_000;
const token = 'a token for this test only';
const people = { vera: ['view', 'a-token-of-who-only-looks'], otto: ['operate', 'a-token-of-who-uses-vms'] } as const; // prettier-ignore
const kernelFile = { name: 'echo', mimeType: 'application/octet-stream', buffer: Buffer.from(makeEchoKernel()) }; // prettier-ignore

/** The canvas as one text, row by row. */
const pixelsOf = (canvas: Locator): Promise<string> =>
  canvas.evaluate((element) => (element as HTMLCanvasElement).toDataURL());

describe('a person at the page', { skip: missing ?? false }, () => {
  const nodes = new Map<string, NodeProcess>();
  let folder: string;
  let browser: Browser;
  let client: ClusterClient;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'revenant-end-to-end-'));
    const [tokenFile, peopleFile] = [join(folder, 'token'), join(folder, 'people')];
    await writeFile(tokenFile, token);
    await writeFile(
      peopleFile,
      Object.entries(people)
        .map(([name, [role, word]]) => `${name} ${role} ${word}\n`)
        .join(''),
    );
    for (const name of ['a', 'b', 'c']) {
      const [store, logFile] = [`file:${folder}/store`, join(folder, `${name}.log`)];
      const words = ['--people-file', peopleFile];
      const started = await NodeProcess.start({ name, store, profile: 'default', logFile, tokenFile, words });
      nodes.set(name, started);
    }
    client = new ClusterClient({ nodes: [...nodes.values()].map(({ address }) => address), token });
    browser = await openBrowser();
  });
  after(async () => {
    await browser.close();
    await client.close();
    for (const node of nodes.values()) node.kill();
    await Promise.all([...nodes.values()].map(({ whenEnded }) => whenEnded));
    await rm(folder, { recursive: true, force: true });
  });

  async function logIn(word: string): Promise<{ page: Page; errors: string[] }> {
    const page = await (await browser.newContext()).newPage();
    page.setDefaultTimeout(patienceMs);
    const errors: string[] = [];
    page.on('pageerror', (error) => errors.push(error.message));
    const [node] = [...nodes.values()];
    await page.goto(`http://${node!.address}/`);
    await page.getByLabel('Token of the cluster').fill(word);
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByRole('heading', { name: 'Virtual machines' }).waitFor();
    return { page, errors };
  }

  const openVm = (page: Page): Promise<void> =>
    page.getByRole('table').getByRole('button', { name: 'echo', exact: true }).click();

  async function typeLine(page: Page, line: string): Promise<void> {
    await page.locator('.xterm-helper-textarea').focus();
    await page.keyboard.type(`${line}\n`);
    await page.locator('.xterm-accessibility-tree').filter({ hasText: line }).waitFor();
  }

  /** What the VM's screen shows once `line` is on it. */
  async function seeScreen(page: Page, line: string): Promise<string> {
    await page.getByRole('button', { name: 'Screen', exact: true }).click();
    await page.getByLabel('text on the screen of echo').filter({ hasText: line }).waitFor();
    const text = (await page.getByLabel('text on the screen of echo').textContent()) ?? '';
    await page.getByRole('button', { name: 'Console', exact: true }).click();
    return text;
  }

  test('makes a VM, types, loses its node, types on, and opens its checkpoint in the tab', async () => {
    const { page, errors } = await logIn(token);
    await page.getByRole('button', { name: 'Create', exact: true }).click();
    await page.getByLabel('Name', { exact: true }).fill('echo');
    await page.getByRole('combobox', { name: 'Guest' }).selectOption('own');
    await page.getByLabel('Kernel', { exact: true }).setInputFiles(kernelFile);
    await page.getByLabel('Memory in MiB').fill('16');
    await page.getByRole('combobox', { name: 'When what it says leaves its node' }).selectOption('log');
    await page.getByRole('button', { name: 'Create and start' }).click();
    await page.getByRole('row').filter({ hasText: 'running' }).waitFor();
    await openVm(page);

    await page.locator('.xterm-accessibility-tree').filter({ hasText: 'type here' }).waitFor();
    await typeLine(page, 'before the end of its node');
    assert.match(await seeScreen(page, 'before the end'), /^type here\s+before the end of its node\s*$/);

    const state = page.getByRole('status', { name: 'state of echo' });
    const before = (await state.filter({ hasText: /running on [abc], epoch 1/ }).textContent()) ?? '';
    const [, holder = ''] = /on ([abc])/.exec(before) ?? [];
    nodes.get(holder)!.kill();
    nodes.delete(holder);
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
    tab.setDefaultTimeout(patienceMs);
    tab.on('pageerror', (error) => errors.push(error.message));
    const there = tab.getByRole('img', { name: 'screen of echo@latest, detached' });
    await there.waitFor();
    while ((await pixelsOf(there)) !== shown) await tab.waitForTimeout(50);
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
    const { page, errors } = await logIn(people.vera[1]);
    await page.getByLabel('role', { exact: true }).filter({ hasText: 'vera: view' }).waitFor();
    for (const name of ['Create', 'Rebalance', 'Pause echo', 'Stop echo', 'Delete echo'])
      assert.ok(await page.getByRole('button', { name, exact: true }).isDisabled(), name);
    await openVm(page);
    const terminal = page.locator('.xterm-accessibility-tree');
    await terminal.filter({ hasText: 'in the cluster' }).waitFor();
    await page.locator('.xterm-helper-textarea').focus();
    await page.keyboard.type('of nobody\n');
    const other = await logIn(token);
    await openVm(other.page);
    await typeLine(other.page, 'of the admin');
    await terminal.filter({ hasText: 'of the admin' }).waitFor();
    assert.doesNotMatch(await terminal.innerText(), /of nobody/);
    await other.page.context().close();
    await page.context().close();
    assert.deepEqual([...errors, ...other.errors], []);
  });

  test('who uses VMs may type, stop and start, and makes and deletes none', async () => {
    const { page, errors } = await logIn(people.otto[1]);
    await page.getByLabel('role', { exact: true }).filter({ hasText: 'otto: operate' }).waitFor();
    for (const name of ['Create', 'Rebalance', 'Delete echo'])
      assert.ok(await page.getByRole('button', { name, exact: true }).isDisabled(), name);
    await openVm(page);
    await typeLine(page, 'of the operator');
    const state = page.getByRole('status', { name: 'state of echo' });
    await page.getByRole('button', { name: 'Stop echo' }).click();
    await state.filter({ hasText: 'stopped' }).waitFor();
    await page.getByRole('button', { name: 'Start echo' }).click();
    await state.filter({ hasText: 'running' }).waitFor();
    await typeLine(page, 'in another life');
    const events = await client.events();
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
