/**
 * A VM that another node runs, followed here: a machine made from its newest checkpoint does all that the VM's log says, as it is made. It
 * says how far it is, compares itself with its owner at each checkpoint, and is there when the owner is not. What goes wrong here costs
 * nobody else anything: it is made anew from the newest checkpoint.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { decodeOutputs, type StampedOutput } from '@revenant/emulator';
import {
  formatId,
  LogReader,
  openCheckpoint,
  readOwner,
  type CheckpointKey,
  type CheckpointReader,
  type ObjectStore,
  type PagePool,
  type ReadEntry,
  type StallEvent,
} from '@revenant/storage';
import type { ProtectedVm } from '../../decisions/records.ts';
import type { LogEntry, StandbySource } from '../../decisions/types.ts';
import { ClusterError, messageOf } from '../../errors.ts';
import { bounded } from '../../protocol/limits.ts';
import type { StandbyAck, StandbyFeed, StandbyMessage, StandbySums } from '../../protocol/standby.ts';
import { ConsoleTail, type TailState } from '../console-tail.ts';
import { startThread, type GuestThread, type Outputs } from '../guest-thread.ts';
import type { InputPlaces } from '../input-ledger.ts';
import { LazyRam } from '../lazy-ram.ts';
import { openBatch } from '../log-batch.ts';
import { ownState } from '../../stored/own-state.ts';
import { isOfBoot, lazyRuntime, readBlobs, type ResumePoint } from '../resume.ts';
import type { SpareWorkers } from '../spare-workers.ts';
import { monotonicMs, type GuestNews } from '../vm-runtime.ts';
import { Comparison } from './comparison.ts';
import { isOfMoment } from './lead.ts';
import { LogCopy } from './copy.ts';
import { unpackNumbers } from './state-sums.ts';

/** Before it is made anew. */
const againMs = 1000;
/** Between looks at the log in the store, while its owner says nothing. */
const lookMs = 200;
/** Of what its machine is still to do. */
const maxBehindBytes = 64 << 20;
/** Of what its guest said and its owner may not have let out. */
const maxSaidBytes = 8 << 20;
/** And of one whose owner says nothing. */
const maxUnheardBytes = 64 << 20;

export interface StandbyVmOptions {
  vm: ProtectedVm;
  source: StandbySource;
  node: string;
  store: ObjectStore;
  pool: PagePool;
  key?: CheckpointKey | undefined;
  spare: SpareWorkers;
  /** URL of the runtime's module. */
  module: string;
  send: (to: string, message: StandbyMessage) => void;
  log: (entry: LogEntry) => void;
  onStall: (event: StallEvent) => void;
}

/** What the owner of a VM was told that is held here of its log, under an epoch. */
export interface Promised {
  boot: number;
  epoch: number;
  next: number;
  mark: bigint;
}

/** A machine that has done all that it heard of, and what only it has. */
export interface Standby {
  /** Undefined: it is being made anew; what it holds of the log is right all the same. */
  thread: GuestThread | undefined;
  copy: LogCopy;
  /** The number of the first entry that was not in the checkpoint that it was made from. */
  base: number;
  /** The epoch that it followed. */
  epoch: number;
  places: InputPlaces;
  /** What its guest said behind what its owner let out for sure. */
  said: StampedOutput[];
  tail: TailState | undefined;
  /** Whether its owner told it what came in, and may have let outputs out on its word. */
  isFed: boolean;
  /** Brings the pages that its machine has not yet, of the checkpoint of that name. */
  rest?: { lazy: LazyRam; of: string } | undefined;
  /** By this machine, or by one that was here before it. */
  promised?: Promised | undefined;
}

/** One try to follow: from a checkpoint on, until something goes wrong. */
interface Following {
  base: number;
  /** Of the checkpoint that its machine was made from. */
  baseEpoch: number;
  thread: GuestThread;
  copy: LogCopy;
  comparison: Comparison;
  /** Its machine sums all of its memory from time to time. */
  isSummed: boolean;
  epoch: number;
  places: InputPlaces;
  said: StampedOutput[];
  saidBytes: number;
  tail: ConsoleTail;
  replayed: bigint;
  /** Entries that it may not have done yet. */
  behind: { count: bigint; bytes: number }[];
  behindBytes: number;
  reading: boolean;
  /** Of its memory, what has not come yet. */
  rest: Standby['rest'];
}

type Remains = Pick<Following, 'base' | 'copy' | 'epoch' | 'places'>;

/** Whether one holds all that the other does. */
const hasAll = (one: Remains, other: Remains): boolean =>
  one.epoch > other.epoch || (one.copy.next >= other.copy.next && one.copy.mark >= other.copy.mark);

