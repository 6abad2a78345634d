/**
 * A VM's past is run again in the page: a drag on the timeline replays from a checkpoint to a later moment, of which screen, serial output and
 * registers are those that the guest had; the living guest is not touched.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Locator, Page } from 'playwright-core';
import { until } from '../../packages/cluster/src/testing/until.ts';
import { browserMissing } from './browser.ts';
import { makeEchoKernel } from './echo-kernel.ts';
import { openVm, PageNodes, pixelsOf, token, typeLine, type OpenedPage } from './nodes.ts';

const missing = browserMissing();
const people = { vera: ['view', 'a-token-of-who-only-looks'] } as const;

describe('replay in the page', { skip: missing ?? false }, () => {
  let nodes: PageNodes;

  before(async () => {
    nodes = await PageNodes.open({ names: ['a', 'b'], withToken: true, people });
    await nodes.makeVm('echo', { kernel: makeEchoKernel(), outputs: 'log' });
  });
  after(() => nodes.close());

  async function opened(vmId: string, word = token): Promise<OpenedPage> {
    const visit = await nodes.logIn(word);
    await openVm(visit.page, vmId);
    return visit;
  }

  const replayOf = (page: Page): Locator => page.getByRole('region', { name: /^replay of echo from/ });
  const standing = (page: Page): Locator =>
    page.getByRole('status', { name: 'where the replay of echo stands' });

  async function serialOf(page: Page): Promise<string> {
    await replayOf(page).getByRole('button', { name: 'Serial' }).click();
    const shown = replayOf(page).getByLabel('serial output of the replay of echo');
    await shown.waitFor();
    return (await shown.textContent()) ?? '';
  }

  async function goTo(page: Page, ms: number): Promise<void> {
    const form = replayOf(page).getByRole('form', { name: 'go to another moment' });
    await form.getByLabel('to').fill((ms / 1000).toFixed(3));
    await form.getByRole('button', { name: 'Go', exact: true }).click();
    await standing(page)
      .filter({ hasText: `${(ms / 1000).toFixed(3)} s of its own time` })
      .waitFor();
  }

  /** The newest checkpoint that was begun after this was called. */
  async function nextCheckpoint(): Promise<{ virtualMs: number }> {
    const newest = async (): Promise<{ id: string; virtualMs: number } | undefined> => {
      const kept = await nodes.client.checkpoints('echo').catch(() => []);
      const { id, virtualMs } = kept.at(-1) ?? {};
      return id === undefined || virtualMs === undefined ? undefined : { id, virtualMs };
    };
    const seen = new Set<string>();
    // The first one after this may have been begun before.
    await until('two more checkpoints of echo are there', async () => {
      const now = await newest();
      if (now !== undefined) seen.add(now.id);
      return seen.size > 2;
    });
    return (await newest())!;
  }

  test('a drag shows what the guest showed; earlier and later moments are gone to; the guest is not touched', async () => {
    const visit = await opened('echo');
    const { page } = visit;
    await typeLine(page, 'what came first');
    const between = await nextCheckpoint();
    await typeLine(page, 'and what came then');
    await nextCheckpoint();
    await page.getByRole('button', { name: 'Pause echo' }).click();
    await page.getByRole('status', { name: 'state of echo' }).filter({ hasText: 'paused' }).waitFor();
    await page.getByRole('button', { name: 'Screen', exact: true }).first().click();
    await page.getByLabel('text on the screen of echo').filter({ hasText: 'and what came then' }).waitFor();
    const living = page.getByRole('img', { name: 'screen of echo', exact: true });

    // From the oldest checkpoint, which is nearest to the left edge, to now, which is beyond the end of the log.
    await page.getByRole('button', { name: 'all', exact: true }).click();
    const strip = page.getByRole('slider', { name: 'moment of echo' });
    await strip.scrollIntoViewIfNeeded();
    const box = (await strip.boundingBox())!;
    const y = box.y + box.height / 2;
    await page.mouse.move(box.x + 1, y);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width / 2, y);
    await page.mouse.move(box.x + box.width - 2, y);
    await page.mouse.up();
    await replayOf(page).waitFor();
    await standing(page).filter({ hasText: 'the log of what came in ends here' }).waitFor();
    const screen = replayOf(page).getByRole('img', { name: 'screen of the replay of echo' });
    await until('the replay shows what the guest shows', async () => {
      const [then, now] = [await pixelsOf(screen), await pixelsOf(living)];
      return then === now;
    });
    assert.match(await serialOf(page), /what came first\s+and what came then/);

    const registersAt = async (ms: number): Promise<string> => {
      await goTo(page, ms);
      await replayOf(page).getByRole('button', { name: 'Registers' }).click();
      const shown = replayOf(page).getByLabel('registers');
      await shown.filter({ hasText: /rip [0-9a-f]{16}/ }).waitFor();
      return (await shown.textContent()) ?? '';
    };
    const registers = await registersAt(between.virtualMs);
    const serial = await serialOf(page);
    assert.match(serial, /what came first/);
    assert.doesNotMatch(serial, /what came then/);
    await goTo(page, between.virtualMs / 2);
    // The same moment is the same, however it was come to.
    assert.equal(await registersAt(between.virtualMs), registers);
    await replayOf(page).getByRole('button', { name: 'Code' }).click();
    await replayOf(page)
      .getByLabel('instructions')
      .filter({ hasText: /> [0-9a-f]+ {2}/ })
      .waitFor();
    await replayOf(page).getByRole('button', { name: 'Close the replay' }).click();
    await replayOf(page).waitFor({ state: 'detached' });

    await page.getByRole('button', { name: 'Go on echo' }).click();
    await page.getByRole('button', { name: 'Console', exact: true }).click();
    await typeLine(page, 'it lives on');
    await page.context().close();
    assert.deepEqual(visit.errors, []);
  });

  test('by keyboard, and through the end of the node that served the page', async () => {
    const visit = await opened('echo');
    const { page } = visit;
    const [served] = nodes.names;
    await nodes.kill(served!);
    await page
      .getByRole('status', { name: 'connection' })
      .filter({ hasNotText: `served by ${served!}` })
      .filter({ hasText: 'served by' })
      .waitFor();
    const strip = page.getByRole('slider', { name: 'moment of echo' });
    await page.getByRole('region', { name: 'checkpoints of echo' }).getByRole('row').nth(3).waitFor();
    await strip.press('Home');
    await strip.press('Enter');
    await standing(page)
      .filter({ hasText: /s of its own time/ })
      .waitFor();
    await page.context().close();
    assert.deepEqual(visit.errors, []);
  });

  test('a VM whose log is not kept is told so; who only looks has no replay', async () => {
    await nodes.makeVm('plain');
    const visit = await opened('plain');
    const strip = visit.page.getByRole('slider', { name: 'moment of plain' });
    await visit.page.getByRole('region', { name: 'checkpoints of plain' }).getByRole('row').nth(1).waitFor();
    await strip.press('End');
    await strip.press('Enter');
    await visit.page.getByText('no log of what came in behind this checkpoint is kept').waitFor();
    await visit.page.context().close();
    const other = await opened('echo', people.vera[1]);
    // Before they are there the strip has no end to go to.
    await other.page.getByRole('region', { name: 'checkpoints of echo' }).getByRole('row').nth(1).waitFor();
    await other.page.getByRole('slider', { name: 'moment of echo' }).press('Home');
    await other.page.getByRole('slider', { name: 'moment of echo' }).press('Enter');
    await other.page.getByRole('region', { name: /^moment .* of echo/ }).waitFor();
    assert.equal(await replayOf(other.page).count(), 0);
    await other.page.context().close();
    assert.deepEqual([...visit.errors, ...other.errors], []);
  });
});
