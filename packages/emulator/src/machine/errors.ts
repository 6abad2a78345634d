/** A mistake of whoever uses the machine, or something that its host does not have: one line and a hint. Guests can't cause one. */
export class MachineError extends Error {
  readonly code: MachineErrorCode;
  readonly hint: string;
  constructor(code: MachineErrorCode, message: string, hint: string) {
    super(message);
    this.name = 'MachineError';
    this.code = code;
    this.hint = hint;
  }
}

/** Of a `MachineError`: stable, for programs. */
export type MachineErrorCode =
  | 'MACHINE_TOO_MANY_STOPS'
  | 'MACHINE_DESCRIPTION_INVALID'
  | 'MACHINE_MEMORY_SIZE'
  | 'MACHINE_NO_MEMORY'
  | 'MACHINE_ROM_SIZE'
  | 'MACHINE_SNAPSHOT_INVALID'
  | 'MACHINE_INPUT_INVALID'
  | 'MACHINE_REPLAY_DIVERGED'
  | 'MACHINE_DISK_BASE_MISSING'
  | 'MACHINE_DISK_WRITE_THROUGH'
  | 'MACHINE_ADDRESS_UNMAPPED';