export class StandbyVm {
  readonly #options: StandbyVmOptions;
  #following: Following | undefined;
  /** What an earlier try held, which its owner may have relied on. */
  #remains: Remains | undefined;
  #owner: string | undefined;
  /** The newest epoch heard of. */
  #heardEpoch = 0;
  #state: StandbyAck['state'] = 'preparing';
  #reason = 'it is being made';
  #over = false;
  #working: Promise<void>;
  #wrong: (why: ClusterError) => void = () => undefined;
  #thread: GuestThread | undefined;
  /** Whoever took its machine brings the rest of its memory. */
  #handsRest = false;
  /** Its first try follows, or came to nothing. */
  readonly #tried = Promise.withResolvers<undefined>();

  constructor(options: StandbyVmOptions) {
    this.#options = options;
    this.#working = this.#work();
  }

  /** Else it was made before anybody knew whether it is needed, and in a hurry. */
  get #isFed(): boolean {
    return this.#options.source === 'owner' || this.#owner !== undefined;
  }

  get isFollowing(): boolean {
    return this.#following !== undefined;
  }

  get vm(): ProtectedVm {
    return this.#options.vm;
  }

  async #work(): Promise<void> {
    while (!this.#over) {
      const wrong = new Promise<never>((_, reject) => (this.#wrong = reject));
      wrong.catch(() => undefined);
      try {
        await Promise.race([Promise.all([this.#follow(), this.#lookOn()]), wrong]);
        await wrong;
      } catch (error) {
        this.#tried.resolve(undefined);
        if (this.#over) return;
        this.#reason = bounded(messageOf(error));
        // What it held to be alike is over; that it differed stays to be seen.
        if (this.#state !== 'diverged' || this.#following === undefined) this.#state = 'preparing';
      }
      await this.#drop();
      this.#acknowledge(false);
      await pause(againMs, undefined, { ref: false });
    }
  }

  async #drop(): Promise<void> {
    const thread = this.#thread;
    this.#remains = this.#best;
    this.#following = undefined;
    this.#thread = undefined;
    await thread?.end();
  }

  /** Of what it holds, the most. */
  get #best(): Remains | undefined {
    const [now, before] = [this.#following, this.#remains];
    return now === undefined || (before !== undefined && !hasAll(now, before)) ? before : now;
  }

  /** Makes its machine, and has it do what the store's log says. */
  async #follow(): Promise<void> {
    const { store, pool, key, vm } = this.#options;
    const epoch = (await readOwner(store, vm.id))?.record.epoch ?? 0;
    const reader = await openCheckpoint(store, vm.id, { pool, key });
    let lazy: LazyRam | undefined;
    try {
      if (!isOfBoot(reader, vm))
        throw new ClusterError('RUNTIME', 'its newest checkpoint is of another boot');
      if (vm.spec.runtime === lazyRuntime) lazy = await LazyRam.open(reader);
      const snapshot = lazy?.snapshot ?? (await reader.readSnapshot({ onBase: true }));
      const thread = await this.#start({ snapshot, disks: [], lazy, resumed: 'exact' });
      await thread.started;
      const isFed = this.#isFed;
      const bring = async (): Promise<void> => {
        await lazy?.runBackground(async (pages) => {
          lazy?.touched((await thread.ask('deliver', pages)).touched);
        });
      };
      if (isFed) await bring();
      const own = ownState(reader.state.devices);
      const base = { next: own.nextInput, mark: reader.head.instructions };
      // Nobody compares itself with one that is not fed.
      const sums = isFed ? await thread.ask('sum', {}) : { rest: '', pages: {}, memory: undefined };
      const of = formatId(reader.id);
      const following: Following = {
        ...{
          base: base.next,
          baseEpoch: reader.id.epoch,
          thread,
          copy: new LogCopy(base),
          epoch,
          places: own.inputs,
          said: [],
          saidBytes: 0,
        },
        ...{ tail: new ConsoleTail(own.console, monotonicMs()), replayed: base.mark },
        ...{ behind: [], behindBytes: 0, reading: false },
        isSummed: isFed,
        rest: isFed || lazy === undefined ? undefined : { lazy, of },
        comparison: new Comparison({ ...sums, cut: base.next }, of),
      };
      if (this.#over || this.#thread !== thread) return;
      await this.#readStore(following);
      if (this.#heardEpoch > epoch) throw new ClusterError('RUNTIME', 'the VM has another owner now');
      this.#following = following;
      this.#tried.resolve(undefined);
      if (!isFed) await bring();
      following.rest = undefined;
      this.#state = 'following';
      this.#reason = '';
      this.#acknowledge(false);
    } finally {
      if (!this.#handsRest) await closeOf(reader, lazy);
    }
  }

  /** While its owner is silent, the store says what came in. */
  async #lookOn(): Promise<void> {
    while (!this.#over && !this.#isFed) {
      await pause(lookMs, undefined, { ref: false });
      const following = this.#following;
      if (following === undefined || following.reading) continue;
      await this.#readStore(following).catch((error: unknown) => {
        if (!isOfMoment(error)) throw error;
      });
    }
  }

  async #start(point: ResumePoint): Promise<GuestThread> {
    const { vm, ...options } = this.#options;
    const { description, health } = vm.spec;
    const thread = await startThread({
      ...{ ...options, description, point, watch: health?.watch, nic: vm.nic },
      ...{ paused: false, follows: true },
    });
    this.#thread = thread;
    thread.onFailed = (reason) => this.#failed(reason);
    thread.onOutputs = (outputs) => this.#heardGuest(outputs);
    // What it does was done already, by whoever had a lease.
    thread.lease[0] = Infinity;
    if (this.#over) await this.#drop();
    return thread;
  }

  // --- what comes in ---

  heard(from: string, message: StandbyFeed | StandbySums): void {
    if (this.#over || message.epoch < this.#heardEpoch) return;
    this.#owner = from;
    this.#heardEpoch = message.epoch;
    const following = this.#following;
    if (following === undefined) return this.#acknowledge(false);
    if (message.epoch !== following.epoch)
      return this.#wrong(new ClusterError('RUNTIME', 'the VM has another owner now'));
    try {
      if (message.type === 'standby-sums') this.#summed(following, message);
      else this.#fed(following, message);
    } catch (error) {
      // What its owner says may be wrong in any way: it costs this machine, never its node.
      this.#wrong(new ClusterError('RUNTIME', messageOf(error), { cause: error }));
    }
  }

  #fed(following: Following, message: StandbyFeed): void {
    const { fresh, missing } = following.copy.heard(message);
    this.#letOut(following);
    this.#further(following, fresh);
    this.#acknowledge(missing === 'owner');
    if (missing === 'store' && !following.reading)
      this.#readStore(following).then(
        () => this.#acknowledge(false),
        (error: unknown) => this.#wrong(new ClusterError('RUNTIME', messageOf(error), { cause: error })),
      );
    if (following.copy.isTooMuch || following.behindBytes > maxBehindBytes)
      this.#wrong(new ClusterError('RUNTIME', 'it fell too far behind'));
  }

  /** What its owner can't send any more, or it was never sent. */
  async #readStore(following: Following): Promise<void> {
    const { store, vm, key } = this.#options;
    const { copy, baseEpoch } = following;
    following.reading = true;
    try {
      const reader = await LogReader.open(store, vm.id, { after: copy.mark, base: baseEpoch, key });
      if (reader === undefined) return;
      if (reader.from > copy.mark)
        throw new ClusterError('RUNTIME', 'the log does not go on from its newest checkpoint');
      const entries: ReadEntry[] = [];
      for await (const entry of reader.entries()) entries.push(entry);
      if (this.#over) return;
      // What its owner sent meanwhile may have been more.
      if (reader.to >= copy.mark) this.#further(following, copy.read(entries, reader.to));
    } finally {
      following.reading = false;
    }
  }

  #further(following: Following, fresh: readonly ReadEntry[]): void {
    const { thread, copy } = following;
    const entries = fresh.map(({ payload, input, count }) => {
      const { log, places } = openBatch(payload);
      following.places = { ...following.places, ...places };
      following.behind.push({ count, bytes: log.length });
      following.behindBytes += log.length;
      return { log, next: Number(input) + 1 };
    });
    thread.ask('further', { entries, to: copy.mark }).catch(() => undefined);
  }

  #summed(following: Following, { cut, before, checkpoint, rest, pages }: StandbySums): void {
    if (!following.isSummed) following.thread.ask('sum', {}).catch(() => undefined);
    following.isSummed = true;
    const each = pages.map(({ space, indexes, sums }) => [
      space,
      { indexes: unpackNumbers(indexes), sums: unpackNumbers(sums) },
    ]);
    const sums = { cut, before, checkpoint, rest, pages: Object.fromEntries(each) as never };
    this.#differs(following, following.comparison.said(sums));
  }

  // --- its guest ---

  #heardGuest({ outputs, news }: Outputs): void {
    const following = this.#following;
    if (following !== undefined && outputs !== undefined) {
      for (const entry of decodeOutputs(outputs)) {
        following.said.push(entry);
        following.saidBytes += sizeOf(entry);
      }
      this.#letOut(following);
    }
    // Nobody says what was let out of it.
    if (!this.#isFed && following !== undefined && following.saidBytes > maxUnheardBytes)
      this.#wrong(new ClusterError('RUNTIME', 'its guest says more than is kept'));
    if (news !== undefined) this.#news(news);
  }

  /** Forgets what its owner let out. */
  #letOut(following: Following): void {
    const { said, copy, tail } = following;
    let count = 0;
    for (const entry of said) {
      if (entry.instructions >= copy.left && (following.saidBytes <= maxSaidBytes || !this.#isFed)) break;
      tail.said(entry);
      tail.left(entry, monotonicMs());
      following.saidBytes -= sizeOf(entry);
      count++;
    }
    said.splice(0, count);
  }

  #news(news: GuestNews): void {
    const following = this.#following;
    switch (news.kind) {
      case 'cut':
        if (following !== undefined) this.#differs(following, following.comparison.cut(news.cut));
        return;
      case 'progress': {
        if (following === undefined) return;
        following.replayed = news.instructions;
        while (following.behind[0] !== undefined && following.behind[0].count <= news.instructions)
          following.behindBytes -= following.behind.shift()!.bytes;
        return;
      }
      case 'reset':
        return void this.#boot();
      case 'ended':
        return news.reason === 'failed' ? this.#failed(news.message) : undefined;
      // A debugger is at the owner's machine; what it writes there comes as inputs.
      case 'debugger':
      case 'first-slice':
    }
  }

  async #boot(): Promise<void> {
    const { vm, store } = this.#options;
    const { description } = vm.spec;
    try {
      const blobs = await readBlobs(store, description);
      await this.#thread?.ask('boot', { description, blobs });
    } catch (error) {
      this.#wrong(new ClusterError('RUNTIME', messageOf(error), { cause: error }));
    }
  }

  /** Its thread ended: while it follows that is a difference from its owner, whose did not. */
  #failed(reason: string): void {
    if (this.#over) return;
    const following = this.#following;
    if (following !== undefined) this.#differs(following, bounded(reason, 200));
    else this.#wrong(new ClusterError('RUNTIME', reason));
  }

  /** The alarm. What it holds of the log is right all the same; its machine is not. */
  #differs(following: Following, what: string | undefined): void {
    if (what === undefined || this.#following !== following || this.#over) return;
    const { vm, node, log } = this.#options;
    const after = following.comparison.checked ?? 'none';
    const reason = `it differs from its owner (${what}), and did not at checkpoint ${after}: it is made anew`;
    log({ event: 'standby-diverged', vm: vm.id, node, reason, details: { after } });
    this.#state = 'diverged';
    this.#wrong(new ClusterError('RUNTIME', reason));
  }

  #acknowledge(missing: boolean): void {
    const { vm, send } = this.#options;
    const following = this.#following;
    if (this.#owner === undefined || this.#over) return;
    send(this.#owner, {
      ...{ type: 'standby-ack', vmId: vm.id, epoch: this.#heardEpoch, state: this.#state },
      ...{ reason: this.#reason, missing, checked: following?.comparison.checked ?? null },
      next: following?.copy.next ?? 0,
      mark: Number(following?.copy.mark ?? 0n),
      replayed: Number(following?.replayed ?? 0n),
    });
  }

  /** Its machine and what it holds, for whoever takes the VM over; undefined when it holds nothing. It is over then. */
  async take(): Promise<Standby | undefined> {
    // It is further than one that would be begun now.
    if (!this.#isFed && !this.#over) await this.#tried.promise;
    const following = this.#following;
    const best = this.#over ? undefined : this.#best;
    if (following === undefined || best !== following) {
      await this.close();
      return best && { ...best, thread: undefined, said: [], tail: undefined, isFed: this.#isFed };
    }
    this.#over = true;
    const { rest } = following;
    this.#handsRest = rest !== undefined;
    this.#wrong(new ClusterError('RUNTIME', 'it leads'));
    const { thread, copy, base, epoch, said, tail } = following;
    const has = { thread, copy, base, epoch, said, rest, isFed: this.#isFed };
    return { ...has, places: following.places, tail: tail.state(monotonicMs()) };
  }

  /** Of what was taken: what its guest says until it leads. */
  static hear(standby: Standby, { outputs }: Outputs): void {
    if (outputs !== undefined) standby.said.push(...decodeOutputs(outputs));
  }

  async close(): Promise<void> {
    this.#over = true;
    this.#wrong(new ClusterError('RUNTIME', 'it is not needed any more'));
    await this.#working;
    await this.#drop();
  }
}

const sizeOf = ({ output }: StampedOutput): number => 64 + ('bytes' in output ? output.bytes.length : 0);

async function closeOf(reader: CheckpointReader, lazy: LazyRam | undefined): Promise<void> {
  lazy?.stop();
  await reader.close();
}
