/**
 * Garbage collection (docs/CHECKPOINT_FORMAT.md, "Collection"), safe beside a writer, a takeover and another collector, and
 * when any of them dies at any moment. The order is the argument:
 *
 *  1. Read the owner record. While a takeover is between its steps, do nothing.
 *  2. List the packs, then the manifests: a pack listed here and named by no manifest listed here is either garbage, or in
 *     flight. In flight are only packs named after a checkpoint later than the newest manifest of the current epoch: the
 *     writer writes one checkpoint at a time and settles it before the next. Those are kept.
 *  3. Read the manifests; if one is gone, stop: another collector is ahead. Choose by the retention policy; keep the
 *     chains of what is kept. A writer shares contents only with packs that its last committed checkpoint reaches, which
 *     is the newest listed one or a later one; so, by induction, later checkpoints reach only packs that the newest one
 *     reaches, or newer packs. All of these are kept.
 *  4. Note the condemned ids and the epoch, then read the owner record again: it must be as in step 1, or all that was
 *     judged by its lineage is void. A takeover raises its epoch first and reads the notes then: so either we see the
 *     raised epoch here and stop, or it sees what is condemned and resumes from none of it.
 *  5. Delete manifests, then packs. A manifest that is there has its packs, whenever we die.
 *     The same with holds (hold.ts) and forks (fork.ts): one that was put since step 3 and names what is condemned stops us here.
 *  6. Delete the note. If we die before, it stays until its checkpoints are gone or its epoch is over; other collectors
 *     decide for themselves, and a takeover only avoids what it names (find.ts says when it is void).
 */
import { isDeepStrictEqual } from 'node:util';
import type { CheckpointKey } from '../encryption.ts';
import { isStorageError, isStoreError } from '../errors.ts';
import { newNonce, systemHost, type StorageHost } from '../host.ts';
import { findLogGarbage } from '../log/collect.ts';
import { readOwner, type OwnerRecord } from '../ownership.ts';
import { listAll, type ObjectStore } from '../store/object-store.ts';
import { PatientStore } from '../store/patient-store.ts';
import { checkedRecord, putRecord } from '../store/records.ts';
import {
  addForeignPacks,
  listManifests,
  listPacks,
  isCondemned,
  readCondemned,
  whyDamaged,
  type CondemnedNote,
  type Refusal,
} from './find.ts';
import {
  compareIds,
  condemnedPrefix,
  forksPrefix,
  formatId,
  idOfName,
  manifestKey,
  packsPrefix,
  vmPrefix,
  ownerKey,
  snapshotsKey,
  type CheckpointId,
} from './keys.ts';
import { isVisible } from './lineage.ts';
import { keptByForks, readForks, type ForkRecord } from './fork.ts';
import { packPath, type PackRef } from './pack.ts';
import { readHolds, type FoundHold } from './hold.ts';
import { readManifest } from './manifest.ts';
import { defaultLogMs, defaultRetention, selectRetained, type RetentionPolicy } from './retention.ts';
import { dropPlaces, snapshotPlaces } from './snapshots.ts';

export interface CollectOptions {
  policy?: RetentionPolicy;
  key?: CheckpointKey | undefined;
  host?: StorageHost;
  /** Say what would be removed, and remove nothing. */
  dryRun?: boolean;
  /**
   * What collections of this VM have learnt of its manifests, which never change: give the same map each time, empty at first, and only
   * new ones are read.
   */
  remembered?: Map<string, KnownManifest>;
}

export interface CollectReport {
  vmId: string;
  /** Why nothing was done; undefined when it was. */
  skipped?: string;
  kept: CheckpointId[];
  removed: CheckpointId[];
  removedPacks: number;
  removedBytes: number;
  /** Segments of the input log. */
  removedSegments: number;
  /** Why nothing of the input log is collected: it is damaged. */
  logSkipped?: string;
  /** Of a deleted VM: the VMs that it was forked from, which need to keep less for it now. */
  parents?: string[];
  /** Damaged checkpoints met. They are removed once a newer intact one exists. */
  damaged: Refusal[];
}

interface Survey {
  owner: OwnerRecord;
  packs: Map<string, number>;
  manifests: CheckpointId[];
  notes: CondemnedNote[];
  holds: FoundHold[];
  forks: ForkRecord[];
}

