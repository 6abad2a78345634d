/** Every view of the page, one after the other, with a small cluster behind: for what is to hold of all of them, and for pictures of them. */
import type { BrowserContextOptions, Page } from 'playwright-core';
import { PageNodes } from './nodes.ts';

/** Ways to look at a moment, and what each shows. */
const looks = [
  ['Registers', 'registers'],
  ['Code', 'instructions'],
  ['Changes', 'what changed in processors and devices'],
] as const;

export class Views {
  readonly nodes: PageNodes;

  private constructor(nodes: PageNodes) {
    this.nodes = nodes;
  }

  /** Two nodes, and a VM that has begun to count. */
  static async open(): Promise<Views> {
    const nodes = await PageNodes.open({ names: ['a', 'b'] });
    await nodes.makeVm('web');
    await new Promise<void>((heard) => {
      const follower = nodes.client.console('web', () => {
        follower.close();
        heard();
      });
    });
    return new Views(nodes);
  }

  close(): Promise<void> {
    return this.nodes.close();
  }

  /** Where the page is. */
  get origin(): string {
    return `http://${this.nodes.addressOf('a')}/`;
  }

  /** Calls `see` with the page in each of its views. */
  async each(look: BrowserContextOptions, see: (view: string, page: Page) => Promise<void>): Promise<void> {
    const { page } = await this.nodes.visit('a', look);
    const { origin } = this;
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
    await page.context().close();
  }
}
