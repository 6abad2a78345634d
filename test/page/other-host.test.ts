/**
 * The page goes on with a node on another host than the one that served it, whose cookie is not known there; also when it was opened by a name that no
 * node knows. It says so at an address at which browsers give it too little.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Page } from 'playwright-core';
import { browserMissing, openBrowser } from './browser.ts';
import { makeEchoKernel } from './echo-kernel.ts';
import { giveToken, openVm, PageNodes, terminalShows, typeLine } from './nodes.ts';

const missing = browserMissing();
const hosts = { a: '127.0.0.1', b: '127.0.0.2', c: '127.0.0.3' };

describe('the page through hosts', { skip: missing ?? false }, () => {
  let nodes: PageNodes;

  before(async () => {
    nodes = await PageNodes.open({ names: ['a', 'b', 'c'], withToken: true, hosts });
    await nodes.makeVm('echo', { kernel: makeEchoKernel(), outputs: 'log' });
  });
  after(() => nodes.close());

  const servedBy = (page: Page, node: string): Promise<void> =>
    page
      .getByRole('status', { name: 'connection' })
      .filter({ hasText: `served by ${node}` })
      .waitFor();

  /** What only the node that serves it can answer: a checkpoint, and what is kept of the VM. */
  async function looksAround(page: Page, line: string): Promise<void> {
    await typeLine(page, line);
    await page.getByRole('slider', { name: 'moment of echo' }).press('End');
    const moment = page.getByRole('region', { name: /^moment .* of echo/ });
    await moment.getByRole('button', { name: 'Registers' }).click();
    await moment.getByLabel('registers').first().waitFor();
    await moment.getByRole('button', { name: 'Close' }).click();
  }

  test('at a plain address of another host it says what it needs', async () => {
    const port = nodes.addressOf('a').split(':')[1]!;
    const browser = await openBrowser(['--host-resolver-rules=MAP node-a.example 127.0.0.1']);
    try {
      const page = await browser.newPage();
      await page.goto(`http://node-a.example:${port}/`);
      await page.getByRole('alert').filter({ hasText: '--tls-cert' }).waitFor();
    } finally {
      await browser.close();
    }
  });

  test('its node dies, and it goes on at another host, twice, and is left there', async () => {
    // By a name that the nodes do not know each other by.
    const { page, errors } = await nodes.visit('a');
    await page.goto(`http://localhost:${nodes.addressOf('a').split(':')[1]!}/`);
    await giveToken(page);
    await servedBy(page, 'a');
    await openVm(page, 'echo');
    await terminalShows(page, 'type here');
    await looksAround(page, 'at the first host');
    await nodes.client.command({ type: 'vm-migrate', vmId: 'echo', to: 'c' });
    await page.getByRole('status', { name: 'state of echo' }).filter({ hasText: 'running on c' }).waitFor();
    await nodes.kill('a');
    await servedBy(page, 'b');
    await looksAround(page, 'at the second');
    const cookies = await page.context().cookies(`http://${nodes.addressOf('b')}/`);
    assert.deepEqual(cookies, [], 'the session is known there by its pass alone');
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.waitForURL(`http://${nodes.addressOf('b')}/`);
    await giveToken(page);
    await servedBy(page, 'b');
    await openVm(page, 'echo');
    await terminalShows(page, 'at the second');
    await page.context().close();
    assert.deepEqual(errors, []);
  });
});
