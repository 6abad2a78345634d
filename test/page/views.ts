/** Every view of the page, one after the other, with a small cluster behind: for what is to hold of all of them, and for pictures of them. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { ClusterClient, NodeProcess } from '@revenant/cluster';
import { makeBuiltinKernel } from '../../images/builtin/kernel.ts';

const patienceMs = 180_000;
/** Ways to look at a moment, and what each shows. */
const looks = [
  ['Registers', 'registers'],
  ['Code', 'instructions'],
  ['Changes', 'what changed in processors and devices'],
] as const;

export class Views {
  readonly #nodes: NodeProcess[] = [];
  #folder = '';
  #client!: ClusterClient;

  /** Two nodes, and a VM that has begun to count. */
  async open(): Promise<void> {
    this.#folder = await mkdtemp(join(tmpdir(), 'revenant-views-'));
    for (const name of ['a', 'b']) {
      const [store, logFile] = [`file:${this.#folder}/store`, join(this.#folder, `${name}.log`)];
      this.#nodes.push(await NodeProcess.start({ name, store, profile: 'default', logFile }));
    }
    this.#client = new ClusterClient({ nodes: this.#nodes.map(({ address }) => address) });
    const kernel = await this.#client.putBlob(makeBuiltinKernel());
    const description = { memoryBytes: 16 << 20, kernel, commandLine: '' };
    const spec = { runtime: 'machine', description, memoryMiB: 16, priority: 1, outputs: 'async' as const };
    await this.#client.command({ type: 'vm-create', vmId: 'web', spec, start: true });
    await new Promise<void>((heard) => {
      const follower = this.#client.console('web', () => {
        follower.close();
        heard();
      });
    });
  }

  async close(): Promise<void> {
    await this.#client.close();
    for (const node of this.#nodes) node.kill();
    await Promise.all(this.#nodes.map(({ whenEnded }) => whenEnded));
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** Where the page is. */
  get origin(): string {
    return `http://${this.#nodes[0]!.address}/`;
  }

  /** Calls `see` with the page in each of its views. */
  async each(
    browser: Browser,
    look: BrowserContextOptions,
    see: (view: string, page: Page) => Promise<void>,
  ): Promise<void> {
    const context = await browser.newContext(look);
    const page = await context.newPage();
    page.setDefaultTimeout(patienceMs);
    const { origin } = this;
    await page.goto(origin);
    await page.getByRole('row').filter({ hasText: 'running' }).waitFor();
    await see('cluster', page);
    await page.getByRole('button', { name: 'Create', exact: true }).click();
    await see('create', page);
    await page.getByRole('button', { name: 'Cancel' }).click();
    await page.getByRole('table').getByRole('button', { name: 'web', exact: true }).click();
    await page
      .locator('.xterm-accessibility-tree')
      .filter({ hasText: /step \d+/ })
      .waitFor();
    await page
      .getByRole('link', { name: /open checkpoint/ })
      .first()
      .waitFor();
    await see('console', page);
    await page
      .getByRole('link', { name: /open checkpoint/ })
      .nth(1)
      .waitFor();
    await page.getByRole('slider', { name: 'moment of web' }).press('End');
    await page.getByRole('region', { name: /^moment .* of web/ }).waitFor();
    for (const [tab, label] of looks) {
      await page.getByRole('button', { name: tab, exact: true }).click();
      await page.getByLabel(label).first().waitFor();
      await see(`moment-${tab.toLowerCase()}`, page);
    }
    await page.getByRole('button', { name: 'Close' }).click();
    await page.getByRole('button', { name: 'Screen', exact: true }).click();
    await page.getByLabel('screen of web', { exact: true }).waitFor();
    await see('screen', page);
    await page.goto(`${origin}run.html`);
    await page.getByRole('button', { name: 'Start' }).waitFor();
    await see('run', page);
    await page.goto(`${origin}run.html?again#open=web`);
    await page.getByRole('img', { name: /screen of web@/ }).waitFor();
    await see('checkpoint-in-the-tab', page);
    await context.close();
  }
}
