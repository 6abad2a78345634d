/** Consoles in the page: what is typed through failovers comes to the guest once, and what a hostile guest prints is text. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { until } from '../../packages/cluster/src/testing/until.ts';
import { browserMissing } from './browser.ts';
import { openVm, PageNodes, terminalShows, type OpenedPage } from './nodes.ts';

const missing = browserMissing();
const main = fileURLToPath(
  new URL('../../packages/cluster/test-support/node-with-listening-guest.ts', import.meta.url),
);
const lines = 40;

describe('consoles in the page', { skip: missing ?? false }, () => {
  let nodes: PageNodes;

  before(async () => {
    nodes = await PageNodes.open({ names: ['a', 'b', 'c', 'd'], main });
  });
  after(() => nodes.close());

  async function make(vmId: string, runtime: string): Promise<string> {
    const spec = { runtime, description: {}, memoryMiB: 16, priority: 1, outputs: 'async' as const };
    await nodes.client.command({ type: 'vm-create', vmId, spec, start: true });
    return (await nodes.client.waitFor(vmId, ['running'])).assignment!.node;
  }

  async function openConsole(node: string, vmId: string): Promise<OpenedPage> {
    const opened = await nodes.visit(node);
    await openVm(opened.page, vmId);
    return opened;
  }

  test('a hostile guest prints markup, escape sequences and 100 MB, and all of it is text', async () => {
    const node = await make('hostile', 'hostile');
    const { page, errors } = await openConsole(node, 'hostile');
    await terminalShows(page, 'the flood is over');
    assert.equal(await page.title(), 'Revenant');
    assert.equal(await page.locator('main script, main img').count(), 0);
    assert.equal(await page.locator('a[href^="javascript"]').count(), 0);
    // It still answers.
    await page.keyboard.press('x');
    await terminalShows(page, 'typed 78');
    await page.context().close();
    assert.deepEqual(errors, []);
    await nodes.client.command({ type: 'vm-delete', vmId: 'hostile' });
  });

  test('two who look at one console see the same, and both may type', async () => {
    const node = await make('shared', 'listens');
    const pages = [await openConsole(node, 'shared'), await openConsole(node, 'shared')];
    for (const [at, { page }] of pages.entries()) {
      await page.locator('.xterm-helper-textarea').focus();
      await page.keyboard.type('tell');
      await page.keyboard.press('Control+j');
      for (const each of pages) await terminalShows(each.page, `heard ${String(5 * at)} `);
    }
    for (const { page } of pages) await page.context().close();
    await nodes.client.command({ type: 'vm-delete', vmId: 'shared' });
  });

  test('a screen is drawn as it changes, and each key comes to the guest once, through the end of its node and the page', async () => {
    const node = await make('draws', 'draws');
    const { page, errors } = await openConsole(node, 'draws');
    await page.getByRole('button', { name: 'Screen', exact: true }).click();
    const screen = page.getByRole('img', { name: 'screen of draws', exact: true });
    /** How long the guest's yellow lines are, of which each is as long as often its key was pressed. */
    const lines = (): Promise<number[]> =>
      screen.evaluate((element) => {
        const canvas = element as HTMLCanvasElement;
        if (canvas.width !== 600) return [];
        const { data } = canvas.getContext('2d')!.getImageData(0, 0, 600, 20);
        return [0, 4, 8, 12].map((y) => {
          let x = 0;
          while (data[(y * 600 + x) * 4] === 255) x++;
          return x;
        });
      });
    const drawn = (expected: string): Promise<void> =>
      until(`the guest has drawn ${expected}`, async () => (await lines()).join(' ') === expected);
    await screen.focus();
    await drawn('0 0 0 0');
    for (const key of ['a', 'b', 'a', 'a']) await page.keyboard.press(key);
    await drawn('3 1 0 0');
    // Durable before the node ends; what comes after is sent again as far as it must.
    await nodes.kill(node);
    for (const key of ['c', 'd', 'd']) await page.keyboard.press(key);
    await drawn('3 1 1 2');
    await page.context().close();
    assert.deepEqual(errors, []);
    await nodes.client.command({ type: 'vm-delete', vmId: 'draws' });
  });

  test('what is typed and pasted while the node of guest and page is killed comes to the guest once, in order', async () => {
    const node = await make('listens', 'listens');
    const { page, errors } = await openConsole(node, 'listens');
    await page.locator('.xterm-helper-textarea').focus();
    let typed = '';
    const type = async (text: string): Promise<void> => {
      typed += `${text}\n`;
      await page.keyboard.type(text);
      await page.keyboard.press('Control+j');
    };
    for (let line = 0; line < lines; line++) {
      await type(`line ${String(line)}`);
      if (line === lines / 4) await nodes.kill(node);
    }
    // More at once than a console may send unacknowledged.
    const pasted = 'a long text that somebody pastes. '.repeat(5000);
    typed += pasted;
    await page.locator('.xterm-helper-textarea').evaluate((element, text) => {
      const clipboardData = new DataTransfer();
      clipboardData.setData('text/plain', text);
      element.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true }));
    }, pasted);
    await type('');
    const digest = createHash('sha256').update(typed).digest('hex');
    await type('tell');
    await terminalShows(page, `heard ${String(typed.length - 5)} ${digest.slice(0, 20)}`);
    await page
      .getByRole('status', { name: 'connection' })
      .filter({ hasNotText: `served by ${node}` })
      .waitFor();
    await page.context().close();
    assert.deepEqual(errors, []);
  });
});
