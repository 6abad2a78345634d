/**
 * The thread that runs one guest, and what it shares with the thread that has the store. It is given inputs, asked questions, and says
 * outputs, log and news.
 */
import { randomBytes } from 'node:crypto';
import type { Worker } from 'node:worker_threads';
import { encodeInputs, type InputResult, type MachineInput } from '@revenant/emulator';
import {
  insist,
  type CheckpointKey,
  type MachineSnapshot,
  type ObjectStore,
  type PagePool,
  type PageServer,
  type StallEvent,
} from '@revenant/storage';
import type { HealthPolicy } from '../decisions/health.ts';
import type { Nic } from '../decisions/records.ts';
import { ClusterError, messageOf } from '../errors.ts';
import { servePages } from './disks.ts';
import { ownState } from '../stored/own-state.ts';
import { readBlobs, type ResumePoint } from './resume.ts';
import type { SpareWorkers } from './spare-workers.ts';
import { whyEnded } from './thread-memory.ts';
import type {
  Blobs,
  FromWorker,
  Question,
  QuestionName,
  Questions,
  Replay,
  ToWorker,
  WorkerStart,
} from './vm-runtime.ts';

/** Short, as a turn that began within the lease may end after it. */
const sliceInstructions = 2_000_000;
/** The most bytes of inputs that the thread has not answered yet. */
const maxInFlightBytes = 2 ** 20;

/** Different for every start and resume. */
const newGeneration = (): Uint8Array => randomBytes(16);

export type Outputs = Extract<FromWorker, { type: 'outputs' }>;

interface Waiting {
  resolve: (value: unknown) => void;
  reject: (error: Error) => void;
}

export class GuestThread {
  readonly worker: Worker;
  /** Until when the guest may run, and how many of its messages were heard. */
  readonly lease: Float64Array;
  /** Serves base images of its disks, and pages of RAM that come late; undefined when there are none. */
  readonly pages: PageServer | undefined;
  /** Hears what the thread says of its own accord. */
  onOutputs: (outputs: Outputs) => void = () => undefined;
  /** Is told that the thread ended by itself. */
  onFailed: (reason: string) => void = () => undefined;
  /** Resolves when its guest is there, or goes on from a later state. */
  started: Promise<unknown> = Promise.resolve();
  readonly #waiting = new Map<number, Waiting>();
  #asked = 0;
  #inFlightBytes = 0;
  #over = false;

