/**
 * Puts what a guest's thread loads into few files, in build/threads. A takeover waits for a thread's start once for each VM. Nodes run the
 * sources where there are no such files, or where a source has changed since (src/vm/thread-files.ts).
 */
import { bringUpToDate } from './bundle.ts';
import { threads } from './src/vm/thread-files.ts';

await bringUpToDate({
  what: "the guests' threads",
  parent: threads,
  inputs: {
    worker: 'packages/cluster/src/vm/worker.ts',
    'machine-guest': 'packages/cluster/src/vm/machine-guest.ts',
  },
});
