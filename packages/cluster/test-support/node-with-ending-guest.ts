/** A node process as `src/node/main.ts`, with the runtime `ends` beside the built-in ones. */
import { nodeOptions, nodeValues, runNode } from '../src/node/main.ts';

await runNode({
  ...nodeOptions(nodeValues(process.argv.slice(2))),
  runtimes: { ends: new URL('./ending-guest.ts', import.meta.url).href },
});
