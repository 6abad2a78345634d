/** `npm run pack`: makes the packages that people install. */
import { mkdir } from 'node:fs/promises';
import { relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { pack } from './pack.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const { values } = parseArgs({ options: { into: { type: 'string', default: 'build/release' } } });
const target = resolve(root, values.into);
await mkdir(target, { recursive: true });
for (const tarball of await pack(root, target)) console.log(relative(process.cwd(), tarball));
