/**
 * The end of what a VM wrote on its console, which its checkpoints keep: what was let out just before a failover may not have reached
 * everybody who listens, and what is let out by a checkpoint is in no state after it. Whoever resumes gives it to consoles again, which
 * leave out what they have by its number.
 */
import type { StampedOutput } from '@revenant/emulator';

/** At most so much of what was let out is kept. What is held back is kept whole (output-gate.ts bounds it). */
const maxTailBytes = 64 << 10;
/** Who listens, and lost its node, comes to another within this time on a busy host too. */
const keptMs = 30_000;

export interface TailState {
  /** Number of its first byte in the console's stream. */
  at: number;
  bytes: Uint8Array;
}

interface Piece {
  at: number;
  bytes: Uint8Array;
  /** When it was let out; undefined: it is held back. */
  leftAtMs: number | undefined;
}

/** The bytes of an output of the console, which is the first serial port; undefined for any other output. */
export function consoleBytes({ output }: StampedOutput): Uint8Array | undefined {
  return output.kind === 'serial' && output.port === 0 ? output.bytes : undefined;
}

export class ConsoleTail {
  readonly #pieces: Piece[] = [];
  /** Of them, those that were let out: the oldest. */
  #leftPieces = 0;
  #leftBytes = 0;

  constructor(state: TailState | undefined, nowMs: number) {
    if (state === undefined) return;
    this.#pieces.push({ ...state, leftAtMs: nowMs });
    this.#leftPieces = 1;
    this.#leftBytes = state.bytes.length;
  }

  said(entry: StampedOutput): void {
    const bytes = consoleBytes(entry);
    if (bytes !== undefined) this.#pieces.push({ at: entry.number, bytes, leftAtMs: undefined });
  }

  /** The oldest output that was held back has left. */
  left(entry: StampedOutput, nowMs: number): void {
    if (consoleBytes(entry) === undefined) return;
    const piece = this.#pieces[this.#leftPieces];
    if (piece === undefined) return;
    this.#leftPieces++;
    piece.leftAtMs = nowMs;
    this.#leftBytes += piece.bytes.length;
    this.#trim(nowMs);
  }

  #trim(nowMs: number): void {
    for (let first = this.#pieces[0]; first?.leftAtMs !== undefined; first = this.#pieces[0]) {
      const rest = this.#leftBytes - first.bytes.length;
      if (rest < maxTailBytes && nowMs - first.leftAtMs < keptMs) return;
      this.#leftBytes = rest;
      this.#leftPieces--;
      this.#pieces.shift();
    }
  }

  /** Undefined: there is nothing to keep. */
  state(nowMs: number): TailState | undefined {
    this.#trim(nowMs);
    const [first] = this.#pieces;
    if (first === undefined) return undefined;
    return { at: first.at, bytes: Uint8Array.from(Buffer.concat(this.#pieces.map(({ bytes }) => bytes))) };
  }
}
