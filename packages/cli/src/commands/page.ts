/** `revenant page`: the emulator in a browser tab, served from this host. Needs no cluster. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import type { AddressInfo } from 'node:net';
import { builtPage, PageFiles, pageHeaders } from '@revenant/cluster';
import { define } from '../command/command.ts';
import { value } from '../command/options.ts';
import { CliError, ExitCode, messageOf } from '../errors.ts';
import { cachedImages } from '../images/shelf.ts';
import { print } from '../output/print.ts';

const defaultAddress = '127.0.0.1:8086';
const loopback = new Set(['127.0.0.1', '[::1]', 'localhost']);

/** Images in the cache: what they are, and where their files lie by path of the page. */
async function readImages(): Promise<{ list: unknown[]; files: Map<string, string> }> {
  const images = await cachedImages();
  const files = new Map<string, string>();
  for (const { manifest, folder } of images)
    for (const part of ['kernel', 'initrd'] as const)
      files.set(`/images/${encodeURIComponent(manifest.name)}/${part}`, join(folder, manifest[part].file));
  const list = images.map(({ manifest: { name, title, commandLine, memoryMiB } }) => ({
    name,
    title,
    commandLine,
    memoryMiB,
  }));
  return { list, files };
}

async function answer(page: PageFiles, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const name = (request.headers.host ?? '').replace(/:\d+$/, '');
  if (!loopback.has(name)) {
    // A foreign name that was made to point here (DNS rebinding).
    response.writeHead(403, pageHeaders).end('this page is for names of this host only\n');
    return;
  }
  if (await page.serve(request, response)) return;
  const [path = '/'] = (request.url ?? '/').split('?', 1);
  if (request.method === 'GET' && path.startsWith('/images/')) {
    const { list, files } = await readImages();
    if (path === '/images/index.json') {
      response
        .writeHead(200, { ...pageHeaders, 'Content-Type': 'application/json' })
        .end(JSON.stringify(list));
      return;
    }
    const file = files.get(path);
    if (file !== undefined) {
      const { size } = await stat(file);
      response.writeHead(200, {
        ...pageHeaders,
        'Content-Type': 'application/octet-stream',
        'Content-Length': size,
      });
      createReadStream(file)
        .on('error', () => response.destroy())
        .pipe(response);
      return;
    }
  }
  response.writeHead(404, pageHeaders).end('there is no such page\n');
}

/** Serves the page until the server is closed. Throws CliError when it can't listen there. */
export async function servePage(address: string): Promise<Server> {
  const match = /^(127\.0\.0\.1|localhost|\[::1\]):(\d{1,5})$/.exec(address);
  if (match === null)
    throw new CliError(
      ExitCode.usage,
      `--listen: '${address}' is no address of this host`,
      'write 127.0.0.1:PORT; the page of a node (revenant node) can be reached from other hosts',
    );
  const page = new PageFiles(builtPage, 'run.html');
  const server = createServer((request, response) => {
    answer(page, request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => {
      const hint = 'choose another port with --listen 127.0.0.1:PORT';
      reject(new CliError(ExitCode.usage, `can't listen on ${address}: ${messageOf(error)}`, hint, error));
    });
    server.listen(Number(match[2]), match[1]!.replace(/[[\]]/g, ''), resolve);
  });
  return server;
}

export const command = define({
  words: [],
  about: `Serves a page in which a guest runs inside the browser, with its serial console: the built-in guest, an image of the cache
('revenant images'), or a kernel from a file. Nothing that is chosen there leaves the tab. Ends with Ctrl-C.`,
  options: {
    listen: value(
      'ADDRESS',
      `where, on this host only (default: ${defaultAddress})`,
      (typed) => typed,
      defaultAddress,
    ),
  },
  examples: ['page', 'page --listen 127.0.0.1:9000'],
  async run({ options }) {
    const server = await servePage(options.listen);
    const { port } = server.address() as AddressInfo;
    print(`http://127.0.0.1:${String(port)}/`);
    await new Promise<void>((resolve) => {
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
    });
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    return ExitCode.ok;
  },
});
