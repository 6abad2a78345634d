/** How much memory a node has: that of its host, or what it is allowed of it (a container's limit, a control group's), of which the host itself knows nothing. */
import { freemem, totalmem } from 'node:os';

export interface HostMemory {
  totalBytes: number;
  freeBytes: number;
}

export interface MemorySource {
  totalBytes: number;
  freeBytes: number;
  /** What this process may use in all; 0 or more than there is: no limit. */
  limitBytes: number;
  /** What it uses. */
  usedBytes: number;
}

export function memoryOf({ totalBytes, freeBytes, limitBytes, usedBytes }: MemorySource): HostMemory {
  if (limitBytes <= 0 || limitBytes >= totalBytes) return { totalBytes, freeBytes };
  // What the system says is free of a limit leaves out the cache of files, which fills any limit, and goes when memory is needed.
  return { totalBytes: limitBytes, freeBytes: Math.max(0, Math.min(freeBytes, limitBytes - usedBytes)) };
}

export const hostMemory = (): HostMemory =>
  memoryOf({
    totalBytes: totalmem(),
    freeBytes: freemem(),
    limitBytes: process.constrainedMemory(),
    usedBytes: process.memoryUsage.rss(),
  });

/** Which part of it is free. */
export function freeShare({ totalBytes, freeBytes } = hostMemory()): number {
  return freeBytes / totalBytes;
}