/** What a collector knows of one readable manifest. */
export interface KnownManifest {
  id: CheckpointId;
  parent: CheckpointId | null;
  full: boolean;
  createdAtMs: number;
  instructions: bigint;
  packs: Pick<PackRef, 'vm' | 'name' | 'bytes'>[];
}

/** Removes what the policy does not keep and nothing reaches. Run it as often as you like, from anywhere. */
export async function collectGarbage(
  impatient: ObjectStore,
  vmId: string,
  options: CollectOptions = {},
): Promise<CollectReport> {
  const store = new PatientStore(impatient, options.host ?? systemHost);
  const report: CollectReport = {
    vmId,
    kept: [],
    removed: [],
    removedPacks: 0,
    removedBytes: 0,
    removedSegments: 0,
    damaged: [],
  };
  const owner = (await readOwner(store, vmId))?.record;
  if (owner === undefined) return { ...report, skipped: 'the VM has no owner record' };
  if (owner.state === 'deleted') return collectDeleted(store, owner, report, options);
  if (owner.lineage.at(-1)?.from === undefined) return { ...report, skipped: 'a takeover is under way' };

  const nowMs = (options.host ?? systemHost).wallClockMs();
  const packs = await listPacks(store, vmId);
  const survey: Survey = {
    owner,
    packs,
    manifests: await listManifests(store, vmId),
    notes: await readCondemned(store, vmId),
    holds: await readHolds(store, vmId, nowMs),
    forks: await readForks(store, vmId, nowMs),
  };
  const found = await readManifests(store, survey, options);
  if (found === undefined) return { ...report, skipped: 'another collector is at work' };
  const { known, damaged } = found;
  report.damaged = damaged;
  if (!(await stillDamaged(store, survey, damaged, options.key)))
    return { ...report, skipped: 'two looks at the checkpoints disagree' };
  const newest = known.at(-1);
  const expected = damaged.length > 0 || owner.lineage.at(-1)?.from !== null;
  if (newest === undefined && expected) return { ...report, skipped: 'no checkpoint is intact' };
  const { pinned } = owner;
  if (pinned && !known.some(({ id }) => compareIds(id, pinned) === 0))
    return { ...report, skipped: 'the checkpoint that a machine is being restored from is damaged' };

  const chosen = selectRetained(known, options.policy ?? defaultRetention, nowMs);
  // A machine may still be fetching pages of it; the writer may have moved them elsewhere for later checkpoints.
  if (pinned) chosen.push(pinned);
  // Somebody reads these.
  for (const { id, alive } of survey.holds) if (alive) chosen.push(id);
  report.kept = withChains(known, chosen);
  report.removed = condemn(survey, report.kept, newest?.id);
  const garbage = unreached(survey, known, report.kept);
  report.removedPacks = garbage.length;
  report.removedBytes = garbage.reduce((sum, name) => sum + (packs.get(name) ?? 0), 0);
  const log = await findLogGarbage(store, vmId, {
    lineage: owner.lineage,
    from: logBegin(known, report.kept, survey.holds, nowMs - (options.policy?.logMs ?? defaultLogMs)),
    // A machine that was switched on anew counts from 0 again: only by a checkpoint of its own is it known what it needs.
    keepsNewest: newest?.id.epoch !== owner.epoch,
    key: options.key,
  });
  report.removedSegments = log.keys.length;
  if (log.skipped !== undefined) report.logSkipped = log.skipped;
  if (options.dryRun === true) return report;
  return remove(store, survey, report, { packs: garbage, segments: log.keys }, options);
}

/** From which count on the input log is kept: that of the oldest kept checkpoint since `sinceMs`, or held by somebody; of the newest at least. */
function logBegin(known: KnownManifest[], kept: CheckpointId[], holds: FoundHold[], sinceMs: number): bigint {
  const newest = known.at(-1);
  // Without any checkpoint the machine is replayed from power-on.
  if (newest === undefined) return 0n;
  const keeping = new Set(kept.map(formatId));
  const held = new Set(holds.filter(({ alive }) => alive).map(({ id }) => formatId(id)));
  const wanted = known.filter(
    ({ id, createdAtMs }) => held.has(formatId(id)) || (keeping.has(formatId(id)) && createdAtMs >= sinceMs),
  );
  return [newest, ...wanted].reduce(
    (least, { instructions }) => (instructions < least ? instructions : least),
    newest.instructions,
  );
}

