/** A VM's past in the page: its timeline, the screen of a moment, what the inspector sees there, through a failover, and by role. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Page } from 'playwright-core';
import { until } from '../../packages/cluster/src/testing/until.ts';
import { browserMissing } from './browser.ts';
import { isDrawn, openVm, PageNodes, token } from './nodes.ts';

const missing = browserMissing();
const people = { vera: ['view', 'a-token-of-who-only-looks'] } as const;

describe("a VM's past in the page", { skip: missing ?? false }, () => {
  let nodes: PageNodes;

  before(async () => {
    nodes = await PageNodes.open({ names: ['a', 'b'], withToken: true, people });
    await nodes.makeVm('web');
    await until('web has four checkpoints', async () => {
      const kept = await nodes.client.checkpoints('web').catch(() => []);
      return kept.length >= 4;
    });
  });
  after(() => nodes.close());

  /** The VM's view, once its first checkpoint is listed. */
  async function openWeb(word = token): Promise<{ page: Page; errors: string[] }> {
    const opened = await nodes.logIn(word);
    await openVm(opened.page, 'web');
    await opened.page
      .getByRole('region', { name: 'checkpoints of web' })
      .getByRole('button', { name: '1-1', exact: true })
      .waitFor();
    return opened;
  }

  test('where the pointer is the screen of that moment is shown, also to who only looks', async () => {
    const { page } = await openWeb(people.vera[1]);
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
    const { page, errors } = await openWeb();
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
    const { page, errors } = await openWeb();
    await page.getByRole('slider', { name: 'moment of web' }).press('End');
    await page.getByRole('button', { name: 'Fork web' }).click();
    await page.getByRole('form', { name: 'fork web' }).getByRole('button', { name: 'Fork' }).click();
    await page.getByText('web-fork begins there').waitFor();
    await nodes.client.waitFor('web-fork', ['running']);
    assert.equal((await nodes.client.vm('web-fork')).spec.origin?.vm, 'web');
    const holder = (await nodes.client.vm('web')).assignment!.node;
    await nodes.kill(holder);
    const timeline = page.getByRole('region', { name: 'timeline of web' });
    const survivor = holder === 'a' ? 'b' : 'a';
    await timeline
      .getByText(new RegExp(`epoch [2-9] on ${survivor}`))
      .first()
      .waitFor({ state: 'attached' });
    await timeline.locator('.mark.bad').first().waitFor({ state: 'attached' });
    await page.context().close();
    assert.deepEqual(errors, []);
  });
});
