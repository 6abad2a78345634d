/**
 * What runs when nobody waits for it: a timer, the next turn, a promise that is let go. What it throws would end the process, and with it every VM of a node. So each has an
 * owner, whom its failure costs: a connection, a VM, or the node, which then says so and ends (`.ci/timers.test.ts` finds timers without one).
 */

/** `run`, whose failure, at once or later, is told to `failed`. */
export function owned(run: () => unknown, failed: (error: unknown) => void): () => void {
  return () => {
    try {
      const result = run();
      if (result instanceof Promise) result.catch(failed);
    } catch (error) {
      failed(error);
    }
  };
}
