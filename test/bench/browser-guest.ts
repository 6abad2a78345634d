/**
 * Runs a guest in an emulator inside Debian's Chromium, its first serial port on standard output.
 *
 *   node browser-guest.ts revenant|interpreter|v86 GUEST      a Guest of guests.ts as JSON
 */
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { builtPage, PageFiles, pageHeaders } from '@revenant/cluster';
import { openBrowser } from '../page/browser.ts';
import { firmware } from './emulators.ts';
import type { Guest } from './guests.ts';

const [, , emulator = '', json = ''] = process.argv;
const guest = JSON.parse(json) as Guest;
const v86Folder = join(dirname(createRequire(import.meta.url).resolve('v86/package.json')), 'build');

/** What the two emulators load beside the page. */
const files: ReadonlyMap<string, string | undefined> = new Map([
  ['/kernel', guest.kernel],
  ['/initrd', guest.initrd],
  ['/v86/libv86.mjs', join(v86Folder, 'libv86.mjs')],
  ['/v86/v86.wasm', join(v86Folder, 'v86.wasm')],
  ['/v86/bios.bin', firmware[0]],
  ['/v86/vgabios.bin', firmware[1]],
]);

const page = new PageFiles(builtPage, 'run.html');
const server = createServer((request, response) => {
  void page.serve(request, response).then(async (served) => {
    if (served) return;
    const file = files.get(request.url ?? '');
    const type = request.url?.endsWith('js')
      ? 'text/javascript'
      : request.url?.endsWith('wasm')
        ? 'application/wasm'
        : 'text/html';
    // A blank page with the page's isolation, but without its policy, which v86's inline worker would break.
    const headers = {
      ...pageHeaders,
      'Content-Security-Policy': "default-src * data: blob: 'unsafe-eval' 'unsafe-inline'",
    };
    response.writeHead(200, { ...headers, 'Content-Type': type });
    response.end(file === undefined ? '<!doctype html>' : await readFile(file));
  });
});
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
const address = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;

/** Runs in the page. */
async function runOurs({ guest, engine }: { guest: Guest; engine: string }): Promise<void> {
  const library = '/revenant.js';
  const { GuestClient } = (await import(library)) as {
    GuestClient: new (...words: unknown[]) => { listen(write: (bytes: Uint8Array) => void): void };
  };
  const bytes = async (path: string): Promise<Uint8Array> => (await fetch(path)).bytes();
  const request = {
    kind: 'kernel',
    kernel: await bytes('/kernel'),
    ...(guest.initrd === undefined ? {} : { initrd: await bytes('/initrd') }),
    commandLine: guest.commandLine ?? '',
    memoryBytes: guest.memoryMiB << 20,
    longMode: guest.bits === 64 || guest.kind === 'multiboot',
  };
  const { serial } = window as unknown as { serial: (text: string) => void };
  serial('@@ start\n');
  const client = new GuestClient(request, engine, () => undefined);
  const decoder = new TextDecoder('latin1');
  client.listen((bytes) => serial(decoder.decode(bytes)));
}

/** Runs in the page. */
async function runV86({ guest }: { guest: Guest }): Promise<void> {
  const library = '/v86/libv86.mjs';
  const { V86 } = (await import(library)) as {
    V86: new (options: object) => { add_listener(event: string, listener: (value: number) => void): void };
  };
  const image = (url: string): { url: string } => ({ url });
  const source =
    guest.kind === 'multiboot'
      ? { multiboot: image('/kernel') }
      : {
          bios: image('/v86/bios.bin'),
          vga_bios: image('/v86/vgabios.bin'),
          bzimage: image('/kernel'),
          ...(guest.initrd === undefined ? {} : { initrd: image('/initrd') }),
          cmdline: guest.commandLine,
        };
  const { serial } = window as unknown as { serial: (text: string) => void };
  serial('@@ start\n');
  const emulator = new V86({
    wasm_path: '/v86/v86.wasm',
    memory_size: guest.memoryMiB << 20,
    ...source,
    autostart: true,
    disable_speaker: true,
  });
  let line = '';
  emulator.add_listener('serial0-output-byte', (value) => {
    line += String.fromCharCode(value);
    if (value !== 10) return;
    serial(line);
    line = '';
  });
}

const browser = await openBrowser();
const tab = await browser.newPage();
tab.on('pageerror', (error) => process.stderr.write(`${error.message}\n`));
await tab.exposeFunction('serial', (text: string) => {
  process.stdout.write(text, 'latin1');
});
await tab.goto(`${address}/blank`);
if (emulator === 'v86') await tab.evaluate(runV86, { guest });
else
  await tab.evaluate(runOurs, { guest, engine: emulator === 'interpreter' ? 'interpreter' : 'translator' });
