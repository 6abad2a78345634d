/** The epochs of VMs in the store, as one node raises them, gives them up and marks VMs as deleted. Each ends in an event. */
import {
  deleteVm,
  envelopeVersion,
  formatId,
  isStorageError,
  raiseEpoch,
  readOwner,
  releaseOwnership,
  renewLease,
  type CheckpointKey,
  type ObjectStore,
  type Ownership,
  type RaiseOptions,
  type ReadEntry,
} from '@revenant/storage';
import type { StateForm } from '../decisions/records.ts';
import type { Effect, Event, LogEntry } from '../decisions/types.ts';
import { ClusterError, isClusterError, messageOf } from '../errors.ts';
import { bounded } from '../protocol/limits.ts';
import { requireBlobs } from '../stored/blobs.ts';
import { requireBases } from './disks.ts';
import { removeDeleted } from './housekeeping.ts';
import { readOwnLog } from './replay-log.ts';
import type { Lead } from './standby/handed.ts';
import { standbyNoteOf, storableNotes } from './standby/owner-note.ts';
import { sameNote } from './standby/reliance.ts';

export interface EpochsOptions {
  node: string;
  store: ObjectStore;
  tell: (event: Event) => void;
  log: (entry: LogEntry) => void;
  key?: CheckpointKey | undefined;
  /** Whether a machine here has what the log says already. */
  follows: (vmId: string) => boolean;
}

/** An epoch of ours, and what of the log is to be replayed before it goes live. */
export interface Owned {
  ownership: Ownership;
  logged: { entries: readonly ReadEntry[]; to: bigint } | undefined;
  /** Outputs may have left that only a standby knew of which is gone. */
  standbyLost: boolean;
  /** What only a standby here had, which is not in the store yet. */
  lead?: Lead | undefined;
}

/** What of the log an epoch is raised with. */
type Raised = Pick<Owned, 'ownership' | 'logged'>;

type Raise = Extract<Effect, { type: 'raise' }>;

export const epochName = (vmId: string, epoch: number): string => `${vmId}@${String(epoch)}`;

/** How a node with this key stores what its guests are. */
export const formOf = (key: CheckpointKey | undefined): StateForm => ({
  key: key?.id ?? null,
  format: envelopeVersion,
});

/** What the store says of the state is final; what the store or others do may be over in a moment. */
function whyNotRaised(error: unknown): 'retry' | 'failed' | 'unreadable' {
  const unreadable = ['KEY_NEEDED', 'KEY_WRONG', 'CHECKPOINT_NEWER'] as const;
  if (unreadable.some((code) => isStorageError(error, code))) return 'unreadable';
  if (isClusterError(error, 'BLOB_MISSING')) return 'failed';
  return isStorageError(error) && !error.retryable && error.code !== 'FENCED' ? 'failed' : 'retry';
}

/** What of the log is left out, and what that costs. */
function wordsOnLog({ ownership: { log }, logged }: Raised): LogEntry[] {
  const words: LogEntry[] = [];
  if (log?.torn !== undefined)
    words.push({
      event: 'log-torn',
      reason: bounded(`its last segment was left out, as one that was being written: ${log.torn.reason}`),
    });
  if (log?.refused !== undefined)
    words.push({
      event: 'log-broken',
      reason: bounded(
        `what came in behind this is lost, and what was seen may be taken back: ${log.refused}`,
      ),
      ...(logged === undefined ? {} : { details: { replaysTo: Number(logged.to) } }),
    });
  return words;
}

export class Epochs {
  readonly #options: EpochsOptions;
  /** Those that this process raised. */
  readonly #owned = new Map<string, Owned>();
  /** Base images that were found readable: they never change, and a takeover is not to wait for them again. */
  readonly #bases = new Set<string>();

  constructor(options: EpochsOptions) {
    this.#options = options;
  }

  owned(vmId: string, epoch: number): Owned | undefined {
    return this.#owned.get(epochName(vmId, epoch));
  }

  /** For one whose session is over: there is nothing to give up. */
  forget(vmId: string, epoch: number): void {
    this.#owned.delete(epochName(vmId, epoch));
  }

