/** Debian's Chromium for tests of the page, driven by Playwright. */
import { existsSync } from 'node:fs';
import { chromium, type Browser } from 'playwright-core';
import { requireToolsInCi } from '../native/toolchain.ts';

const executablePath = '/usr/bin/chromium';

/** Why there can be no browser here; undefined when there is one. Installs it where CI is set. */
export function browserMissing(): string | undefined {
  requireToolsInCi(['chromium']);
  return existsSync(executablePath) ? undefined : 'chromium is missing: apt-get install chromium';
}

/** A headless browser that speaks to nobody but the page; `more` words for its command. */
export function openBrowser(more: readonly string[] = []): Promise<Browser> {
  return chromium.launch({
    executablePath,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      ...more,
    ],
  });
}
