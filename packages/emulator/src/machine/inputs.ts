/**
 * Inputs: all that reaches a machine from outside. Each is stamped with the instruction count and the virtual time at which it took
 * effect; a machine that starts from the same state and gets the same log does the same, to the bit.
 */
import { MachineError } from './errors.ts';
import type { MouseMove } from '../devices/input/ps2-mouse.ts';

export type MachineInput =
  /** Bytes received by serial port `port` (0 = COM1). */
  | { kind: 'serial'; port: number; bytes: Uint8Array }
  /** A key by its DOM `code`. */
  | { kind: 'key'; code: string; pressed: boolean }
  | ({ kind: 'mouse' } & MouseMove)
  | { kind: 'nmi' }
  | { kind: 'powerButton' }
  | { kind: 'reset' }
  /** From now on this many ns per instruction (16.16): how a live machine follows the wall clock. */
  | { kind: 'rate'; rate: number }
  /** The wall clock now, in ns since 1970: what the RTC shows. */
  | { kind: 'wallClock'; epochNs: bigint }
  | { kind: 'generation'; generation: bigint }
  /** TLBs are emptied: part of taking a snapshot, so that a restored machine walks the same page tables. */
  | { kind: 'flush' };

export interface LoggedInput {
  instructions: bigint;
  timeNs: bigint;
  input: MachineInput;
}

function refuse(what: string): never {
  throw new MachineError(
    'MACHINE_INPUT_INVALID',
    `input: ${what}`,
    'see MachineInput for what a machine takes',
  );
}

const isInteger = (value: unknown, min: number, max: number): boolean =>
  typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max;
const isWide = (value: unknown): boolean => typeof value === 'bigint' && BigInt.asIntN(64, value) === value;

/** Throws MachineError for an input that no machine can take. */
export function checkInput(input: MachineInput): void {
  switch (input.kind) {
    case 'serial':
      if (!isInteger(input.port, 0, 3) || !(input.bytes instanceof Uint8Array))
        refuse('serial needs port 0-3 and bytes');
      return;
    case 'key':
      if (typeof input.code !== 'string' || typeof input.pressed !== 'boolean')
        refuse('key needs code and pressed');
      return;
    case 'mouse':
      for (const value of [input.dx, input.dy, input.dz, input.buttons])
        if (!isInteger(value, -32768, 32767)) refuse('mouse needs dx, dy, dz and buttons');
      return;
    case 'rate':
      if (!isInteger(input.rate, 1, 0xffff_ffff)) refuse('rate must be 1 to 2^32 - 1');
      return;
    case 'wallClock':
      if (!isWide(input.epochNs)) refuse('wallClock needs epochNs');
      return;
    case 'generation':
      if (typeof input.generation !== 'bigint' || input.generation < 0n || input.generation >> 64n !== 0n)
        refuse('generation must be 64 bits');
      return;
    case 'nmi':
    case 'powerButton':
    case 'reset':
    case 'flush':
      return;
    default:
      refuse(`unknown kind ${String((input as { kind: unknown }).kind)}`);
  }
}
