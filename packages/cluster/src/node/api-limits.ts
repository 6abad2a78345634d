/**
 * What a node gives to those who ask it, known or not (docs/CLUSTER_PROTOCOL.md, "Bounds"). Each can be set: `revenant node --limit
 * NAME=NUMBER`.
 */
import { ClusterError } from '../errors.ts';

export interface ApiLimits {
  /** Connections at once. Further ones are closed as they come. */
  connections: number;
  /** Connections at once that have not proven the token yet (without a token: not asked anything whole). The oldest makes room. */
  strangers: number;
  /** How long one may stay a stranger, in milliseconds. */
  strangerMs: number;
  /** Bytes that a stranger may send. */
  strangerBytes: number;
  /** Links from other nodes at once. */
  links: number;
  /** Consoles at once. */
  consoles: number;
  /** Requests under way at once, but for uploads; with the bodies of 1 MiB that each may have. */
  requests: number;
  /** Uploads (blobs) at once; each holds a part of 4 MiB in memory. */
  uploads: number;
  /** A body of which nothing comes for so long is given up, in milliseconds. */
  bodyIdleMs: number;
  /** All blobs of the store together, in MiB. */
  blobsMiB: number;
}

export const defaultLimits: ApiLimits = {
  connections: 1024,
  strangers: 128,
  strangerMs: 2000,
  strangerBytes: 16 << 10,
  links: 256,
  consoles: 256,
  requests: 64,
  uploads: 4,
  bodyIdleMs: 10_000,
  blobsMiB: 64 << 10,
};

/** `NAME=NUMBER` words over the defaults. Throws `BAD_REQUEST`. */
export function parseLimits(words: readonly string[]): ApiLimits {
  const limits = { ...defaultLimits };
  for (const word of words) {
    const [, name, digits] = /^(\w+)=(\d{1,9})$/.exec(word) ?? [];
    const known = (Object.keys(limits) as (keyof ApiLimits)[]).find((each) => each === name);
    if (known === undefined || Number(digits) < 1)
      throw new ClusterError('BAD_REQUEST', `--limit ${word}: not NAME=NUMBER of a limit`, {
        hint: `the limits: ${Object.keys(limits).join(', ')}`,
      });
    limits[known] = Number(digits);
  }
  return limits;
}
