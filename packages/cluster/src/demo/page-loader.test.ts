/** The demo's console page is fetched from whichever place answers, and checked. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { until } from '../testing/until.ts';
import { PageLoader } from './page-loader.ts';

async function site(page: () => string | undefined): Promise<{ server: Server; url: string }> {
  const server = createServer((request, response) => {
    const text = page();
    if (text === undefined) request.socket.resetAndDestroy();
    else response.end(text);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, url: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}/` };
}

test('pages come by another place when one breaks off, and what comes wrong is none', async () => {
  let first: string | undefined = 'good';
  const [one, two] = [await site(() => first), await site(() => 'good')];
  const loader = new PageLoader([one.url, two.url], (text) => text === 'good');
  assert.equal(await loader.start(5000), true);
  await until('pages', () => loader.counts.loaded > 2);
  assert.equal(loader.counts.retried, 0);
  first = undefined;
  await until('a page by the other place', () => loader.counts.retried === 1);
  const { loaded } = loader.counts;
  await until('more pages', () => loader.counts.loaded > loaded + 2);
  assert.deepEqual(
    { ...(await loader.stop()), loaded: 0, longestMs: 0 },
    { loaded: 0, failed: 0, retried: 1, longestMs: 0 },
  );
  const wrong = new PageLoader([two.url], () => false);
  assert.equal(await wrong.start(300), false);
  one.server.close();
  two.server.close();
});
