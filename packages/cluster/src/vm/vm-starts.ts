/** How a VM comes to run on this node: from a standby that leads, from a machine that was prepared, or from the store. */
import { setTimeout as pause } from 'node:timers/promises';
import { CheckpointWriter, formatId, type PagePool, type StallEvent } from '@revenant/storage';
import type { ProtectedVm } from '../decisions/records.ts';
import type { LogEntry } from '../decisions/types.ts';
import { ClusterError, messageOf } from '../errors.ts';
import { keepsLog } from '../protocol/spec.ts';
import { baseNames } from './disks.ts';
import { epochName, type Epochs, type Owned } from './epochs.ts';
import { startThread, type GuestThread } from './guest-thread.ts';
import type { InputPlaces } from './input-ledger.ts';
import { ownState } from '../stored/own-state.ts';
import type { PreparedVms, ReadyVm } from './prepared-vm.ts';
import { isExact, readResumePoint, replaysBehind, type ResumePoint } from './resume.ts';
import type { SpareWorkers } from './spare-workers.ts';
import type { Lead } from './standby/handed.ts';
import { holdsLess, isOfMoment, leadOf, publish, replayWith } from './standby/lead.ts';
import { ownNote } from './standby/owner-note.ts';
import type { Standbys } from './standby/standbys.ts';
import { StandbyVm, type Standby } from './standby/standby-vm.ts';
import { threadFile } from './thread-files.ts';
import { stallEntry } from './vm-figures.ts';
import { builtinRuntimes } from './vm-runtime.ts';
import type { SessionParts } from './vm-session.ts';
import type { VmHostOptions } from './vm-host.ts';

/** Before a standby that can't be led from just now is looked at again; and how long it is tried to save what only it has. */
const leadAgainMs = 200;
const publishMs = 10_000;

/** Of what `leadOf` gives, or threw, in words. */
function whyUnused(lead: unknown, { thread }: Standby): string {
  if (lead === 'stored') return 'the store has more than it does';
  if (lead === 'foreign') return 'others had the VM since it followed it';
  if (typeof lead === 'string') return lead;
  return thread === undefined
    ? 'it is being made anew; what it holds comes behind the log'
    : 'it lacks pages of a checkpoint that is not the newest any more';
}

/** Whether the pages that its machine has not yet are those of the checkpoint that stays until they are in. */
const bringsAll = ({ rest }: Standby, { ownership: { resumeFrom } }: Owned): boolean =>
  rest === undefined || (resumeFrom !== null && formatId(resumeFrom) === rest.of);

/** A VM whose thread is there, and what its session begins with. */
export type BegunVm = Omit<SessionParts, 'host' | 'until' | 'onEnd'> & { places: InputPlaces };

export interface VmStartsParts {
  host: VmHostOptions;
  pool: PagePool;
  spare: () => SpareWorkers;
  epochs: Epochs;
  prepared: PreparedVms;
  standbys: Standbys;
  begin: (vm: BegunVm) => void;
}

export class VmStarts {
  readonly #parts: VmStartsParts;
  /** Those under way, by VM and epoch; taken out when they are not wanted any more. */
  readonly #starting = new Set<string>();

  constructor(parts: VmStartsParts) {
    this.#parts = parts;
  }

  get isAny(): boolean {
    return this.#starting.size > 0;
  }

  /** VMs that are being started. */
  get names(): string[] {
    return [...this.#starting].map((name) => name.slice(0, name.lastIndexOf('@')));
  }

  /** It is not wanted any more. */
  cancel(vmId: string, epoch: number): void {
    this.#starting.delete(epochName(vmId, epoch));
  }

  clear(): void {
    this.#starting.clear();
  }

  /** Starts it under an epoch of ours; what it meets is told as an event. */
  async run(vm: ProtectedVm, epoch: number, paused: boolean): Promise<void> {
    const { tell } = this.#parts.host;
    try {
      await this.#start(vm, epoch, paused);
    } catch (error) {
      this.#starting.delete(epochName(vm.id, epoch));
      await this.#publish(vm, epoch);
      tell({
        type: 'stopped',
        vmId: vm.id,
        epoch,
        kind: 'failed',
        reason: `did not start: ${messageOf(error)}`,
      });
    }
  }

  /** What a start needs and may not have. Throws ClusterError. */
  #startOf(vm: ProtectedVm, epoch: number): { owned: Owned; module: string } {
    const owned = this.#parts.epochs.owned(vm.id, epoch);
    const module = this.moduleOf(vm);
    if (owned === undefined) throw new ClusterError('RUNTIME', 'its epoch is not ours');
    if (module === undefined) throw new ClusterError('RUNTIME', `there is no runtime ${vm.spec.runtime}`);
    return { owned, module };
  }

