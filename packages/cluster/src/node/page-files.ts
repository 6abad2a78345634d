/**
 * The web page as files: what lies in build/console, found once and served by exact path, so that no request reaches another file. The headers
 * isolate the page from other origins (guest memory is shared between threads), and let it run its own scripts only.
 */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { extname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Where the launcher builds the page. */
export const builtPage = fileURLToPath(new URL('../../../../build/console/', import.meta.url));

const types: ReadonlyMap<string, string> = new Map([
  ['.html', 'text/html; charset=utf-8'],
  ['.js', 'text/javascript; charset=utf-8'],
  ['.css', 'text/css; charset=utf-8'],
  ['.json', 'application/json'],
  ['.wasm', 'application/wasm'],
  ['.svg', 'image/svg+xml'],
]);

/**
 * Sent with every answer. `unsafe-inline` is for styles only: the terminal makes its own. Connections may go to any host: when the
 * node that served the page is gone it goes on with another, which may have joined after the page was loaded.
 */
export const pageHeaders: Readonly<Record<string, string>> = {
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self' ws: wss: http: https:; " +
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self'; base-uri 'none'; " +
    "form-action 'none'; frame-ancestors 'none'",
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
};

/** A file name of Vite with a hash of its contents in it: it never changes. */
const hashed = /-[\w-]{8}\.\w+$/;

export class PageFiles {
  readonly #files = new Map<string, string>();

  /** `index`: the file that `/` stands for. */
  constructor(folder: string, index: string) {
    if (!existsSync(folder)) return;
    for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
      const path = join(folder, name);
      if (statSync(path).isFile()) this.#files.set(`/${name.split(sep).join('/')}`, path);
    }
    const first = this.#files.get(`/${index}`);
    if (first !== undefined) this.#files.set('/', first);
  }

  /** Answers GET and HEAD of one of its files; false for anything else, to which nothing was answered. */
  async serve(request: IncomingMessage, response: ServerResponse): Promise<boolean> {
    if (request.method !== 'GET' && request.method !== 'HEAD') return false;
    const [path = '/'] = (request.url ?? '/').split('?', 1);
    const file = this.#files.get(path);
    if (file === undefined) return false;
    const body = await readFile(file);
    response.writeHead(200, {
      ...pageHeaders,
      'Content-Type': types.get(extname(file)) ?? 'application/octet-stream',
      'Content-Length': body.length,
      'Cache-Control': hashed.test(path) ? 'public, max-age=31536000, immutable' : 'no-cache',
    });
    response.end(request.method === 'HEAD' ? undefined : body);
    return true;
  }
}
