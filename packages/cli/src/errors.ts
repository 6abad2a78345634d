/**
 * What goes wrong on the command line. Each error becomes one line on stderr, a hint where there is one, and an exit
 * code. The codes are even, because a guest's debug-exit device ends the command with 2v + 1, which is odd.
 */

/** Exit codes of `revenant`; docs and `--help` list them from here. */
export const ExitCode = {
  ok: 0,
  usage: 2,
  badInput: 4,
  cannotWrite: 6,
  unavailable: 8,
  guestDied: 10,
  instructionLimit: 12,
  internal: 14,
  refused: 16,
  unreachable: 18,
} as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

export const exitCodeMeanings: readonly (readonly [number, string])[] = [
  [ExitCode.ok, 'the guest powered itself off, or you left it with the escape key'],
  [ExitCode.usage, 'the command line is wrong'],
  [
    ExitCode.badInput,
    'a file or store is not there or not what it should be: no kernel, a damaged checkpoint, too little memory',
  ],
  [ExitCode.cannotWrite, 'a file could not be written'],
  [ExitCode.unavailable, 'an image could not be fetched or made'],
  [ExitCode.guestDied, 'the guest shut its processor down (triple fault)'],
  [ExitCode.instructionLimit, '--max-instructions was reached'],
  [ExitCode.internal, 'a fault of Revenant itself'],
  [
    ExitCode.refused,
    "refused: no such VM, node or checkpoint, no capacity, no valid token, another cluster's store, a node name in use, or not in this state",
  ],
  [ExitCode.unreachable, 'no node answers, or the store does not'],
];

export class CliError extends Error {
  readonly exitCode: ExitCode;
  readonly hint: string | undefined;

  constructor(exitCode: ExitCode, message: string, hint?: string, cause?: unknown) {
    super(message, { cause });
    this.name = 'CliError';
    this.exitCode = exitCode;
    this.hint = hint;
  }
}

/** Text of anything thrown, without a stack trace. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** For a file that a person named and that can't be written. */
export function cannotWrite(path: string, error: unknown, option?: string): CliError {
  const where = option === undefined ? '' : `--${option}: `;
  return new CliError(
    ExitCode.cannotWrite,
    `${where}can't write '${path}': ${messageOf(error)}`,
    'choose a path that can be written',
    error,
  );
}
