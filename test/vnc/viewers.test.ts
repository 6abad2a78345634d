/** Real viewers show a guest's display to the pixel, and what is typed into them reaches it: Debian's TigerVNC under Xvfb, and noVNC in Chromium. */
import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { buildModules } from '@revenant/emulator/host-node';
import { answerTo } from '../../packages/cli/src/vnc/handshake.ts';
import { requireToolsInCi } from '../native/toolchain.ts';
import { browserMissing, openBrowser } from '../page/browser.ts';
import { password, WatchedGuest } from './guest.ts';

before(() => {
  buildModules(() => undefined);
});

interface Shot {
  width: number;
  height: number;
  rgb: Buffer;
}

/** X11's "X Window Dump File Format": a header of big-endian words, colours, and 32 bits a pixel, blue first. */
function readWindowDump(dump: Buffer): Shot {
  const word = (n: number): number => dump.readUInt32BE(n * 4);
  const [width, height, pixelBits, pitch] = [word(4), word(5), word(11), word(12)];
  assert.equal(pixelBits, 32);
  const from = word(0) + word(19) * 12;
  const rgb = Buffer.alloc(width * height * 3);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      for (let c = 0; c < 3; c++) rgb[(y * width + x) * 3 + c] = dump[from + y * pitch + x * 4 + 2 - c] ?? 0;
  return { width, height, rgb };
}

/** Somewhere on the screen there is the whole picture. It is looked for by its first pixels that are not black. */
function contains(screen: Shot, picture: Shot): boolean {
  const [pitch, screenPitch] = [picture.width * 3, screen.width * 3];
  const lit = picture.rgb.findIndex((byte) => byte !== 0);
  if (lit < 0) return false;
  const [row, x] = [Math.floor(lit / pitch), Math.floor((lit % pitch) / 3)];
  const mark = picture.rgb.subarray(row * pitch + x * 3, row * pitch + x * 3 + 24);
  for (let at = screen.rgb.indexOf(mark); at >= 0; at = screen.rgb.indexOf(mark, at + 1)) {
    const from = at - row * screenPitch - x * 3;
    const isLine = (n: number): boolean =>
      screen.rgb
        .subarray(from + n * screenPitch, from + n * screenPitch + pitch)
        .equals(picture.rgb.subarray(n * pitch, (n + 1) * pitch));
    let lines = 0;
    while (from >= 0 && lines < picture.height && isLine(lines)) lines++;
    if (lines === picture.height) return true;
  }
  return false;
}

describe("Debian's TigerVNC", { timeout: 180_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'revenant-vnc-'));
  const children: ChildProcess[] = [];
  after(() => {
    for (const child of children.reverse()) child.kill();
    rmSync(folder, { recursive: true, force: true });
  });

  /** A display of its own, whose number Xvfb chooses. */
  async function openDisplay(): Promise<string> {
    const xvfb = spawn('Xvfb', ['-displayfd', '3', '-screen', '0', '900x700x24', '-nolisten', 'tcp'], {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
    });
    children.push(xvfb);
    const number = await new Promise<string>((resolve, reject) => {
      xvfb.on('error', reject).on('exit', () => {
        reject(new Error('Xvfb ended'));
      });
      xvfb.stdio[3]?.once('data', (bytes: Buffer) => {
        resolve(bytes.toString().trim());
      });
    });
    return `:${number}`;
  }

  test('shows the display to the pixel by Tight, Zlib and Raw, and its keys reach the guest', async (context) => {
    requireToolsInCi(['xtigervncviewer']);
    if (spawnSync('which', ['xtigervncviewer', 'Xvfb', 'xwd', 'xdotool']).status !== 0)
      return context.skip('apt-get install tigervnc-viewer xvfb x11-apps xdotool');
    const guest = await WatchedGuest.open(context);
    if (guest === undefined) return;
    const passwordFile = join(folder, 'password');
    // As vncpasswd writes it: the password, by DES with a key that everybody knows.
    writeFileSync(
      passwordFile,
      answerTo(Buffer.from(password.padEnd(8, '\0')), Uint8Array.of(23, 82, 107, 6, 35, 78, 88, 7)),
    );
    const DISPLAY = await openDisplay();
    const env = { ...process.env, DISPLAY, HOME: folder };
    const isShown = (): boolean => {
      const { stdout } = spawnSync('xwd', ['-root', '-silent'], { env, maxBuffer: 2 ** 26 });
      return contains(readWindowDump(stdout), guest.shown);
    };
    for (const [encoding, key] of [
      ['Tight', 'a'],
      ['Zlib', 'x'],
      ['Raw', 'Y'],
    ] as const) {
      const viewer = spawn(
        'xtigervncviewer',
        [
          '-passwd',
          passwordFile,
          '-PreferredEncoding',
          encoding,
          '-AutoSelect=0',
          '-NoJPEG',
          '-FullColor',
          '-RemoteResize=0',
          '-geometry',
          '800x600+0+0',
          `127.0.0.1::${String(guest.ports[0])}`,
        ],
        { env, stdio: ['ignore', 'ignore', 'pipe'] },
      );
      children.push(viewer);
      let said = '';
      viewer.stderr.on('data', (bytes: Buffer) => (said += bytes.toString()));
      await guest.until(() => {
        assert.equal(viewer.exitCode, null, said);
        return isShown();
      });
      // Without a window manager nobody gives the viewer the keys.
      spawnSync('xdotool', ['search', '--class', '.', 'windowfocus', '%@', 'sleep', '0.5', 'key', key], {
        env,
      });
      const typed = { a: /here: a/, x: /here: ax/, Y: /here: axY/ }[key];
      await guest.until(() => typed.test(guest.pc.screen));
      await guest.until(isShown);
      viewer.kill();
    }
    await guest.vnc.close();
  });
});

