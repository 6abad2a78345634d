/**
 * `npm run pictures`: a picture of each view of the page, as a small cluster shows it, into docs/pictures. With `--firefox` the page is looked at in
 * Debian's Firefox instead: the cluster, a VM's console, and a guest in the tab; it ends with 1 when one of them does not come.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Views } from '../page/views.ts';
import { Firefox } from './firefox.ts';

const folder = fileURLToPath(new URL('../../docs/pictures/', import.meta.url));
const size = { width: 1280, height: 860 };

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    scheme: { type: 'string', default: 'dark' },
    firefox: { type: 'boolean', default: false },
  },
});

const say = (line: string): void => void process.stdout.write(`${line}\n`);

async function inChromium(views: Views): Promise<void> {
  const colorScheme = values.scheme === 'light' ? 'light' : 'dark';
  await views.each({ colorScheme, viewport: size }, async (view, page) => {
    if (values.only !== undefined && values.only !== view) return;
    // Charts and the timeline need a few seconds of a past.
    await page.waitForTimeout(2000);
    const path = join(folder, `${view}.png`);
    await page.screenshot({ path });
    say(path);
  });
}

async function inFirefox(views: Views): Promise<void> {
  const firefox = await Firefox.open(size.width, size.height);
  const picture = async (name: string): Promise<void> => {
    const path = join(folder, `firefox-${name}.png`);
    await firefox.picture(path);
    say(path);
  };
  const says = (text: string): Promise<void> =>
    firefox.until(`document.body.innerText.includes(${JSON.stringify(text)})`);
  try {
    await firefox.goTo(views.origin);
    await says('Virtual machines');
    await firefox.until("document.querySelector('table button.link') !== null");
    say(`crossOriginIsolated: ${String(await firefox.value('crossOriginIsolated'))}`);
    await picture('cluster');
    await firefox.value("document.querySelector('table button.link').click()");
    await says('step ');
    await firefox.until("document.querySelectorAll('.strip .tick').length > 2");
    await picture('console');
    await firefox.goTo(`${views.origin}run.html#open=web`);
    await says('running');
    await firefox.until("document.querySelector('.screen canvas') !== null");
    await picture('checkpoint-in-the-tab');
    say(String(await firefox.value('navigator.userAgent')));
  } finally {
    await firefox.close();
  }
}

mkdirSync(folder, { recursive: true });
const views = await Views.open();
try {
  await (values.firefox ? inFirefox(views) : inChromium(views));
} finally {
  await views.close();
}