  async #start(vm: ProtectedVm, epoch: number, paused: boolean): Promise<void> {
    const { host, pool } = this.#parts;
    const { owned, module } = this.#startOf(vm, epoch);
    const name = epochName(vm.id, epoch);
    this.#starting.add(name);
    if (await this.#leads(vm, epoch, paused, owned)) return;
    const { ownership, logged, standbyLost, lead } = owned;
    const { description } = vm.spec;
    const prepared = await this.#usable(this.#parts.prepared.take(vm), owned);
    const opening = CheckpointWriter.open(host.store, ownership, {
      ...{ pool, key: host.key, bases: baseNames(description) },
    });
    // Heard below, unless reading fails first.
    opening.catch(() => undefined);
    let point: ResumePoint;
    let writer: CheckpointWriter;
    try {
      const { reader } = prepared ?? {};
      point = await readResumePoint({
        ...host,
        pool,
        vm,
        ownership,
        logged,
        standbyLost,
        prepared: reader,
      });
      writer = await opening;
    } catch (error) {
      if (prepared !== undefined) await prepared.thread.end();
      throw error;
    }
    const { snapshot, lazy } = point;
    const thread = await this.#threadOf(vm, { module, point, paused, prepared: prepared?.thread });
    // All of it is with the guest now.
    owned.logged = undefined;
    owned.lead = undefined;
    // Its session may have ended while all of this was read.
    if (!this.#starting.delete(name)) return thread.end();
    const { behind, resumed } = point;
    const own = ownState(snapshot?.devices);
    this.#parts.begin({
      ...{ vm, epoch, ownership, writer, thread, lazy, paused, resumed, tail: own.console },
      handed: lead && { ...lead.handed, again: [] },
      resumedAt: snapshot?.instructions,
      liveFrom: behind?.to ?? snapshot?.instructions ?? 0n,
      nextInput: behind?.nextInput ?? BigInt(own.nextInput),
      places: { ...own.inputs, ...behind?.places },
    });
  }

  /** Whether a standby here goes on as the VM. Else what only it holds comes behind the log that is to be replayed. */
  async #leads(vm: ProtectedVm, epoch: number, paused: boolean, owned: Owned): Promise<boolean> {
    const standby = await this.#parts.standbys.take(vm);
    const said = (entry: LogEntry): void =>
      this.#parts.host.log({ vm: vm.id, node: this.#parts.host.node, epoch, ...entry });
    const lead = standby && (await this.#leadOf(vm.id, epoch, standby, owned).catch(messageOf));
    const isKnown = typeof lead === 'object';
    if (isKnown) owned.lead = lead;
    if (isKnown && standby !== undefined && holdsLess(standby, ownNote(owned.ownership))) {
      owned.standbyLost = true;
      said({
        event: 'standby-lost',
        reason: 'its standby here was made anew, and holds less than was relied on',
      });
    }
    if (isKnown && standby?.thread !== undefined && bringsAll(standby, owned)) {
      try {
        await this.#lead(vm, epoch, paused, { owned, thread: standby.thread, standby, lead });
        const { read, handed } = lead;
        const has = `it had ${String(handed.seed.length)} entries of the log that the store did not have`;
        const details = { readEntries: read, handedEntries: handed.seed.length };
        said({ event: 'standby-leads', reason: has, details });
        owned.lead = undefined;
        return true;
      } catch (error) {
        said({ event: 'standby-unused', reason: messageOf(error) });
      }
    } else if (standby !== undefined) said({ event: 'standby-unused', reason: whyUnused(lead, standby) });
    await standby?.thread?.end();
    await this.#parts.epochs.readLog(owned);
    if (isKnown && !lead.handed.gap) owned.logged = replayWith(owned, lead);
    // The record says that only we have the rest.
    else if (lead !== 'stored' && ownNote(owned.ownership) !== undefined && !owned.standbyLost) {
      owned.standbyLost = true;
      owned.lead = undefined;
      const what = isKnown
        ? 'does not follow what the store has, and its machine is gone'
        : 'is nothing any more';
      const reason = `what its standby here holds ${what}: what was seen of what only that had may be taken back`;
      said({ event: 'standby-lost', reason });
    }
    return false;
  }

  /** As `leadOf`; what the store can't give just now is waited for, while the VM is wanted here. */
  async #leadOf(vmId: string, epoch: number, standby: Standby, owned: Owned): ReturnType<typeof leadOf> {
    const { store, key } = this.#parts.host;
    for (;;)
      try {
        return await leadOf(store, standby, owned, key);
      } catch (error) {
        if (!isOfMoment(error) || !this.#starting.has(epochName(vmId, epoch))) throw error;
        await pause(leadAgainMs);
      }
  }

  async #lead(
    vm: ProtectedVm,
    epoch: number,
    paused: boolean,
    { owned, standby, thread, lead }: { owned: Owned; standby: Standby; thread: GuestThread; lead: Lead },
  ): Promise<void> {
    const { store, key } = this.#parts.host;
    const { ownership } = owned;
    const { tail, places, isFed, rest } = standby;
    const name = epochName(vm.id, epoch);
    // What it says until it leads, others may not have heard.
    thread.onOutputs = (outputs) => StandbyVm.hear(standby, outputs);
    const bases = baseNames(vm.spec.description);
    const writer = await CheckpointWriter.open(store, ownership, { pool: this.#parts.pool, key, bases });
    if (!this.#starting.delete(name)) return thread.end();
    thread.lead({ since: lead.since, paused });
    this.#parts.begin({
      ...{ vm, epoch, ownership, writer, thread, lazy: rest?.lazy, paused, tail },
      // It may have begun after the one on whose word outputs left: what that alone had, it has not.
      resumed: owned.standbyLost || !(isFed || isExact(ownership)) ? 'earlier' : 'exact',
      ...{ handed: lead.handed, places, resumedAt: lead.liveFrom },
      ...{ liveFrom: lead.liveFrom, nextInput: lead.nextInput },
    });
  }

  /** Nobody else has it: it comes into the log before the VM is given up. */
  async #publish(vm: ProtectedVm, epoch: number): Promise<void> {
    const { store, key, log, node } = this.#parts.host;
    const owned = this.#parts.epochs.owned(vm.id, epoch);
    if (owned?.lead === undefined) return;
    const limit = pause(publishMs, false, { ref: false });
    const isDone = await Promise.race([publish(store, owned, owned.lead, key).catch(() => false), limit]);
    // What is lost already stays noted: whoever is next has to say so.
    if (isDone) return owned.standbyLost ? undefined : this.#parts.epochs.unnote(owned);
    log({
      event: 'standby-lost',
      vm: vm.id,
      node,
      epoch,
      reason: 'the store does not take what only it had',
    });
  }

  /** A prepared machine can go on from a later checkpoint, and not along a log behind it. */
  async #usable(prepared: ReadyVm | undefined, { ownership, logged }: Owned): Promise<ReadyVm | undefined> {
    const manifest = ownership.chain.at(-1);
    if (prepared === undefined || logged === undefined || manifest === undefined) return prepared;
    const { nextInput } = ownState(manifest.body.devices);
    const isBehind =
      logged.to > manifest.head.instructions ||
      logged.entries.some(({ input }) => input >= BigInt(nextInput));
    if (!isBehind) return prepared;
    await prepared.thread.end();
    return undefined;
  }

  /** A thread that was prepared goes on from there; else a new one has its guest built. */
  async #threadOf(
    vm: ProtectedVm,
    parts: { module: string; point: ResumePoint; paused: boolean; prepared: GuestThread | undefined },
  ): Promise<GuestThread> {
    const { module, point, paused, prepared } = parts;
    const { snapshot, behind } = point;
    const { description, health, outputs } = vm.spec;
    const keepLog = keepsLog(outputs);
    if (prepared !== undefined && snapshot !== undefined)
      return prepared.advance(snapshot, { paused, keepLog });
    if (prepared !== undefined) await prepared.end();
    const { host, pool, spare } = this.#parts;
    return startThread({
      ...{ store: host.store, key: host.key, pool, module, description, point, paused, keepLog },
      spare: spare(),
      ...(replaysBehind(point) ? { replay: behind } : {}),
      watch: health?.watch,
      nic: vm.nic,
      onStall: this.stallOf(vm.id),
    });
  }

  /** URL of the module of its runtime; undefined: there is none of that name here. */
  moduleOf({ spec }: ProtectedVm): string | undefined {
    const { runtimes } = this.#parts.host;
    // Names come from outside: an object finds `constructor` too.
    for (const known of [runtimes, builtinRuntimes])
      if (known !== undefined && Object.hasOwn(known, spec.runtime))
        return threadFile(known[spec.runtime] ?? '');
    return undefined;
  }

  /** Who is told when the store makes a VM wait. */
  stallOf(vmId: string): (event: StallEvent) => void {
    const { log, node } = this.#parts.host;
    return (stall) => {
      log({ vm: vmId, node, ...stallEntry(stall) });
    };
  }
}
