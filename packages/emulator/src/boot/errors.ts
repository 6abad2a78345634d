/** Why a kernel or firmware image can't be started; `message` is one line for a person, `hint` says what to do. */
export type BootErrorCode =
  'NOT_A_KERNEL' | 'KERNEL_TRUNCATED' | 'KERNEL_UNSUPPORTED' | 'MEMORY_TOO_SMALL' | 'COMMAND_LINE_TOO_LONG';

/** A kernel or firmware that can not be started; `code` is for programs. */
export class BootError extends Error {
  override readonly name = 'BootError';
  readonly code: BootErrorCode;
  readonly hint: string;
  constructor(code: BootErrorCode, message: string, hint: string) {
    super(message);
    this.code = code;
    this.hint = hint;
  }
}
