/** A node process as `src/node/main.ts`, with the runtime `listens` beside the built-in ones. */
import { nodeOptions, nodeValues, runNode } from '../src/node/main.ts';

await runNode({
  ...nodeOptions(nodeValues(process.argv.slice(2))),
  runtimes: { listens: new URL('./listening-guest.ts', import.meta.url).href },
});
