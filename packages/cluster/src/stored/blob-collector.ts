/**
 * Collects blobs that no VM refers to (and has base images collected), and parts of uploads that were cut off (docs/CLUSTER_PROTOCOL.md, "What is kept of blobs"). Safe beside
 * uploads, commands, other collectors, and when any of them ends at any moment. The order is the argument:
 *
 *  1. A blob that the protected list does not refer to is noted as condemned; likewise an upload without its last object of which nothing
 *     came for `graceMs`.
 *  2. When one and the same note has stood for `graceMs`, by the clock of the process that looks (so a new one waits afresh, and no two clocks
 *     are compared), it is swapped for `deleting`.
 *  3. Then the protected list is read again. What it refers to now is taken back; the rest is deleted, and its note last.
 *
 * Whoever is about to refer to a blob asks for it first (`hasBlob`), which swaps `condemned` for `wanted`. So a blob that was found is not
 * condemned at that moment, is deleted `graceMs` later at the soonest, and not before the list was read once more: what refers to it by then
 * is seen. Commands take seconds. Names of uploads never come again, so a deletion that was held up for long hits nothing new.
 */
import {
  BaseCollector,
  baseImageName,
  listAll,
  type CheckpointKey,
  type ObjectStore,
} from '@revenant/storage';
import { protectedKey } from '../decisions/records.ts';
import type { LogEntry } from '../decisions/types.ts';
import { messageOf } from '../errors.ts';
import { protectedListSchema } from '../protocol/records.ts';
import { blobNotesPrefix, putNote, readNote } from './blob-notes.ts';
import { blobPartsPrefix, blobsPrefix, hashOf } from './blobs.ts';
import { readStored } from './records.ts';

const blobGraceMs = 3_600_000;
/** So often within the grace it looks. */
const rounds = 6;
/** What one round does at most; the next goes on. */
const maxAtOnce = 500;

export interface BlobCollectorOptions {
  store: ObjectStore;
  /** With which base images and checkpoints are read. */
  key?: CheckpointKey | undefined;
  nowMs: () => number;
  graceMs?: number | undefined;
  /** Hears what went, and once why nothing can. */
  log: (entry: LogEntry) => void;
}

export interface BlobReport {
  /** Blobs, and uploads that were cut off, that are gone. */
  removed: number;
  bytes: number;
  condemned: number;
}

interface Upload {
  name: string;
  hash: string;
  /** Its last object is there. */
  complete: boolean;
  parts: string[];
  bytes: number;
}

interface Sight {
  what: string;
  sinceMs: number;
}

export class BlobCollector {
  readonly #options: BlobCollectorOptions;
  readonly #graceMs: number;
  readonly #bases: BaseCollector;
  #busy = false;
  #failing = false;
  #nextAt: number;
  /** Notes, and uploads under way, as they were first seen, by this process. */
  #notes = new Map<string, Sight>();
  #uploads = new Map<string, Sight>();

  constructor(options: BlobCollectorOptions) {
    this.#options = options;
    this.#graceMs = options.graceMs ?? blobGraceMs;
    this.#nextAt = options.nowMs() + this.#graceMs / rounds;
    this.#bases = new BaseCollector({ ...options, graceMs: this.#graceMs });
  }

