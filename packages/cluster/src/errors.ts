// Typed errors of the cluster. `code` is stable: callers branch on it, people search for it.
export type ClusterErrorCode =
  | 'BAD_SETTINGS'
  | 'BAD_REQUEST'
  | 'NO_MASTER' // nobody holds the protected list just now
  | 'NOT_FOUND'
  | 'CONFLICT' // the request does not fit the state of what it names
  | 'NO_CAPACITY'
  | 'UNAUTHORIZED'
  | 'PROTOCOL' // a peer sent what the protocol does not allow
  | 'TIMEOUT'
  | 'UNREACHABLE'
  | 'STORE' // the store failed; see the cause
  | 'NAME_IN_USE' // another process of this node name is alive
  | 'RUNTIME'; // the emulator of a VM failed

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
    this.retryable =
      options.retryable ?? (code === 'NO_MASTER' || code === 'TIMEOUT' || code === 'UNREACHABLE');
  }
}

export function isClusterError(error: unknown, code?: ClusterErrorCode): error is ClusterError {
  return error instanceof ClusterError && (code === undefined || error.code === code);
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
