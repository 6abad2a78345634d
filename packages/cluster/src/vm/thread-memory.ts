/**
 * How much JavaScript heap the thread of one guest may have, beside the memory of its machine, which is no part of it. A thread that wants more ends with its VM, and its node
 * lives on. V8 ends a thread at its limit only while the heap grows little by little; one large piece more than it has room for ends the whole process. So a thread looks for itself
 * between two turns of its guest, and ends while there is still room.
 * So nothing on this heap may grow by hundreds of MiB within a turn. What a guest makes grow there are tables of pages that it wrote, each of which has 4 KiB beside the heap, and queues
 * with a bound; pages that it empties, which cost a guest nothing, are bits beside the heap (page-bits.ts of the emulator). Bytes and frames lie beside it, too: what the host does not give is an error.
 */
import { getHeapStatistics } from 'node:v8';

/** Some 20 times what a guest with Linux takes. */
export const maxHeapMiB = 768;
/**
 * Of that, in use: a table that doubles needs three times its size for a moment. What is no longer used and not collected yet is part of it, and V8 collects before so much of
 * that has come together.
 */
const enoughMiB = 256;

/** Why a thread with so much heap can't go on; undefined: it can. */
export function whyHeapFull(usedBytes = getHeapStatistics().used_heap_size): string | undefined {
  const usedMiB = Math.round(usedBytes / 2 ** 20);
  if (usedMiB <= enoughMiB) return undefined;
  return `its thread has ${String(usedMiB)} MiB of JavaScript heap in use, of ${String(maxHeapMiB)} MiB that it may have`;
}

/** What ended a guest's thread, in words. */
export function whyEnded(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ERR_WORKER_OUT_OF_MEMORY')
    return `its thread ran out of JavaScript heap: it may have ${String(maxHeapMiB)} MiB`;
  // V8's words for a buffer or a WebAssembly memory that the system does not give.
  if (error instanceof RangeError && /alloca/i.test(error.message))
    return `its host has no memory left for it: ${error.message}`;
  return error.message;
}