  /** To be asked now and then; works in the background when it is time. */
  look(): void {
    const now = this.#options.nowMs();
    if (this.#busy || now < this.#nextAt) return;
    this.#nextAt = now + this.#graceMs / rounds;
    this.#busy = true;
    void this.#round().finally(() => (this.#busy = false));
  }

  async #round(): Promise<void> {
    const { log } = this.#options;
    try {
      const reason = 'no VM refers to them, or their upload was cut off';
      const { removed, bytes } = await this.collect();
      if (removed > 0) log({ event: 'blobs-collected', reason, details: { removed, bytes } });
      const bases = await this.collectBases();
      if (bases.removed > 0) log({ event: 'bases-collected', reason, details: { ...bases } });
      this.#failing = false;
    } catch (error) {
      // Nothing depends on it: the next round goes on.
      if (!this.#failing) log({ event: 'blobs-not-collected', reason: messageOf(error) });
      this.#failing = true;
    }
  }

  /** One round. Throws StoreError and ClusterError; what was begun is gone on with by the next. */
  async collect(): Promise<BlobReport> {
    const { store } = this.#options;
    const report: BlobReport = { removed: 0, bytes: 0, condemned: 0 };
    const uploads = await this.#listUploads();
    const wanted = await referredTo(store);
    const noted = await this.#listNotes();
    const going: Upload[] = [];
    const [notes, sights] = [new Map<string, Sight>(), new Map<string, Sight>()];
    for (const upload of uploads.values()) {
      const free = upload.complete ? !wanted.has(upload.hash) : this.#standsStill(upload, sights);
      if (going.length + report.condemned >= maxAtOnce) continue;
      if (!free && !noted.has(upload.name)) continue;
      if (await this.#judge(upload, free, { notes, report })) going.push(upload);
    }
    await this.#forgetNotes(
      [...noted].filter((name) => !uploads.has(name)),
      notes,
    );
    this.#notes = notes;
    this.#uploads = sights;
    if (going.length === 0) return report;
    // Only now that none of them can be asked for any more.
    const later = await referredTo(store);
    for (const upload of going) {
      if (upload.complete && later.has(upload.hash)) {
        const note = await readNote(store, upload.name);
        if (note?.value.state === 'deleting') await putNote(store, upload.name, 'wanted', note.version);
        continue;
      }
      await store.delete([blobsPrefix + upload.name, ...upload.parts]);
      await store.delete([blobNotesPrefix + upload.name]);
      report.removed++;
      report.bytes += upload.bytes;
    }
    return report;
  }

  /** One round over base images. Throws as `collect`, and StorageError when a checkpoint can't be read. */
  async collectBases(): Promise<{ removed: number; bytes: number }> {
    const { store } = this.#options;
    return this.#bases.collect(async () => new Set([...(await referredTo(store))].map(baseImageName)));
  }

  async #listUploads(): Promise<Map<string, Upload>> {
    const { store } = this.#options;
    const uploads = new Map<string, Upload>();
    const uploadOf = (name: string): Upload | undefined => {
      const hash = hashOf(name);
      if (hash === undefined) return undefined;
      const upload = uploads.get(name) ?? { name, hash, complete: false, parts: [], bytes: 0 };
      uploads.set(name, upload);
      return upload;
    };
    // Parts first: one that is completed meanwhile is seen as complete.
    for await (const { key, sizeBytes } of listAll(store, blobPartsPrefix)) {
      const upload = uploadOf(key.slice(blobPartsPrefix.length).split('/')[0] ?? '');
      upload?.parts.push(key);
      if (upload !== undefined) upload.bytes += sizeBytes;
    }
    for await (const { key, sizeBytes } of listAll(store, blobsPrefix)) {
      const upload = uploadOf(key.slice(blobsPrefix.length));
      if (upload === undefined) continue;
      upload.complete = true;
      upload.bytes += sizeBytes;
    }
    return uploads;
  }

  /** Of an upload under way: whether nothing came for long. */
  #standsStill({ name, parts }: Upload, sights: Map<string, Sight>): boolean {
    const sight = this.#seen(this.#uploads.get(name), String(parts.length));
    sights.set(name, sight);
    return this.#isOld(sight);
  }

  #seen(before: Sight | undefined, what: string): Sight {
    return before?.what === what ? before : { what, sinceMs: this.#options.nowMs() };
  }

  #isOld({ sinceMs }: Sight): boolean {
    return this.#options.nowMs() - sinceMs >= this.#graceMs;
  }

  /** Whether it goes now. */
  async #judge(
    { name }: Upload,
    free: boolean,
    { notes, report }: { notes: Map<string, Sight>; report: BlobReport },
  ): Promise<boolean> {
    const { store } = this.#options;
    const note = await readNote(store, name);
    // Somebody's who ended between, or is at it still: what is not referred to may be deleted twice.
    if (note?.value.state === 'deleting') return true;
    if (!free) {
      if (note?.value.state === 'condemned') await putNote(store, name, 'wanted', note.version);
      return false;
    }
    if (note === undefined || note.value.state === 'wanted') {
      if (await putNote(store, name, 'condemned', note?.version)) report.condemned++;
      return false;
    }
    const sight = this.#seen(this.#notes.get(name), note.version);
    notes.set(name, sight);
    return this.#isOld(sight) && (await putNote(store, name, 'deleting', note.version));
  }

  /** Notes without anything beside them: their blob went, and who was to remove them ended between. */
  async #forgetNotes(names: readonly string[], notes: Map<string, Sight>): Promise<void> {
    const over: string[] = [];
    for (const name of names) {
      const sight = this.#seen(this.#notes.get(name), 'alone');
      notes.set(name, sight);
      if (this.#isOld(sight) && over.length < maxAtOnce) over.push(blobNotesPrefix + name);
    }
    if (over.length > 0) await this.#options.store.delete(over);
  }

  async #listNotes(): Promise<Set<string>> {
    const names = new Set<string>();
    for await (const { key } of listAll(this.#options.store, blobNotesPrefix))
      names.add(key.slice(blobNotesPrefix.length));
    return names;
  }
}

/** Hashes that anything in the protected list names, wherever in its description: a field that is new to us counts too. */
async function referredTo(store: ObjectStore): Promise<Set<string>> {
  const list = await readStored(store, protectedKey, protectedListSchema);
  const hashes = new Set<string>();
  for (const { spec, status } of Object.values(list?.value.vms ?? {})) {
    if (status === 'deleted') continue;
    for (const [hash] of JSON.stringify(spec.description ?? null).matchAll(/[0-9a-f]{64}/g)) hashes.add(hash);
  }
  return hashes;
}
