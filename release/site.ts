/** A page of somebody's own in Chromium, from a folder of files, with the two headers that isolate it and no others. */
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join } from 'node:path';
import type { Page } from 'playwright-core';
import { openBrowser } from '../test/page/browser.ts';

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.wasm': 'application/wasm',
};

export interface Site {
  /** Of its pages' scripts, and of what they asked for in vain. */
  errors: string[];
  open(): Promise<Page>;
  close(): Promise<void>;
}

export async function openSite(folder: string): Promise<Site> {
  const errors: string[] = [];
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://site');
    const path = pathname === '/' ? '/index.html' : pathname;
    readFile(join(folder, path)).then(
      (bytes) => {
        response.writeHead(200, {
          'content-type': types[extname(path)] ?? 'application/octet-stream',
          'cross-origin-opener-policy': 'same-origin',
          'cross-origin-embedder-policy': 'require-corp',
        });
        response.end(bytes);
      },
      () => {
        if (path !== '/favicon.ico') errors.push(`there is no ${path}`);
        response.writeHead(404).end();
      },
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const browser = await openBrowser();
  return {
    errors,
    async open() {
      const page = await browser.newPage();
      page.on('pageerror', ({ message }) => errors.push(message));
      await page.goto(`http://127.0.0.1:${String((server.address() as AddressInfo).port)}/`);
      return page;
    },
    async close() {
      await browser.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
