/**
 * Typed errors of the storage package. What a user, a disk or a network does wrong is one of these; a bug is an
 * assertion. `code` is stable: callers branch on it, people search for it.
 */

export type StorageErrorCode =
  | 'CHECKPOINT_FILE_FOREIGN' // not one of our files at all
  | 'CHECKPOINT_FILE_NEWER' // written by a later version of the format
  | 'CHECKPOINT_FILE_DAMAGED' // truncated, flipped bits, inconsistent
  | 'CHECKPOINT_DAMAGED' // an object of a checkpoint in a store is torn, flipped or missing
  | 'CHECKPOINT_NEWER' // an object of a later format version
  | 'CHECKPOINT_NOT_FOUND'
  | 'LOG_DAMAGED' // a segment of the input log is missing or damaged: replay cannot go beyond it
  | 'KEY_NEEDED' // encrypted, and no key was given
  | 'KEY_WRONG' // encrypted under another key (or forged)
  | 'FENCED' // a higher epoch exists: this writer is no longer the owner
  | 'VM_DELETED' // the VM's record is a tombstone
  | 'VM_UNKNOWN'
  | 'SNAPSHOT_INVALID' // the caller's snapshot breaks the contract
  | 'STATE_INVALID' // bytes that should be encoded state do not decode
  | 'STORE_FOREIGN' // the store belongs to another cluster
  | 'BAD_ARGUMENT';

export interface StorageErrorOptions {
  /** What the reader of the message can do about it; one sentence. */
  hint?: string;
  cause?: unknown;
  /** True when the same call may succeed later without any other change. */
  retryable?: boolean;
}

/** An error of checkpoints, files and ownership: one clear line, a stable code, a hint. */
export class StorageError extends Error {
  readonly code: StorageErrorCode;
  readonly hint: string | undefined;
  readonly retryable: boolean;

  constructor(code: StorageErrorCode, message: string, options: StorageErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'StorageError';
    this.code = code;
    this.hint = options.hint;
    this.retryable = options.retryable ?? false;
  }
}

export type StoreErrorCode =
  | 'CONFLICT' // a conditional put was refused: the condition did not hold
  | 'UNAVAILABLE' // no answer, or an answer that says "later"
  | 'TIMEOUT'
  | 'FULL' // no space left
  | 'ACCESS_DENIED'
  | 'LOST' // what was put may not have reached the disk, which failed: put it again
  | 'DAMAGED' // the driver itself sees that a stored object is torn
  | 'NOT_ADMITTED' // the start-up probe failed: conditional puts are not atomic here
  | 'NO_STORE' // there is none at that place, and reading makes none
  | 'BAD_KEY'
  | 'BAD_URL'
  | 'CLOSED'
  | 'ABORTED'
  | 'FAILED'; // anything else

/** Whether a failed change happened. `unknown`: it may have, or may still (a lost reply). Read back to find out. */
export type StoreOutcome = 'not-applied' | 'unknown';

export interface StoreErrorOptions {
  outcome?: StoreOutcome;
  retryable?: boolean;
  hint?: string;
  cause?: unknown;
}

/** An error of an object store driver. */
export class StoreError extends Error {
  readonly code: StoreErrorCode;
  readonly outcome: StoreOutcome;
  readonly retryable: boolean;
  readonly hint: string | undefined;

  constructor(code: StoreErrorCode, message: string, options: StoreErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'StoreError';
    this.code = code;
    this.outcome = options.outcome ?? 'not-applied';
    this.retryable = options.retryable ?? (code === 'UNAVAILABLE' || code === 'TIMEOUT' || code === 'FULL');
    this.hint = options.hint;
  }
}

/** True when `error` is a StoreError, optionally of one code. */
export function isStoreError(error: unknown, code?: StoreErrorCode): error is StoreError {
  return error instanceof StoreError && (code === undefined || error.code === code);
}

/** True when `error` is a StorageError, optionally of one code. */
export function isStorageError(error: unknown, code?: StorageErrorCode): error is StorageError {
  return error instanceof StorageError && (code === undefined || error.code === code);
}
