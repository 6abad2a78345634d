/** A VM's past in the page: its timeline, the screen of a moment, what the inspector sees there, through a failover, and by role. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Browser, Locator, Page } from 'playwright-core';
import { ClusterClient, NodeProcess } from '@revenant/cluster';
import { makeBuiltinKernel } from '../../images/builtin/kernel.ts';
import { browserMissing, openBrowser } from './browser.ts';

const missing = browserMissing();
const patienceMs = 180_000;
const token = 'a token for this test only';
const viewToken = 'a-token-of-who-only-looks';

/** Whether anything is drawn: not every pixel is black. */
const isDrawn = (canvas: Locator): Promise<boolean> =>
  canvas.evaluate((element) => {
    const { width, height } = element as HTMLCanvasElement;
    const { data } = (element as HTMLCanvasElement).getContext('2d')!.getImageData(0, 0, width, height);
    return data.some((value, n) => n % 4 !== 3 && value > 0);
  });

describe("a VM's past in the page", { skip: missing ?? false }, () => {
  const nodes = new Map<string, NodeProcess>();
  let folder: string;
  let client: ClusterClient;
  let browser: Browser;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'revenant-time-'));
    await writeFile(join(folder, 'token'), token);
    await writeFile(join(folder, 'people'), `vera view ${viewToken}\n`);
    const words = ['--people-file', join(folder, 'people')];
    for (const name of ['a', 'b']) {
      const [store, logFile] = [`file:${folder}/store`, join(folder, `${name}.log`)];
      const tokenFile = join(folder, 'token');
      const started = await NodeProcess.start({ name, store, profile: 'default', logFile, tokenFile, words });
      nodes.set(name, started);
    }
    client = new ClusterClient({ nodes: [...nodes.values()].map(({ address }) => address), token });
    const kernel = await client.putBlob(makeBuiltinKernel());
    const description = { memoryBytes: 16 << 20, kernel, commandLine: '' };
    const spec = { runtime: 'machine', description, memoryMiB: 16, priority: 1, outputs: 'async' as const };
    await client.command({ type: 'vm-create', vmId: 'web', spec, start: true });
    while ((await client.checkpoints('web').catch(() => [])).length < 4)
      await new Promise((resolve) => setTimeout(resolve, 200));
    browser = await openBrowser();
  });
  after(async () => {
    await browser.close();
    await client.close();
    for (const node of nodes.values()) node.kill();
    await Promise.all([...nodes.values()].map(({ whenEnded }) => whenEnded));
    await rm(folder, { recursive: true, force: true });
  });

  async function openVm(word: string): Promise<Page> {
    const page = await (await browser.newContext()).newPage();
    page.setDefaultTimeout(patienceMs);
    await page.goto(`http://${nodes.get('a')!.address}/`);
    await page.getByLabel('Token of the cluster').fill(word);
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByRole('table').getByRole('button', { name: 'web', exact: true }).click();
    await page
      .getByRole('region', { name: 'checkpoints of web' })
      .getByRole('button', { name: '1-1', exact: true })
      .waitFor();
    return page;
  }

  test('where the pointer is the screen of that moment is shown, also to who only looks', async () => {
    const page = await openVm(viewToken);
    await page.getByRole('slider', { name: 'moment of web' }).hover();
    const screen = page.getByRole('img', { name: /^screen of web at 1-\d+/ });
    await screen.waitFor();
    while (!(await isDrawn(screen))) await page.waitForTimeout(50);
    // Its memory is not theirs to see.
    await page.getByRole('slider', { name: 'moment of web' }).press('End');
    await page.getByRole('button', { name: 'Registers' }).click();
    await page.getByText('to open a checkpoint needs the role operate').waitFor();
    await page.context().close();
  });

  test('a chosen moment shows registers, code, memory and what changed', async () => {
    const page = await openVm(token);
    const errors: string[] = [];
    page.on('pageerror', (error) => errors.push(error.message));
    const slider = page.getByRole('slider', { name: 'moment of web' });
    await slider.press('End');
    const moment = page.getByRole('region', { name: /^moment 1-\d+ of web/ });
    const last = await slider.getAttribute('aria-valuetext');
    await slider.press('ArrowLeft');
    await page.getByRole('slider', { name: 'moment of web' }).waitFor();
    assert.notEqual(await slider.getAttribute('aria-valuetext'), last);
    await moment.getByRole('button', { name: 'Registers' }).click();
    await moment
      .getByLabel('registers')
      .filter({ hasText: /rip [0-9a-f]{16}/ })
      .waitFor();
    await moment.getByRole('button', { name: 'Code' }).click();
    await moment
      .getByLabel('instructions')
      .filter({ hasText: /> [0-9a-f]+ {2}[0-9a-f]+ +\w+/ })
      .waitFor();
    await moment.getByLabel('Address').fill('nonsense');
    await moment.getByRole('button', { name: 'Go' }).click();
    await moment.getByText('nonsense is no address').waitFor();
    await moment.getByRole('button', { name: 'Memory' }).click();
    await moment
      .getByLabel('bytes of memory')
      .filter({ hasText: /\|.{16}\|/ })
      .waitFor();
    await moment.getByRole('button', { name: 'Changes' }).click();
    await moment.getByRole('cell', { name: 'cpus.0.rax' }).waitFor();
    assert.ok(await isDrawn(moment.getByRole('img', { name: /^pages of ram/ })));
    await moment.getByRole('button', { name: 'Processes' }).click();
    await moment.getByText('no Linux kernel is in memory').waitFor();
    await page
      .getByRole('region', { name: 'figures of web' })
      .filter({ hasText: /retired [\d.]+ [MG]\/s/ })
      .waitFor();
    await page.context().close();
    assert.deepEqual(errors, []);
  });

  test('a fork begins at a moment, and the timeline shows who had the VM when', async () => {
    const page = await openVm(token);
    await page.getByRole('slider', { name: 'moment of web' }).press('End');
    await page.getByRole('button', { name: 'Fork web' }).click();
    await page.getByRole('form', { name: 'fork web' }).getByRole('button', { name: 'Fork' }).click();
    await page.getByText('web-fork begins there').waitFor();
    await client.waitFor('web-fork', ['running']);
    assert.equal((await client.vm('web-fork')).spec.origin?.vm, 'web');
    const holder = (await client.vm('web')).assignment!.node;
    nodes.get(holder)!.kill();
    const timeline = page.getByRole('region', { name: 'timeline of web' });
    const survivor = holder === 'a' ? 'b' : 'a';
    await timeline.getByText(new RegExp(`epoch [2-9] on ${survivor}`)).first().waitFor({ state: 'attached' }); // prettier-ignore
    await timeline.locator('.mark.bad').first().waitFor({ state: 'attached' });
    await page.context().close();
  });
});