  constructor(parts: { worker: Worker; lease: Float64Array; pages: PageServer | undefined }) {
    this.worker = parts.worker;
    this.lease = parts.lease;
    this.pages = parts.pages;
    this.worker.on('message', (message: FromWorker) => this.#heard(message));
    this.worker.on('error', (error) => this.#failed(whyEnded(error)));
    this.worker.on('exit', () => this.#failed('its worker ended'));
  }

  /** For how long the thread has worked. */
  get busyMs(): number {
    return this.#over ? 0 : this.worker.performance.eventLoopUtilization().active;
  }

  #heard(message: FromWorker): void {
    if (message.type === 'answer') {
      const waiting = this.#waiting.get(message.id);
      this.#waiting.delete(message.id);
      waiting?.resolve(message.value);
      return;
    }
    if (this.#over) return;
    if (message.upTo !== undefined) this.lease[1]!++;
    const { news } = message;
    if (news?.kind === 'ended' && news.reason === 'failed') this.#forget(news.message);
    try {
      this.onOutputs(message);
    } catch (error) {
      // What a guest's thread says may be wrong in any way: it costs that guest, never its node.
      this.#failed(messageOf(error));
    }
  }

  #failed(reason: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#forget(reason);
    this.onFailed(reason);
  }

  #forget(reason: string): void {
    for (const { reject } of this.#waiting.values()) reject(new ClusterError('RUNTIME', reason));
    this.#waiting.clear();
  }

  #post(message: ToWorker, transfer: readonly Transferred[] = []): Promise<unknown> {
    if (this.#over || this.worker.threadId < 0)
      return Promise.reject(new ClusterError('RUNTIME', 'its worker ended'));
    return new Promise((resolve, reject) => {
      this.#waiting.set(message.id, { resolve, reject });
      this.worker.postMessage(message, transfer);
    });
  }

  /** @throws ClusterError when the thread ends before it answers */
  async ask<K extends QuestionName>(
    name: K,
    ask: Questions[K]['ask'],
    transfer: readonly Transferred[] = [],
  ): Promise<Questions[K]['answer']> {
    const question = { name, ...ask } as unknown as Question;
    return (await this.#post(
      { type: 'ask', id: ++this.#asked, question },
      transfer,
    )) as Questions[K]['answer'];
  }

  /**
   * Gives the guest inputs; resolves to what became of each. More than 1 MiB on its way is refused whole, as `full`.
   * @throws ClusterError when the thread ends before it answers
   */
  async input(inputs: readonly MachineInput[]): Promise<InputResult[]> {
    const bytes = encodeInputs(inputs);
    if (this.#inFlightBytes + bytes.length > maxInFlightBytes) return inputs.map(() => 'full');
    this.#inFlightBytes += bytes.length;
    try {
      const results = (await this.#post({ type: 'inputs', id: ++this.#asked, bytes })) as InputResult[];
      insist(results.length === inputs.length, 'not each input was answered');
      return results;
    } finally {
      this.#inFlightBytes -= bytes.length;
    }
  }

  /** Has a guest that was built to wait go on, once it has a lease, from a later state than it was built from. */
  advance(changes: MachineSnapshot, { paused, keepLog }: { paused: boolean; keepLog: boolean }): this {
    if (keepLog) this.ask('keepLog', { on: true }).catch(() => undefined);
    this.started = this.ask('advance', { changes, generation: newGeneration(), paused });
    this.started.catch(() => undefined);
    return this;
  }

  /** Has a guest that follows another go live, once it has done all that it was told. */
  lead({ since, paused }: { since: number | undefined; paused: boolean }): this {
    this.started = this.ask('lead', { since, paused, generation: newGeneration() });
    this.started.catch(() => undefined);
    return this;
  }

  /** Nobody needs the guest any more. */
  async end(): Promise<void> {
    this.#over = true;
    this.lease[0] = -Infinity;
    this.pages?.close();
    this.#forget('it is not needed any more');
    await this.worker.terminate();
  }
}

type Transferred = NonNullable<Parameters<Worker['postMessage']>[1]>[number];

/**
 * Has a guest built from a resume point, in a thread of its own: see `started`. It has no lease yet.
 * @throws StorageError, StoreError; ClusterError for a base image that is not the right one
 */
export async function startThread(options: {
  store: ObjectStore;
  pool: PagePool;
  key?: CheckpointKey | undefined;
  spare: SpareWorkers;
  /** URL of the runtime's module. */
  module: string;
  description: unknown;
  point: ResumePoint;
  paused: boolean;
  keepLog?: boolean;
  /** Its network card. */
  nic?: Nic | undefined;
  replay?: Replay | undefined;
  follows?: boolean;
  watch: HealthPolicy['watch'] | undefined;
  onStall: (event: StallEvent) => void;
}): Promise<GuestThread> {
  const {
    store,
    pool,
    key,
    spare,
    module,
    description,
    point,
    paused,
    keepLog = false,
    nic,
    replay,
    follows = false,
    watch,
    onStall,
  } = options;
  const { snapshot, disks, lazy } = point;
  const blobs: Blobs = snapshot === undefined ? await readBlobs(store, description) : new Map();
  const served = await servePages(store, description, { pool, key, ram: lazy, onStall });
  const memory = new SharedArrayBuffer(16);
  const lease = new Float64Array(memory);
  lease[0] = -Infinity;
  const start: WorkerStart = {
    module,
    start: {
      description,
      snapshot,
      blobs,
      generation: newGeneration(),
      identical: ownState(snapshot?.devices).identical,
      disks,
      pages: served?.ends,
      absentRam: lazy?.absent,
      nic,
      keepLog,
      replay,
      follows,
    },
    lease: memory,
    paused,
    sliceInstructions: sliceInstructions,
    watch,
  };
  const thread = new GuestThread({ worker: spare.take(module), lease, pages: served?.server });
  thread.started = thread.ask('start', { start }, served === undefined ? [] : [served.ends.port]);
  thread.started.catch(() => undefined);
  return thread;
}