const novnc = dirname(dirname(fileURLToPath(import.meta.resolve('@novnc/novnc'))));
const page = (
  port: number,
): string => `<!doctype html><div id="screen" style="width:800px;height:600px"></div><script type="module">
import RFB from '/core/rfb.js';
const rfb = new RFB(document.getElementById('screen'), 'ws://127.0.0.1:${String(port)}/', { credentials: { password: '${password}' } });
rfb.addEventListener('connect', () => { document.title = 'connected'; rfb.focus(); });
rfb.addEventListener('securityfailure', (event) => { document.title = event.detail.reason; });
window.rfb = rfb;
</script>`;

describe('noVNC in Chromium', { timeout: 180_000 }, () => {
  test('shows the display to the pixel, also after a change of its size, and its keys reach the guest', async (context) => {
    const missing = browserMissing();
    if (missing !== undefined) return context.skip(missing);
    const guest = await WatchedGuest.open(context);
    if (guest === undefined) return;
    const files = createServer((request, response) => {
      const path = new URL(request.url ?? '/', 'http://page').pathname;
      if (path === '/')
        return void response.writeHead(200, { 'content-type': 'text/html' }).end(page(guest.ports[1]));
      readFile(join(novnc, path)).then(
        (bytes) => response.writeHead(200, { 'content-type': 'text/javascript' }).end(bytes),
        () => response.writeHead(404).end(),
      );
    });
    await new Promise<void>((resolve) => files.listen(0, '127.0.0.1', resolve));
    const browser = await openBrowser();
    try {
      const tab = await browser.newPage();
      await tab.goto(`http://127.0.0.1:${String((files.address() as AddressInfo).port)}/`);
      /** Hash of what the page's canvas shows, and of what it has to. */
      const isShown = async (): Promise<boolean> => {
        const canvas = (await tab.evaluate(`(() => {
          const canvas = document.querySelector('canvas');
          if (canvas === null || canvas.width === 0) return null;
          const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
          let hash = 0;
          for (let n = 0; n < data.length; n++) if (n % 4 !== 3) hash = Math.imul(hash ^ data[n], 0x01000193);
          return [canvas.width, canvas.height, hash].join();
        })()`)) as string | null;
        const { width, height, rgb } = guest.shown;
        let hash = 0;
        for (const byte of rgb) hash = Math.imul(hash ^ byte, 0x0100_0193);
        return canvas === [width, height, hash].join();
      };
      await guest.until(isShown);
      await tab.keyboard.press('c');
      await guest.until(() => /here: c/.test(guest.pc.screen));
      await guest.until(isShown);
      await tab.keyboard.press('g');
      await guest.until(() => guest.shown.width !== 720);
      await guest.until(isShown);
      await tab.keyboard.press('x');
      await guest.until(() => /here:\s*$/m.test(guest.pc.screen));
      await guest.until(isShown);
    } finally {
      await browser.close();
      files.close();
      await guest.vnc.close();
    }
  });
});