async function readManifests(
  store: ObjectStore,
  survey: Survey,
  { key, remembered }: CollectOptions,
): Promise<{ known: KnownManifest[]; damaged: Refusal[] } | undefined> {
  const { vmId, lineage } = survey.owner;
  const known = new Map<string, KnownManifest>();
  const damaged: Refusal[] = [];
  const counting = survey.manifests.filter((each) => isVisible(lineage, each));
  for (const id of counting) {
    // The newest is looked at whatever is remembered: our argument rests on it.
    const before = id === counting.at(-1) ? undefined : remembered?.get(formatId(id));
    const found = before ?? (await readKnown(store, vmId, id, key));
    // Gone since the list: another collector is faster. What it took may have been the newest, on which our argument
    // rests (step 3); later checkpoints may share its packs. Leave the work to that collector.
    if (found === undefined) return undefined;
    if (typeof found === 'string') damaged.push({ id, reason: found });
    else known.set(formatId(id), found);
  }
  remembered?.clear();
  for (const [id, each] of known) remembered?.set(id, each);
  // A checkpoint committed since the packs were listed names packs that were not there then.
  const named = [...known.values()].flatMap(({ packs }) => packs);
  const complete = named.every(({ vm, name }) => vm !== undefined || survey.packs.has(name));
  const packs = complete ? new Map(survey.packs) : await listPacks(store, vmId);
  await addForeignPacks(store, packs, named);
  // Ascending, so a parent is judged before its children.
  for (const each of [...known.values()]) {
    const reason = brokenReason(each, known, packs);
    if (reason === undefined) continue;
    known.delete(formatId(each.id));
    damaged.push({ id: each.id, reason });
  }
  return { known: [...known.values()], damaged };
}

/** What was found damaged is looked at again: a bit flipped on the way must not cost a checkpoint. */
async function stillDamaged(
  store: ObjectStore,
  survey: Survey,
  damaged: Refusal[],
  key: CheckpointKey | undefined,
): Promise<boolean> {
  if (damaged.length === 0) return true;
  const { vmId } = survey.owner;
  const packs = await listPacks(store, vmId);
  for (const { id } of damaged)
    if ((await whyDamaged(store, vmId, id, packs, key)) === undefined) return false;
  return true;
}

async function readKnown(
  store: ObjectStore,
  vmId: string,
  id: CheckpointId,
  key: CheckpointKey | undefined,
): Promise<KnownManifest | string | undefined> {
  try {
    const manifest = await readManifest(store, vmId, id, key);
    if (manifest === undefined) return undefined;
    const { parent, map, createdAtMs, instructions } = manifest.head;
    return {
      id,
      parent,
      full: map === 'full',
      createdAtMs,
      instructions,
      packs: manifest.body.packs.map(({ vm, name, bytes }) => ({
        ...(vm === undefined ? {} : { vm }),
        name,
        bytes,
      })),
    };
  } catch (error) {
    // Damage is a finding; a wrong key or a failing store must stop the collection.
    if (isStorageError(error, 'CHECKPOINT_DAMAGED') || isStoreError(error, 'DAMAGED')) return error.message;
    throw error;
  }
}

function brokenReason(
  each: KnownManifest,
  known: Map<string, KnownManifest>,
  packs: Map<string, number>,
): string | undefined {
  if (!each.full && (each.parent === null || !known.has(formatId(each.parent)))) return 'its chain is broken';
  const bad = each.packs.find((pack) => packs.get(packPath(pack)) !== pack.bytes);
  if (bad === undefined) return undefined;
  const path = packPath(bad);
  return `pack ${path} is ${packs.has(path) ? 'torn' : 'missing'}`;
}

/** The chosen ones and what their maps continue. */
function withChains(known: KnownManifest[], chosen: CheckpointId[]): CheckpointId[] {
  const byId = new Map(known.map((each) => [formatId(each.id), each]));
  const kept = new Map<string, CheckpointId>();
  for (const id of chosen) {
    for (let each = byId.get(formatId(id)); each !== undefined;) {
      if (kept.has(formatId(each.id))) break;
      kept.set(formatId(each.id), each.id);
      each = each.full || each.parent === null ? undefined : byId.get(formatId(each.parent));
    }
  }
  return [...kept.values()].sort(compareIds);
}

