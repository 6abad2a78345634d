/** Typed errors of the cluster. `code` is stable: callers branch on it, people search for it. */
import { bounded, maxCause } from './protocol/limits.ts';

export const clusterErrorCodes = [
  'BAD_SETTINGS',
  'BAD_REQUEST',
  'NO_MASTER', // nobody holds the protected list just now
  'NOT_FOUND',
  'CONFLICT', // the request does not fit the state of what it names
  'NO_CAPACITY',
  'UNAUTHORIZED',
  'PROTOCOL', // a peer sent what the protocol does not allow
  'TIMEOUT',
  'UNREACHABLE',
  'STORE', // the store failed; see the cause
  'NAME_IN_USE', // another process of this node name is alive
  'BUSY', // too much is asked of the node at once
  'BLOB_MISSING', // a description names a kernel or image that the store does not have (any more)
  'RUNTIME', // the emulator of a VM failed
] as const;
export type ClusterErrorCode = (typeof clusterErrorCodes)[number];

const retryable: ReadonlySet<ClusterErrorCode> = new Set(['NO_MASTER', 'TIMEOUT', 'UNREACHABLE', 'BUSY']);

export interface ClusterErrorOptions {
  hint?: string;
  cause?: unknown;
  retryable?: boolean;
}

export class ClusterError extends Error {
  readonly code: ClusterErrorCode;
  readonly hint: string | undefined;
  readonly retryable: boolean;

  constructor(code: ClusterErrorCode, message: string, options: ClusterErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'ClusterError';
    this.code = code;
    this.hint = options.hint;
    this.retryable = options.retryable ?? retryable.has(code);
  }
}

export function isClusterError(error: unknown, code?: ClusterErrorCode): error is ClusterError {
  return error instanceof ClusterError && (code === undefined || error.code === code);
}

/** In words, short enough to be part of a reason that travels. */
export function messageOf(error: unknown): string {
  return bounded(error instanceof Error ? error.message : String(error), maxCause);
}
