/** Keeps what a VM's owner record says of its standby (reliance.ts) as it shall be. */
import { setTimeout as pause } from 'node:timers/promises';
import { isStorageError, renewLease, type ObjectStore, type Ownership } from '@revenant/storage';
import type { LogEntry } from '../../decisions/types.ts';
import { messageOf } from '../../errors.ts';
import type { NodeSession, StandbyNote } from '../../protocol/records.ts';
import { ownerNotesSchema } from '../../protocol/records.ts';
import { checkTold } from '../../protocol/open.ts';
import { storable } from '../../stored/records.ts';
import { notedFor, Reliance } from './reliance.ts';

/** Before it is tried again when the store failed. */
const againMs = 1000;

/** What an owner record says of a standby. Throws ClusterError `PROTOCOL`. */
export function standbyNoteOf(vmId: string, notes: Record<string, unknown>): StandbyNote | undefined {
  return checkTold(ownerNotesSchema, notes, `the notes of ${vmId}`).standby;
}

/** As `notedFor`, of the session that raised this epoch. Throws ClusterError `PROTOCOL`. */
export function ownNote({ vmId, stored: { record } }: Ownership): number | undefined {
  const { standby, incarnation } = checkTold(ownerNotesSchema, record.notes, `the notes of ${vmId}`);
  return notedFor(standby, { node: record.owner, incarnation });
}

/** Notes for an owner record. Throws ClusterError `PROTOCOL` for what no node could read. */
export const storableNotes = (vmId: string, notes: Record<string, unknown>): Record<string, unknown> =>
  storable(ownerNotesSchema, notes, `the notes of ${vmId}`);

export interface OwnerNoteOptions {
  store: ObjectStore;
  ownership: Ownership;
  /** Outputs may have left up to this position when it was taken over. */
  left: number;
  log: (entry: LogEntry) => void;
}

export class OwnerNote {
  readonly #options: OwnerNoteOptions;
  readonly #reliance: Reliance;
  #notes: Record<string, unknown>;
  #driving: Promise<void> | undefined;
  #over = false;

  constructor(options: OwnerNoteOptions) {
    const { vmId, epoch, stored } = options.ownership;
    const { standby: _standby, ...notes } = stored.record.notes;
    this.#options = options;
    this.#notes = notes;
    const found = standbyNoteOf(vmId, stored.record.notes);
    this.#reliance = new Reliance({ epoch, found, left: options.left });
  }

  want(session: NodeSession | undefined): void {
    this.#reliance.want(session);
    this.#drive();
  }

  holds(session: NodeSession, position: number): boolean {
    const mayLeave = this.#reliance.holds(session, position);
    this.#drive();
    return mayLeave;
  }

  restsOn(session: NodeSession): boolean {
    return !this.#over && this.#reliance.restsOn(session);
  }

  stored(position: number): void {
    this.#reliance.stored(position);
    this.#drive();
  }

  /** Resolves when the record says what it shall, or nobody needs it any more. */
  async settled(): Promise<void> {
    while (!this.#over && !this.#reliance.isSettled) await (this.#driving ?? pause(20));
  }

  end(): void {
    this.#over = true;
  }

  #drive(): void {
    if (this.#over || this.#driving !== undefined || this.#reliance.next === 'rest') return;
    this.#driving = this.#write().finally(() => {
      this.#driving = undefined;
      this.#drive();
    });
  }

  async #write(): Promise<void> {
    const { store, ownership, log } = this.#options;
    const { next } = this.#reliance;
    if (next === 'rest') return;
    this.#reliance.writing();
    try {
      const wanted = next.note === undefined ? this.#notes : { ...this.#notes, standby: next.note };
      const notes = storableNotes(ownership.vmId, wanted);
      await renewLease(store, ownership, { notes });
      this.#reliance.wrote(next.note, 'done');
    } catch (error) {
      this.#reliance.wrote(next.note, 'unknown');
      // Whoever is fenced finds out by its next segment or checkpoint.
      if (isStorageError(error, 'FENCED')) return this.end();
      if (!this.#over) log({ event: 'standby-not-noted', vm: ownership.vmId, reason: messageOf(error) });
      await pause(againMs, undefined, { ref: false });
    }
  }
}
