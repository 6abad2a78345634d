/** How the page looks to everybody: axe finds nothing, light and dark; a phone shows all of it; it is small. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import axe from 'axe-core';
import { builtPage } from '@revenant/cluster';
import { browserMissing } from './browser.ts';
import { Views } from './views.ts';

const missing = browserMissing();
const maxCompressedBytes = 300_000;

describe('how the page looks', { skip: missing ?? false }, () => {
  let views: Views;

  before(async () => {
    views = await Views.open();
  });
  after(() => views.close());

  for (const colorScheme of ['light', 'dark'] as const)
    test(`axe finds nothing in any view, ${colorScheme}`, async () => {
      await views.each({ colorScheme }, async (view, page) => {
        await page.evaluate(axe.source);
        const found = await page.evaluate(async () => {
          // The terminal's own tree of lines, which its screen-reader mode keeps, is not ours to change.
          const { axe: engine } = globalThis as unknown as { axe: typeof axe };
          const { violations } = await engine.run({ exclude: ['.xterm'] });
          return violations.map(
            ({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(' | ')}`,
          );
        });
        assert.deepEqual(found, [], view);
      });
    });

  test('a phone shows all of each view without scrolling sideways', async () => {
    await views.each({ viewport: { width: 360, height: 740 } }, async (view, page) => {
      const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      assert.ok(wide! <= room!, `${view}: ${String(wide)} of ${String(room)} pixels`);
    });
  });
});

test('what the cluster page loads before anything else is small', (context) => {
  const index = readFileSync(join(builtPage, 'index.html'), 'utf8');
  const files = [...index.matchAll(/(?:src|href)="\.\/([^"]+)"/g)].map(([, name]) => join(builtPage, name!));
  assert.ok(files.length >= 2);
  const bytes = files.reduce((sum, file) => sum + gzipSync(readFileSync(file)).length, 0);
  context.diagnostic(`${String(bytes)} bytes compressed`);
  assert.ok(bytes < maxCompressedBytes, String(bytes));
});
