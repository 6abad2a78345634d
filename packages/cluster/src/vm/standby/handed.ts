/** What a standby hands to whoever goes on from what it holds. */
import type { StampedOutput } from '@revenant/emulator';
import type { LogEntry } from '@revenant/storage';

/** What only a standby had, for whoever goes on from there. */
export interface Handed {
  /** Where the log in the store ends: the entries come next in it. */
  logTo: bigint;
  nextInput: bigint;
  seed: readonly LogEntry[];
  /** The entries do not follow what the store has: only a checkpoint leads to where they do. */
  gap: boolean;
  /** What its guest said, and nobody may have heard. */
  again: readonly StampedOutput[];
}

export interface Lead {
  handed: Handed;
  /** Its machine goes live there; and how many entries it did not have and read from the store. */
  liveFrom: bigint;
  nextInput: bigint;
  read: number;
  /** The cut of which the newest checkpoint is; undefined: it does not know which pages changed since. */
  since: number | undefined;
}
