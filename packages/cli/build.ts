/** Puts the command line into few files, in build/cli, from which the launcher starts it. */
import { bringUpToDate } from '../cluster/bundle.ts';

await bringUpToDate({
  what: 'the command line',
  parent: 'build/cli',
  inputs: { main: 'packages/cli/src/main.ts' },
});
