/** A node process as `src/node/main.ts`, with runtimes beside the built-in ones: `listens`, `draws`, and `hostile` for what is shown of guests. */
import { nodeOptions, nodeValues, runNode } from '../src/node/main.ts';

await runNode({
  ...nodeOptions(nodeValues(process.argv.slice(2))),
  runtimes: {
    listens: new URL('./listening-guest.ts', import.meta.url).href,
    hostile: new URL('./hostile-guest.ts', import.meta.url).href,
    draws: new URL('./drawing-guest.ts', import.meta.url).href,
  },
});
