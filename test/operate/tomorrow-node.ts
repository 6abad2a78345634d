/**
 * A node of a release to come: that of today, but everything that it tells (messages between nodes, records in the store, answers) has a
 * field more in each object, which today's release does not know. Run by upgrade.test.ts, with the words of a node's command.
 */
import { registerHooks } from 'node:module';

/** Objects whose keys are names, or whose content is a runtime's own; and what is asked for, which is read strictly. */
const closed = new Set([
  'vms',
  'networks',
  'slots',
  'removed',
  'details',
  'description',
  'command',
  'places',
]);

function withLater(value: unknown, name = ''): unknown {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value;
  if (Array.isArray(value)) return value.map((each) => withLater(each));
  if (name === 'command' || name === 'description') return value;
  const inside = Object.entries(value).map(([key, each]) => [key, withLater(each, key)]);
  return { ...Object.fromEntries(inside), ...(closed.has(name) ? {} : { later: { of: 'tomorrow' } }) };
}

Object.assign(globalThis, { withLater });

/** By the end of a file's name: what is replaced in it, and by what. */
const changes: Record<string, [string, string]> = {
  '/cluster/src/node/frames.ts': [
    'checkTold(messageSchema, message,',
    'checkTold(messageSchema, globalThis.withLater(message),',
  ],
  '/cluster/src/node/answers.ts': ['JSON.stringify(value)', 'JSON.stringify(globalThis.withLater(value))'],
  '/storage/src/store/records.ts': [
    '{ ...value, nonce }',
    '{ ...(key.startsWith("cluster/") ? globalThis.withLater(value) : value), nonce }',
  ],
};

registerHooks({
  load(url, context, next) {
    const loaded = next(url, context);
    const change = Object.entries(changes).find(([end]) => url.endsWith(end))?.[1];
    if (change === undefined || loaded.source === undefined) return loaded;
    const source =
      typeof loaded.source === 'string' ? loaded.source : Buffer.from(loaded.source as Uint8Array).toString();
    if (!source.includes(change[0])) throw new Error(`${url} has no ${change[0]}`);
    return { ...loaded, source: source.replace(change[0], change[1]) };
  },
});

const { nodeOptions, nodeValues, runNode } = await import('../../packages/cluster/src/node/main.ts');
await runNode(nodeOptions(nodeValues(process.argv.slice(2))));
