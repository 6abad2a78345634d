/** For browser.test.ts: opens a checkpoint file with what a browser has. `browser-child.ts FILE`; prints what it found. */
import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { argv, stdout } from 'node:process';

const bytes = new Uint8Array(readFileSync(argv[2]!));
registerHooks({
  resolve: (specifier, context, next) => {
    if (/^node:|^lz4-napi/.test(specifier)) throw new Error(`a browser has no ${specifier}`);
    return next(specifier, context);
  },
});
for (const name of ['Buffer', 'process', 'global', 'setImmediate']) Reflect.deleteProperty(globalThis, name);

const { openCheckpointBytes } = await import('@revenant/storage/browser');
const hex = async (part: Uint8Array): Promise<string> =>
  Array.from(new Uint8Array(await crypto.subtle.digest('SHA-256', new Uint8Array(part))), (byte) =>
    byte.toString(16).padStart(2, '0'),
  ).join('');
try {
  const { snapshot, origin } = await openCheckpointBytes(bytes);
  const spaces = await Promise.all(
    snapshot.spaces.map(async ({ name, indexes, bytes: pages }) => [name, [...indexes], await hex(pages)]),
  );
  stdout.write(JSON.stringify({ instructions: String(snapshot.instructions), origin, spaces }));
} catch (error) {
  const { name, code } = error as { name: string; code: string };
  stdout.write(JSON.stringify({ name, code, message: String(error) }));
}