/** Manifests to delete: not kept, and older than the newest intact one; and whatever a dead epoch left. */
function condemn(survey: Survey, kept: CheckpointId[], newest: CheckpointId | undefined): CheckpointId[] {
  const keeping = new Set(kept.map(formatId));
  const { epoch, lineage } = survey.owner;
  return survey.manifests.filter((id) => {
    if (keeping.has(formatId(id))) return false;
    if (!isVisible(lineage, id)) return id.epoch < epoch;
    return newest !== undefined && compareIds(id, newest) < 0;
  });
}

function unreached(survey: Survey, known: KnownManifest[], kept: CheckpointId[]): string[] {
  const keeping = new Set(kept.map(formatId));
  const reached = keptByForks(survey.forks);
  for (const { id, packs } of known)
    if (keeping.has(formatId(id))) for (const pack of packs) reached.add(packPath(pack));
  const { epoch, lineage } = survey.owner;
  // Every manifest counts here, intact or not: what is later than the newest of them may be in flight.
  const newest = survey.manifests.filter((id) => id.epoch === epoch).at(-1);
  // A damaged manifest that is newer than every intact one keeps all packs of its time: they may be wanted to save it.
  const intact = known.at(-1)?.id;
  return [...survey.packs.keys()].filter((name) => {
    const id = idOfName(name);
    if (id === undefined || reached.has(name)) return false;
    if (id.epoch === epoch && (newest === undefined || id.sequence > newest.sequence)) return false;
    if (id.epoch > epoch) return false;
    return intact === undefined || !isVisible(lineage, id) || compareIds(id, intact) <= 0;
  });
}

async function remove(
  store: ObjectStore,
  survey: Survey,
  report: CollectReport,
  garbage: { packs: string[]; segments: string[] },
  options: CollectOptions,
): Promise<CollectReport> {
  const nothing = { ...report, removed: [], removedPacks: 0, removedBytes: 0, removedSegments: 0 };
  const { vmId, epoch } = survey.owner;
  const host = options.host ?? systemHost;
  const note = `${condemnedPrefix(vmId)}${newNonce(host)}`;
  const ids = report.removed.toSorted((a, b) => compareIds(b, a));
  const condemned = checkedRecord(note, { epoch, ids: ids.map(formatId) }, isCondemned);
  if (ids.length > 0) await putRecord(store, host, note, condemned, undefined);
  // Also when only packs go: a lineage that is over sees none of the checkpoints that came after it.
  const now = (await readOwner(store, vmId))?.record;
  if (
    now?.epoch !== epoch ||
    now.state === 'deleted' ||
    !isDeepStrictEqual(now.lineage, survey.owner.lineage)
  ) {
    if (ids.length > 0) await store.delete([note]);
    return { ...nothing, skipped: 'a takeover began' };
  }
  const wanted = (await readHolds(store, vmId, host.wallClockMs())).find(
    ({ id, alive }) => alive && ids.some((each) => compareIds(each, id) === 0),
  );
  if (wanted !== undefined) {
    await store.delete([note]);
    return { ...nothing, skipped: `${wanted.purpose} of checkpoint ${formatId(wanted.id)} began` };
  }
  const begun = await beganToKeep(store, survey, garbage.packs, host);
  if (begun !== undefined) {
    await store.delete([note]);
    return { ...nothing, skipped: `the fork ${begun} began` };
  }
  // Newest first: a delta goes before what it needs.
  await store.delete(ids.map((id) => manifestKey(vmId, id)));
  await store.delete(garbage.packs.map((name) => packsPrefix(vmId) + name));
  await store.delete(garbage.segments);
  const deadHolds = survey.holds.filter(({ alive }) => !alive).map(({ key }) => key);
  const deadForks = survey.forks.filter(({ alive }) => !alive).map(({ key }) => key);
  await store.delete([...(ids.length > 0 ? [note] : []), ...staleNotes(survey), ...deadHolds, ...deadForks]);
  return report;
}

