/**
 * On whose word a VM's outputs leave, and what its owner record says of that. A plain object: it is told what became durable and what left,
 * and says which note is to be written, and when.
 *
 * Invariants:
 * - an output leaves on the word of a standby only while the record names that standby's session, and is not being changed;
 * - the note is changed only when what left on the word of the one that it names is durable, or when the one that it names next holds all of
 *   that: so whoever takes the VM over finds either all of it in the store, or who has the rest;
 * - of a VM that was taken over the note stays until the new owner's state is durable behind all that it took over.
 */
import type { NodeSession, StandbyNote } from '../../protocol/records.ts';

export class Reliance {
  readonly #epoch: number;
  /** What the record says; `unknown`: a write may or may not have landed. */
  #noted: StandbyNote | undefined | 'unknown';
  #wanted: StandbyNote | undefined;
  /** The one that is wanted holds all up to this position. */
  #held = -1;
  /** Outputs left up to this position, and the store has all up to that one. */
  #left: number;
  #stored = -1;
  #isWriting = false;

  /** @param found the note under which the VM was taken over; and the position up to which its outputs may have left already */
  constructor(options: { epoch: number; found: StandbyNote | undefined; left: number }) {
    this.#epoch = options.epoch;
    this.#noted = options.found;
    this.#left = options.left;
  }

  /** Whether outputs may leave on this session's word. */
  restsOn(session: NodeSession): boolean {
    return !this.#isWriting && this.#isOf(this.#noted, session) && this.#isOf(this.#wanted, session);
  }

  #isOf(note: StandbyNote | undefined | 'unknown', { node, incarnation }: NodeSession): boolean {
    if (note === undefined || note === 'unknown') return false;
    return note.node === node && note.incarnation === incarnation && note.epoch === this.#epoch;
  }

  /** From now on outputs shall rest on this session, or on none. */
  want(session: NodeSession | undefined): void {
    if (session !== undefined && this.#isOf(this.#wanted, session)) return;
    this.#wanted = session && { node: session.node, incarnation: session.incarnation, epoch: this.#epoch };
    this.#held = -1;
  }

  /** The standby that is wanted holds what leads to a position. @returns whether outputs up to there may leave */
  holds(session: NodeSession, position: number): boolean {
    if (!this.#isOf(this.#wanted, session)) return false;
    this.#held = Math.max(this.#held, position);
    if (!this.restsOn(session)) return false;
    this.#left = Math.max(this.#left, position);
    return true;
  }

  /** Whoever takes the VM over from the store reaches this position. */
  stored(position: number): void {
    this.#stored = Math.max(this.#stored, position);
  }

  /** The note to write now; `rest`: there is none to write, or not yet. */
  get next(): { note: StandbyNote | undefined } | 'rest' {
    if (this.#isWriting || sameNote(this.#noted, this.#wanted)) return 'rest';
    const isSafe = this.#stored >= this.#left || this.#held >= this.#left;
    return isSafe ? { note: this.#wanted } : 'rest';
  }

  /** The record is what it shall be. */
  get isSettled(): boolean {
    return !this.#isWriting && sameNote(this.#noted, this.#wanted);
  }

  writing(): void {
    this.#isWriting = true;
  }

  wrote(note: StandbyNote | undefined, result: 'done' | 'unknown'): void {
    this.#isWriting = false;
    this.#noted = result === 'done' ? note : 'unknown';
  }
}

/**
 * The epoch under which a VM's outputs came to rest on a session, by the note in the owner record. Undefined: they rest on none, or on another,
 * and what this one followed then others may have gone on without.
 */
export function notedFor(note: StandbyNote | undefined, session: NodeSession): number | undefined {
  return note?.node === session.node && note.incarnation === session.incarnation ? note.epoch : undefined;
}

export function sameNote(a: StandbyNote | undefined | 'unknown', b: StandbyNote | undefined): boolean {
  if (a === undefined || b === undefined || a === 'unknown') return a === b;
  return a.node === b.node && a.incarnation === b.incarnation && a.epoch === b.epoch;
}
