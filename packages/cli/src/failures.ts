/**
 * Every error that a part of the house throws, as one line with a hint and an exit code. There is one table for all commands, so the same
 * mistake ends each of them in the same way.
 */
import { ClusterError, type ClusterErrorCode } from '@revenant/cluster/errors';
import { InspectError } from '@revenant/debugger/inspect/view';
import { BootError, DeviceStateError, MachineError } from '@revenant/emulator/errors';
import {
  isStorageError,
  isStoreError,
  type StorageErrorCode,
  type StoreErrorCode,
} from '@revenant/storage/errors';
import { CliError, ExitCode, messageOf } from './errors.ts';

const clusterCodes: Record<ClusterErrorCode, ExitCode> = {
  BAD_REQUEST: ExitCode.usage,
  BAD_SETTINGS: ExitCode.usage,
  NOT_FOUND: ExitCode.refused,
  CONFLICT: ExitCode.refused,
  NO_CAPACITY: ExitCode.refused,
  UNAUTHORIZED: ExitCode.refused,
  NAME_IN_USE: ExitCode.refused,
  BLOB_MISSING: ExitCode.refused,
  NO_MASTER: ExitCode.unreachable,
  BUSY: ExitCode.unreachable,
  TIMEOUT: ExitCode.unreachable,
  UNREACHABLE: ExitCode.unreachable,
  STORE: ExitCode.unreachable,
  PROTOCOL: ExitCode.internal,
  RUNTIME: ExitCode.internal,
};

const storageCodes: Record<StorageErrorCode | StoreErrorCode, ExitCode> = {
  BAD_ARGUMENT: ExitCode.usage,
  BAD_URL: ExitCode.usage,
  BAD_KEY: ExitCode.usage,
  CHECKPOINT_FILE_FOREIGN: ExitCode.badInput,
  CHECKPOINT_FILE_NEWER: ExitCode.badInput,
  CHECKPOINT_FILE_DAMAGED: ExitCode.badInput,
  CHECKPOINT_DAMAGED: ExitCode.badInput,
  CHECKPOINT_NEWER: ExitCode.badInput,
  LOG_DAMAGED: ExitCode.badInput,
  SNAPSHOT_INVALID: ExitCode.badInput,
  STATE_INVALID: ExitCode.badInput,
  KEY_NEEDED: ExitCode.badInput,
  KEY_WRONG: ExitCode.badInput,
  DAMAGED: ExitCode.badInput,
  NO_STORE: ExitCode.badInput,
  STORE_FOREIGN: ExitCode.refused,
  CHECKPOINT_NOT_FOUND: ExitCode.refused,
  VM_UNKNOWN: ExitCode.refused,
  VM_DELETED: ExitCode.refused,
  FENCED: ExitCode.refused,
  CONFLICT: ExitCode.refused,
  ACCESS_DENIED: ExitCode.refused,
  FULL: ExitCode.cannotWrite,
  UNAVAILABLE: ExitCode.unreachable,
  TIMEOUT: ExitCode.unreachable,
  NOT_ADMITTED: ExitCode.unreachable,
  CLOSED: ExitCode.unreachable,
  ABORTED: ExitCode.unreachable,
  LOST: ExitCode.unreachable,
  FAILED: ExitCode.unreachable,
};

/** What the host says of a file that a person named for reading; for writing there is cannotWrite(). */
const readingCodes = ['ENOENT', 'EISDIR', 'EACCES', 'ENOTDIR', 'EPERM'];

function codeOf(error: Error): string {
  return 'code' in error ? String(error.code) : '';
}

/** Anything thrown as the error of the command line; what nobody expects is a fault of ours. */
export function asCliError(error: unknown): CliError {
  if (error instanceof CliError) return error;
  if (error instanceof ClusterError)
    return new CliError(clusterCodes[error.code], error.message, error.hint, error);
  if (isStorageError(error) || isStoreError(error))
    return new CliError(storageCodes[error.code], error.message, error.hint, error);
  if (error instanceof InspectError) return new CliError(ExitCode.badInput, error.message, error.hint, error);
  if (error instanceof BootError || error instanceof MachineError)
    return new CliError(ExitCode.badInput, error.message, error.hint, error);
  if (error instanceof DeviceStateError)
    return new CliError(
      ExitCode.badInput,
      `the checkpoint does not fit this machine: ${error.message}`,
      error.code === 'DEVICE_STATE_VERSION' ? 'use a newer Revenant' : 'it is damaged, or was made up',
      error,
    );
  const code = error instanceof Error ? codeOf(error) : '';
  if (code === 'BUS_CONFLICT')
    return new CliError(ExitCode.usage, messageOf(error), 'choose another port', error);
  if (readingCodes.includes(code))
    return new CliError(ExitCode.badInput, messageOf(error), 'check the path', error);
  return new CliError(ExitCode.internal, messageOf(error), 'please report this, with what you did', error);
}