/** The fork that keeps some of these packs since they were judged. */
async function beganToKeep(
  store: ObjectStore,
  { owner, forks }: Survey,
  packs: readonly string[],
  host: StorageHost,
): Promise<string | undefined> {
  const known = new Set(forks.filter(({ alive }) => alive).map(({ key }) => key));
  const now = await readForks(store, owner.vmId, host.wallClockMs());
  return now.find(
    ({ key, alive, packs: kept }) => alive && !known.has(key) && kept.some((name) => packs.includes(name)),
  )?.child;
}

/** Notes of killed collectors: of an epoch that is over, or about checkpoints that are gone. */
function staleNotes(survey: Survey): string[] {
  const there = new Set(survey.manifests.map(formatId));
  return survey.notes
    .filter(({ epoch, ids }) => epoch < survey.owner.epoch || !ids.some((id) => there.has(formatId(id))))
    .map(({ key }) => key);
}

async function isStillDeleted(store: ObjectStore, vmId: string, epoch: number): Promise<boolean> {
  const now = (await readOwner(store, vmId))?.record;
  return now?.state === 'deleted' && now.epoch === epoch;
}

/** Everything of a deleted VM but its tombstone, and what its forks began with. */
async function collectDeleted(
  store: ObjectStore,
  { vmId, epoch }: OwnerRecord,
  report: CollectReport,
  options: CollectOptions,
): Promise<CollectReport> {
  const nowMs = (options.host ?? systemHost).wallClockMs();
  const held = (await readHolds(store, vmId, nowMs)).find(({ alive }) => alive);
  if (held !== undefined)
    return { ...report, skipped: `${held.purpose} of checkpoint ${formatId(held.id)} is under way` };
  // Its snapshots are forks that nobody else knows of. Listed before that look they are of the deleted one, not of one made anew.
  const places = await snapshotPlaces(store, vmId);
  if (places.length > 0 && options.dryRun !== true && (await isStillDeleted(store, vmId, epoch))) {
    await dropPlaces(store, vmId, { places, owner: 'collector', host: options.host });
    for (const place of places) await collectGarbage(store, place, options);
  }
  // Read after the tombstone: a fork that puts its record later sees that.
  const forks = (await readForks(store, vmId, nowMs)).filter(({ alive }) => alive);
  // Records that are swapped are not deleted.
  const kept = new Set([...forks.map(({ key }) => key), snapshotsKey(vmId)]);
  for (const name of keptByForks(forks)) kept.add(packsPrefix(vmId) + name);
  report.removed = await listManifests(store, vmId);
  const keys: string[] = [];
  for await (const { key, sizeBytes } of listAll(store, vmPrefix(vmId))) {
    if (key === ownerKey(vmId) || kept.has(key)) continue;
    keys.push(key);
    if (!key.startsWith(packsPrefix(vmId))) continue;
    report.removedPacks++;
    report.removedBytes += sizeBytes;
  }
  // Manifests sort before packs: whenever this dies, what is left is whole or has no manifest.
  if (options.dryRun === true) return report;
  // A new VM may have got this name since the list was begun. What was listed before this look belongs to the deleted one.
  if (!(await isStillDeleted(store, vmId, epoch)))
    return { ...report, removed: [], removedPacks: 0, removedBytes: 0, skipped: 'it was made anew' };
  const parents = await parentsOf(store, vmId, report.removed, options.key);
  await store.delete(keys);
  await store.delete(parents.map((parent) => `${forksPrefix(parent)}${vmId}`));
  return parents.length === 0 ? report : { ...report, parents };
}

/** The VMs whose packs these manifests name. What can't be read tells nothing; then a collector of the parent finds out by the tombstone. */
async function parentsOf(
  store: ObjectStore,
  vmId: string,
  ids: readonly CheckpointId[],
  key: CheckpointKey | undefined,
): Promise<string[]> {
  const parents = new Set<string>();
  for (const id of ids)
    try {
      const manifest = await readManifest(store, vmId, id, key);
      for (const { vm } of manifest?.body.packs ?? []) if (vm !== undefined) parents.add(vm);
    } catch (error) {
      if (!isStorageError(error)) throw error;
    }
  return [...parents];
}