  async raise({
    vmId,
    attempt,
    expectedEpoch,
    incarnation,
    spec,
    revive,
    noted,
    standbyLost,
  }: Raise): Promise<void> {
    const { store, node, tell, log, key } = this.#options;
    try {
      if (spec?.runtime === 'machine')
        await requireBases(store, spec.description, { key, seen: this.#bases });
      // One that never ran has to boot.
      if (spec !== undefined && (expectedEpoch === 0 || revive === true)) await requireBlobs(store, spec);
      const notes = (before: Record<string, unknown>): Record<string, unknown> => {
        const standby = standbyNoteOf(vmId, before);
        if (!sameNote(standby, noted))
          throw new ClusterError(
            'CONFLICT',
            `${vmId}: on whom its outputs rest has changed since that was read`,
          );
        const notes = { incarnation, form: formOf(key), ...(standby === undefined ? {} : { standby }) };
        return storableNotes(vmId, notes);
      };
      const raised = await this.#raiseWithLog(vmId, {
        ...{ owner: node, expectedEpoch, notes, key },
        revive: revive === true,
      });
      const owned = { ...raised, standbyLost: standbyLost !== undefined };
      const { ownership } = owned;
      this.#owned.set(epochName(vmId, ownership.epoch), owned);
      for (const refusal of ownership.refused)
        log({ event: 'checkpoint-refused', vm: vmId, reason: `${formatId(refusal.id)}: ${refusal.reason}` });
      for (const entry of wordsOnLog(owned)) log({ vm: vmId, ...entry });
      if (standbyLost !== undefined) log({ event: 'standby-lost', vm: vmId, reason: standbyLost });
      tell({ type: 'raised', vmId, attempt, epoch: ownership.epoch });
    } catch (error) {
      tell({ type: 'not-raised', vmId, attempt, why: whyNotRaised(error), reason: messageOf(error) });
    }
  }

  /**
   * Raises it, and reads what is to be replayed. A log that is broken on the way is accepted as far as it goes: whoever raises the VM next
   * would find it broken too.
   */
  async #raiseWithLog(vmId: string, options: RaiseOptions & { expectedEpoch: number }): Promise<Raised> {
    const { store, key } = this.#options;
    // Each try that fails at the log has raised the epoch once.
    let { expectedEpoch } = options;
    try {
      const ownership = await raiseEpoch(store, vmId, { ...options, expectedEpoch, replayLog: true });
      expectedEpoch = ownership.epoch - 1;
      if (this.#options.follows(vmId)) return { ownership, logged: undefined };
      return { ownership, logged: await readOwnLog(store, ownership, key) };
    } catch (error) {
      if (!isStorageError(error, 'LOG_DAMAGED')) throw error;
      expectedEpoch++;
      const accepted = { ...options, expectedEpoch, replayLog: true, acceptBrokenLog: true };
      const ownership = await raiseEpoch(store, vmId, accepted);
      return { ownership, logged: await readOwnLog(store, ownership, key) };
    }
  }

  /** What of the log is to be replayed after all: the standby here is no use. Throws as reading it does. */
  async readLog(owned: Owned): Promise<void> {
    const { store, key } = this.#options;
    owned.logged ??= await readOwnLog(store, owned.ownership, key);
  }

  /** All that a standby had is in the store. */
  async unnote({ ownership }: Owned): Promise<void> {
    const { standby: _standby, ...notes } = ownership.stored.record.notes;
    await renewLease(this.#options.store, ownership, { notes }).catch(() => undefined);
  }

  /** Gives an epoch up, so that another node may raise it at once. */
  async release(vmId: string, epoch: number): Promise<void> {
    const result = await this.#tryRelease(vmId, epoch);
    if (result === 'done') this.forget(vmId, epoch);
    this.#options.tell({ type: 'released', vmId, epoch, result });
  }

  async #tryRelease(vmId: string, epoch: number): Promise<'done' | 'fenced' | 'failed'> {
    const { store, node } = this.#options;
    try {
      const stored = await readOwner(store, vmId);
      if (stored?.record.epoch !== epoch || stored.record.owner !== node || stored.record.state !== 'owned')
        return 'fenced';
      // One from before a restart of this process is told by the record.
      const fromRecord = { vmId, epoch, owner: node, resumeFrom: null, chain: [], refused: [], stored };
      await releaseOwnership(store, this.owned(vmId, epoch)?.ownership ?? fromRecord);
      return 'done';
    } catch (error) {
      return isStorageError(error, 'FENCED') ? 'fenced' : 'failed';
    }
  }

  async tombstone(vmId: string, epoch: number): Promise<void> {
    const { store, node, tell, log, key } = this.#options;
    try {
      await deleteVm(store, vmId, { owner: node, expectedEpoch: epoch });
      tell({ type: 'tombstoned', vmId, done: true });
      await removeDeleted(store, vmId, key);
    } catch (error) {
      log({ event: 'vm-not-deleted', vm: vmId, reason: messageOf(error) });
      tell({ type: 'tombstoned', vmId, done: false });
    }
  }
}
