/**
 * Builds the page into build/console when one of its sources changed: the scripts by Vite, and the processor's modules beside them, so that
 * the folder can be served by any web server that sends the two headers of `host-browser`.
 */
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';
import { config } from './page-config.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
/** Where the page is. */
const pageFolder = join(root, 'build/console');
const stampFile = join(root, 'build/console.hash');
/** Everything that ends up in the page. */
const sources = [
  'packages/console',
  'packages/emulator/src',
  'packages/cluster/src/protocol',
  'packages/debugger/src',
  'packages/storage/src',
  'images/builtin',
];
const modules = ['fault.wasm', 'core.wasm', 'interpreter.wasm'];

function hashSources(): string {
  const hash = createHash('sha256').update(readFileSync(join(root, 'package-lock.json')));
  for (const folder of sources) {
    if (!existsSync(join(root, folder))) continue;
    for (const file of readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).sort()) {
      if (!/\.(ts|tsx|css|html|json)$/.test(file) || file.endsWith('.test.ts')) continue;
      hash.update(`${folder}/${file}\n`).update(readFileSync(join(root, folder, file)));
    }
  }
  return hash.digest('hex');
}

const hash = hashSources();
const made = ['index.html', 'run.html', ...modules.map((name) => join('emulator', name))];
const isThere = made.every((file) => existsSync(join(pageFolder, file)));
if (!isThere || !existsSync(stampFile) || readFileSync(stampFile, 'utf8') !== hash) {
  process.stderr.write('Building the page …\n');
  await build(config);
  mkdirSync(join(pageFolder, 'emulator'), { recursive: true });
  for (const name of modules)
    copyFileSync(join(root, 'build/emulator', name), join(pageFolder, 'emulator', name));
  writeFileSync(stampFile, hash);
}
