/** `run.html` in a real browser: guests run in the tab, on both engines, and hear what is typed. */
import assert from 'node:assert/strict';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { createMachine, pcMemoryMap, planKernel } from '@revenant/emulator';
import { nodeEngine, nodeHash } from '@revenant/emulator/host-node';
import { encodeCheckpointFile } from '@revenant/storage';
import { servePage } from '../../packages/cli/src/commands/page.ts';
import { fetchImage } from '../../packages/cli/src/images/image.ts';
import { builtinDigest, makeBuiltinKernel } from '../../images/builtin/kernel.ts';
import { browserMissing, openBrowser } from './browser.ts';

const missing = browserMissing();
/** A loaded machine needs longer; nothing waits for it. */
const patienceMs = 180_000;

describe('the emulator in a tab', { skip: missing ?? false }, () => {
  let server: Server;
  let browser: Browser;
  let address: string;

  before(async () => {
    server = await servePage('127.0.0.1:0');
    address = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}/`;
    browser = await openBrowser();
  });
  after(async () => {
    await browser.close();
    server.closeAllConnections();
    server.close();
  });

  async function open(): Promise<{ page: Page; errors: string[] }> {
    const page = await browser.newPage();
    page.setDefaultTimeout(patienceMs);
    const errors: string[] = [];
    page.on('pageerror', (error) => errors.push(error.message));
    page.on('console', (message) => {
      if (message.type() === 'error') errors.push(message.text());
    });
    await page.goto(address);
    return { page, errors };
  }

  async function terminalShows(page: Page, pattern: RegExp): Promise<string> {
    const terminal = page.locator('.xterm-accessibility-tree');
    await terminal.filter({ hasText: pattern }).waitFor();
    return terminal.innerText();
  }

  for (const engine of ['translator', 'interpreter'])
    test(`the built-in guest computes its chain in the ${engine}; pause stops it`, async () => {
      const { page, errors } = await open();
      await page.selectOption('select[name=engine]', engine);
      await page.getByRole('button', { name: 'Start' }).click();
      await terminalShows(page, /(step \d+ [0-9a-f]{16}\s*){3}/);
      await page.getByRole('button', { name: 'Pause' }).click();
      await page.getByRole('button', { name: 'Go on' }).waitFor();
      assert.match((await page.getByRole('status').textContent()) ?? '', /^paused/);
      const shown = await page.locator('.xterm-accessibility-tree').innerText();
      const steps = [...shown.matchAll(/step (\d+) ([0-9a-f]{16})/g)].map(([, n, digest]) => ({
        n: Number(n),
        digest: digest!,
      }));
      assert.ok(steps.length >= 3);
      for (const [at, { n, digest }] of steps.entries())
        if (at > 0) assert.equal(digest, builtinDigest(steps[at - 1]!.digest, n));
      await page.close();
      assert.deepEqual(errors, []);
    });

  test('the screen shows what the guest writes there', async () => {
    const { page, errors } = await open();
    await page.getByRole('button', { name: 'Start' }).click();
    const canvas = page.getByRole('img', { name: 'screen of built-in guest' });
    await canvas.waitFor();
    /** Pixels that are not black. */
    const lit = (): Promise<number> =>
      canvas.evaluate((element) => {
        const { width, height } = element as HTMLCanvasElement;
        const { data } = (element as HTMLCanvasElement).getContext('2d')!.getImageData(0, 0, width, height);
        return new Uint32Array(data.buffer).filter((pixel) => (pixel & 0xff_ffff) !== 0).length;
      });
    while ((await lit()) < 1000) await page.waitForTimeout(100);
    await page.close();
    assert.deepEqual(errors, []);
  });

  test('a checkpoint file goes on where it was made', async () => {
    const memoryBytes = 16 * 2 ** 20;
    let text = '';
    const machine = await createMachine({
      description: { memoryBytes },
      backends: { hash: nodeHash, serial: (_port, byte) => void (text += String.fromCharCode(byte)) },
      engine: nodeEngine,
    });
    const environment = { memoryMap: pcMemoryMap(memoryBytes), rsdpAddress: machine.rsdpAddress };
    machine.boot(planKernel({ kernel: makeBuiltinKernel(), commandLine: '', longMode: true }, environment));
    machine.run({ instructions: 100_000_000 });
    const [, last = ''] = /step (\d+) \w{16}\s+(?!.*\w{16}\s)/s.exec(text) ?? [];
    const file = Buffer.concat([...encodeCheckpointFile(machine.snapshot({ full: true }))]);
    const { page, errors } = await open();
    await page.selectOption('select[name=source]', 'checkpoint');
    await page.setInputFiles('input[name=checkpoint]', {
      name: 'chain.checkpoint',
      mimeType: 'application/octet-stream',
      buffer: file,
    });
    await page.getByRole('button', { name: 'Start' }).click();
    // A terminal that is open from the first byte: the first whole line is the one behind the checkpoint's last.
    await terminalShows(page, /step \d+ [0-9a-f]{16}/);
    await page.getByRole('button', { name: 'Pause' }).click();
    const shown = await page.locator('.xterm-accessibility-tree').innerText();
    const first = Number(/step (\d+) [0-9a-f]{16}/.exec(shown)?.[1]);
    assert.ok(Number(last) > 1 && first > Number(last), `${last} ${String(first)}`);
    await page.close();
    assert.deepEqual(errors, []);
  });

  test('a file that is no checkpoint is refused in words', async () => {
    const { page } = await open();
    await page.selectOption('select[name=source]', 'checkpoint');
    await page.setInputFiles('input[name=checkpoint]', {
      name: 'notes.txt',
      mimeType: 'text/plain',
      buffer: Buffer.from('these are notes, and no checkpoint at all'),
    });
    await page.getByRole('button', { name: 'Start' }).click();
    await page
      .getByRole('status')
      .filter({ hasText: /ended: .*not a Revenant checkpoint file/ })
      .waitFor();
    await page.close();
  });

  test('Linux boots to its shell and answers what is typed', async () => {
    await fetchImage('linux-cloud', () => undefined);
    const { page, errors } = await open();
    await page.selectOption('select[name=source]', 'image:linux-cloud');
    await page.getByRole('button', { name: 'Start' }).click();
    await terminalShows(page, /revenant:\/root#/);
    await page.keyboard.type('echo $((6 * 7))-$(uname -m)\n');
    await terminalShows(page, /42-x86_64/);
    await page.keyboard.type('poweroff -f\n');
    await page.getByRole('status').filter({ hasText: 'ended: the guest powered off' }).waitFor();
    await page.close();
    assert.deepEqual(errors, []);
  });

  test('a page of a foreign name is not answered', async () => {
    const response = await fetch(`${address}images/index.json`);
    assert.equal(response.headers.get('cross-origin-opener-policy'), 'same-origin');
    const { request } = await import('node:http');
    const status = await new Promise<number | undefined>((resolve, reject) => {
      request(address, { headers: { host: 'example.com' } }, (answer) => {
        answer.resume();
        resolve(answer.statusCode);
      })
        .on('error', reject)
        .end();
    });
    assert.equal(status, 403);
  });
});
