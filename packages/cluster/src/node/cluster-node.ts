/** One node: the pure functions of src/decisions driven by real clocks, sockets, store and guests. */
import { randomUUID } from 'node:crypto';
import { uptime } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import pino from 'pino';
import {
  isStoreError,
  openStore,
  ThreadStore,
  type CheckpointKey,
  type ObjectStore,
  type RetentionPolicy,
} from '@revenant/storage';
import { step } from '../decisions/agent.ts';
import type { Command } from '../decisions/commands.ts';
import { isGone, type CommandAnswer } from '../decisions/records.ts';
import type { Settings } from '../decisions/settings.ts';
import { startAgent, type AgentState } from '../decisions/state.ts';
import type { Effect, Event, LogEntry } from '../decisions/types.ts';
import { ClusterError, messageOf, type ClusterErrorCode } from '../errors.ts';
import { bounded, maxCause } from '../protocol/limits.ts';
import { keepBases } from '../vm/disks.ts';
import { formOf } from '../vm/epochs.ts';
import { VmHost } from '../vm/vm-host.ts';
import { builtinRuntimes, monotonicMs } from '../vm/vm-runtime.ts';
import { AgentHub } from './agent-hub.ts';
import { defaultLimits, type ApiLimits } from './api-limits.ts';
import { ApiServer, type TlsFiles } from './api-server.ts';
import { Audit } from './audit.ts';
import { claimFor } from './claim.ts';
import { ConsoleHub } from './console-hub.ts';
import { ConsoleInputs, takenOf } from './console-inputs.ts';
import { DisplayHub } from './display-hub.ts';
import { measured, type StoreMeasures } from './measured-store.ts';
import { freeShare, hostMemory } from './memory.ts';
import { NodeMeasures } from './metrics.ts';
import { BlobCollector } from '../stored/blob-collector.ts';
import { requireBlobs } from '../stored/blobs.ts';
import { EventLog } from '../stored/event-log.ts';
import { HeartbeatStores } from './heartbeat-stores.ts';
import { Links } from './links.ts';
import { NodeNetworks } from '../network/node-networks.ts';
import type { ForkAnswer } from '../protocol/api.ts';
import { isOfNetworks, isOfStandby, type LinkMessage } from '../protocol/link.ts';
import { SteadyClock } from './steady-clock.ts';
import { OpenCheckpoints } from './open-checkpoints.ts';
import type { ImageShelf } from './image-shelf.ts';
import { StoreEdge } from './store-edge.ts';
import { owned } from '../owned.ts';

export interface NodeOptions {
  name: string;
  store: string;
  /** URLs of heartbeat datastores beside the store; the same on every node. */
  heartbeatStores?: readonly string[];
  /** `HOST:PORT`; port 0: any. Other than loopback only with a token. */
  listen: string;
  settings: Settings;
  token?: string;
  /** Path of the people file: further tokens, with the role of each. The same on every node. */
  people?: string | undefined;
  /** TLS for everything that the node listens to. */
  tls?: TlsFiles | undefined;
  memoryMiB?: number;
  logLevel?: string;
  /** What it gives to those who ask it. */
  limits?: ApiLimits | undefined;
  /** Allows the fault drills of /v1/drill. */
  drills?: boolean;
  runtimes?: Record<string, string>;
  /** Its own records and the list go to the store by a thread that carries nothing else (except to `memory:`, which no other thread has). */
  recordsApart?: boolean;
  /** Encrypts what is stored of guests; the same on every node. */
  key?: CheckpointKey | undefined;
  /** For how long blobs and base images that no VM refers to stay. Default: an hour. */
  blobGraceMs?: number | undefined;
  /** Which checkpoints of running VMs are kept. */
  retention?: RetentionPolicy | undefined;
  /** Guest images that its host has, for who makes VMs at the page. */
  images?: ImageShelf | undefined;
}

/** Where published ports are listened on: networks of guests know IPv4 only. */
function listenHost(address: string): string {
  const host = address.slice(0, address.lastIndexOf(':'));
  return host.includes(':') ? '127.0.0.1' : host;
}

/** Why a guest ended is told in its emulator's words: of any length, and on their way to every node. */
function boundedEvent(event: Event): Event {
  return 'reason' in event ? { ...event, reason: bounded(event.reason, maxCause) } : event;
}

function recordsWay(
  { recordsApart = false, store: url }: NodeOptions,
  store: ObjectStore,
  measures: StoreMeasures,
): ObjectStore {
  return recordsApart && !url.startsWith('memory:') ? measured(new ThreadStore(url), measures) : store;
}

/** Of what waits on a link: beyond it frames of guests are dropped, so that heartbeats don't wait behind them. */
const maxFramesBufferedBytes = 1 << 20;
/** The same of what a standby is told: what is dropped is sent again. */
const maxStandbyBufferedBytes = 2 << 20;
const lookAroundMs = 5000;
const commandMs = 8000;
const leaveMs = 30_000;
/** Below this share of free memory a node asks to be relieved. */
const minFreeShare = 0.03;

/** For how long a node that starts waits for room in its store, and how often it looks. */
const fullPatienceMs = 60_000;
const fullLookMs = 1000;

/** Does what needs room in the store; one that is full may have some soon, since the nodes that run make some. Throws as `work`. */
async function whenFull<T>(work: () => Promise<T>): Promise<T> {
  for (const until = monotonicMs() + fullPatienceMs; ; await sleep(fullLookMs))
    try {
      return await work();
    } catch (error) {
      if (!isStoreError(error, 'FULL') || monotonicMs() > until) throw error;
    }
}

export class ClusterNode {
  readonly options: NodeOptions;
  readonly store: ObjectStore;
  agent: AgentState;
  readonly measures: NodeMeasures;
  /** When it was said that a VM is to be taken over. */
  readonly #takingOver = new Map<string, number>();
  readonly consoles = new ConsoleHub();
  readonly agents = new AgentHub();
  /** Forks that this node makes, by request. */
  readonly forksUnderWay = new Map<string, Promise<ForkAnswer>>();
  readonly inputs: ConsoleInputs;
  readonly displays = new DisplayHub((vmId, fresh) => this.vms.look(vmId, fresh));
  readonly links: Links;
  readonly networks: NodeNetworks;
  /** By which way node records, the protected list and owners are read and written. */
  readonly #records: ObjectStore;
  readonly storeEdge: StoreEdge;
  readonly heartbeatStores: HeartbeatStores;
  readonly vms: VmHost;
  readonly events: EventLog;
  readonly checkpoints: OpenCheckpoints;
  readonly logger: pino.Logger;
  readonly audit = new Audit((entry) => this.#log(entry));
  readonly #api: ApiServer;
  readonly #clock = new SteadyClock(() => ({
    monotonicMs: monotonicMs(),
    bootMs: uptime() * 1000,
    wallMs: Date.now(),
  }));
  readonly #blobs: BlobCollector;
  readonly #waiting = new Map<string, (answer: CommandAnswer) => void>();
  #timers: NodeJS.Timeout[] = [];
  #left: (() => void) | undefined;
  #fail: (why: ClusterError) => void = () => undefined;
  /** Resolves when the node can't be part of the cluster and never will, with why. */
  readonly failed = new Promise<ClusterError>((resolve) => (this.#fail = resolve));
  #closing = false;

  private constructor(options: NodeOptions, store: ObjectStore, address: string, api: ApiServer) {
    this.options = options;
    this.measures = new NodeMeasures(options.name);
    this.store = measured(store, this.measures);
    store = this.store;
    this.#api = api;
    this.logger = pino(
      { level: options.logLevel ?? 'info', base: { node: options.name } },
      pino.destination(2),
    );
    this.checkpoints = new OpenCheckpoints(store, options.key);
    this.events = new EventLog(store, options.name);
    this.#blobs = new BlobCollector({
      ...{ store, key: options.key, nowMs: monotonicMs, graceMs: options.blobGraceMs },
      log: (entry) => this.#log({ node: options.name, ...entry }),
    });
    const memoryMiB = options.memoryMiB ?? Math.floor(hostMemory().totalBytes / 2 ** 20 / 2);
    const identity = {
      ...{ id: options.name, address, capacity: { memoryMiB }, reads: formOf(options.key) },
      runtimes: [...Object.keys(builtinRuntimes), ...Object.keys(options.runtimes ?? {})],
    };
    this.agent = startAgent(identity, this.#clock.now());
    const tell = (event: Event): void => this.handle(event);
    this.links = new Links({
      node: options.name,
      token: options.token ?? '',
      heard: (from, message) => {
        if (isOfNetworks(message)) this.networks.heard(from, message);
        else if (isOfStandby(message)) this.vms.heard(from, message);
        else this.handle({ type: 'message', from, message });
      },
      closed: (peer) => this.handle({ type: 'closed', peer }),
      limit: (options.limits ?? defaultLimits).links,
      refused: (why) => this.logger.warn({ event: 'link-refused', reason: why }),
    });
    this.networks = this.#makeNetworks(address);
    const { settings } = options;
    this.#records = recordsWay(options, store, this.measures);
    this.storeEdge = new StoreEdge(this.#records, Math.max(settings.leaseMs, 1000), tell, (reason) =>
      this.#log({ event: 'record-refused', node: options.name, reason }),
    );
    this.heartbeatStores = new HeartbeatStores({
      node: options.name,
      urls: options.heartbeatStores ?? [],
      store,
      lostMs: settings.deadMs,
      nowMs: monotonicMs,
      tell,
      log: (entry) => this.#log(entry),
    });
    this.inputs = new ConsoleInputs(async (vmId, inputs, typed) =>
      takenOf(await this.vms.input(vmId, inputs, typed)),
    );
    this.vms = new VmHost({
      node: options.name,
      store,
      ...{ settings, tell, failed: (error) => this.failedInside(error) },
      log: (entry) => this.#log(entry),
      send: (to, message) => this.#sendBounded(to, message, maxStandbyBufferedBytes),
      ...{ inputs: this.inputs, measures: this.measures },
      output: (vmId, epoch, piece) => this.consoles.put(vmId, epoch, piece),
      agentSaid: (vmId, epoch, bytes) => this.agents.put(vmId, epoch, bytes),
      resumed: (vmId, epoch, how) => this.#resumed(vmId, epoch, how),
      network: this.networks,
      key: options.key,
      retention: options.retention,
      ...(options.runtimes === undefined ? {} : { runtimes: options.runtimes }),
    });
  }

  #resumed(vmId: string, epoch: number, how: Parameters<ConsoleHub['begin']>[2]): void {
    this.consoles.begin(vmId, epoch, how);
    this.agents.begin(vmId, epoch);
  }

  /** Dropped when more than so much is on its way already. */
  #sendBounded(to: string, message: LinkMessage, maxBufferedBytes: number): void {
    this.links.send(to, this.agent.peers.get(to)?.view?.address, message, maxBufferedBytes);
  }

  #makeNetworks(address: string): NodeNetworks {
    return new NodeNetworks({
      node: this.options.name,
      host: listenHost(address),
      send: (to, message) => this.#sendBounded(to, message, maxFramesBufferedBytes),
      log: (entry) => this.#log(entry),
      nowMs: monotonicMs,
    });
  }

  /** Starts a node: opens its store, listens, joins. Resolves once it listens. */
  static async start(options: NodeOptions): Promise<ClusterNode> {
    const api = await ApiServer.listen(options);
    try {
      const store = await whenFull(() => openStore(options.store));
      const { token, settings } = options;
      try {
        await whenFull(() => claimFor(store, { token, watchMs: settings.deadMs }));
      } catch (error) {
        await store.close();
        throw error;
      }
      const node = new ClusterNode(options, store, api.address, api);
      api.serve(node);
      const failed = (error: unknown): void => node.failedInside(error);
      node.#timers = [
        setInterval(
          owned(() => node.handle({ type: 'tick' }), failed),
          settings.tickMs,
        ),
        setInterval(
          owned(() => node.#lookAround(), failed),
          lookAroundMs,
        ),
      ];
      return node;
    } catch (error) {
      await api.close();
      throw error;
    }
  }

  get address(): string {
    return this.#api.address;
  }

  get api(): ApiServer {
    return this.#api;
  }

  /** Why a VM takes no input here just now, in words; undefined when it does. */
  inputTrouble(vmId: string): string | undefined {
    const trouble = this.vms.inputTrouble(vmId);
    if (trouble !== undefined) return trouble;
    const { leaseUntil } = this.agent;
    return this.now() < leaseUntil ? undefined : 'suspended: the store does not answer';
  }

  handle(event: Event): void {
    if (this.#closing) return;
    const bounds = boundedEvent(event);
    const before = this.agent.list;
    const { state, effects } = step(this.agent, this.now(), bounds, this.options.settings);
    this.agent = state;
    for (const effect of effects) this.#do(effect);
    if (state.list !== before) this.consoles.forget((vmId, epoch) => isGone(state.list, vmId, epoch));
    if (event.type === 'tick' || state.list !== before) this.networks.see(state);
  }

  /** The time of our decisions. When it is found that the monotonic clock stood still, the lease of our guests is shortened by as much. */
  now(): number {
    const before = this.#clock.lostMs;
    const now = this.#clock.now();
    const lostMs = this.#clock.lostMs - before;
    if (lostMs > 0) {
      this.vms.do({ type: 'grant', until: this.agent.leaseUntil - this.#clock.lostMs });
      this.#log({
        event: 'clock-stood-still',
        node: this.agent.id,
        reason: 'the monotonic clock missed what another clock of this host shows to have passed',
        details: { lostMs: Math.round(lostMs) },
      });
    }
    return now;
  }

  #do(effect: Effect): void {
    switch (effect.type) {
      case 'raise':
        this.#takingOver.set(effect.vmId, monotonicMs());
        return this.vms.do(effect);
      case 'send': {
        const address = this.agent.peers.get(effect.to)?.view?.address;
        return this.links.send(effect.to, address, effect.message);
      }
      case 'answer':
        return this.#waiting.get(effect.answer.id)?.(effect.answer);
      case 'log':
        return this.#log(effect.entry);
      case 'name-in-use':
        return this.#nameInUse(effect.address);
      case 'left':
        return this.#left?.();
      case 'get-record':
      case 'get-list':
      case 'get-owner':
      case 'list-records':
      case 'put-record':
      case 'put-list':
        return this.storeEdge.do(effect);
      case 'put-beat':
        return this.heartbeatStores.put(effect.beat);
      case 'get-beats':
        return this.heartbeatStores.get(effect.node);
      case 'grant':
        // Guests' threads look at the monotonic clock alone.
        return this.vms.do({ ...effect, until: effect.until - this.#clock.lostMs });
      default:
        return this.vms.do(effect);
    }
  }

  #log(entry: LogEntry): void {
    // Under which epoch we have the VM just now, if we have it.
    const epoch = entry.epoch ?? this.agent.local.get(entry.vm ?? '')?.epoch ?? 0;
    if (entry.event === 'vm-executes') {
      const since = this.#takingOver.get(entry.vm ?? '');
      if (since !== undefined) this.measures.tookOver(monotonicMs() - since);
      this.#takingOver.delete(entry.vm ?? '');
    }
    if (entry.event === 'vm-rebalancing') this.measures.rebalanced();
    const event = this.events.add(epoch > 0 ? { ...entry, epoch } : entry);
    this.logger.info(event, `${entry.event} ${entry.vm ?? entry.node ?? ''}`);
  }

  #lookAround(): void {
    // One is enough, and two do no harm.
    if (this.agent.master !== undefined) this.#blobs.look();
    const short = freeShare() < minFreeShare;
    if (this.agent.view.pressure !== 'leaving')
      this.handle({ type: 'pressure', pressure: short ? 'memory' : 'none' });
  }

  /**
   * Has a command carried out by the master. Repeating it with the same id does it once.
   * @throws ClusterError as `applyCommand` does; `NO_MASTER` and `TIMEOUT` may be tried again.
   */
  async command(command: Command, id: string = randomUUID()): Promise<void> {
    if (command.type === 'vm-create') {
      const { spec } = command;
      await requireBlobs(this.store, spec);
      if (spec.runtime === 'machine') await keepBases(this.store, spec.description, this.options.key);
    }
    const answer = await new Promise<CommandAnswer>((resolve, reject) => {
      const late = (): void => {
        this.#waiting.delete(id);
        reject(new ClusterError('TIMEOUT', 'the master did not answer', { hint: 'repeat with the same id' }));
      };
      const timer = setTimeout(owned(late, reject), commandMs);
      this.#waiting.set(id, (given) => {
        clearTimeout(timer);
        this.#waiting.delete(id);
        resolve(given);
      });
      this.handle({ type: 'command', id, command });
    });
    if (answer.error !== null)
      throw new ClusterError(answer.error.code as ClusterErrorCode, answer.error.message);
  }

  /** Something went wrong in the node itself: it says so and ends, and others take its VMs over. */
  failedInside(error: unknown): void {
    if (this.#closing) return;
    const reason = `a fault of the node itself: ${messageOf(error)}`;
    this.#fail(
      new ClusterError('RUNTIME', reason, { cause: error, hint: 'report it, with the lines of its log' }),
    );
    this.logger.error({ error }, reason);
    this.events.add({ event: 'node-failed', node: this.options.name, reason });
  }

  /** We are not part of the cluster, and can't become it: whoever started us is to hear so. */
  #nameInUse(address: string): void {
    const { name, store } = this.options;
    const reason = `a node named ${name} is alive on the store ${store.split('?')[0]!}, at ${address}`;
    this.#log({ event: 'name-in-use', node: name, reason });
    this.#fail(
      new ClusterError('NAME_IN_USE', reason, { hint: 'choose another --name, or stop that node first' }),
    );
  }

  /** Leaves in order: VMs are moved to others first, for at most half a minute. */
  async leave(): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, leaveMs);
      this.#left = () => {
        clearTimeout(timer);
        resolve();
      };
      this.handle({ type: 'leave' });
    });
    await this.close();
  }

  /** Stops at once, as a crash would, but without leaving workers behind. */
  async close(): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    for (const timer of this.#timers) clearInterval(timer);
    this.links.close();
    await this.networks.close();
    await this.#api.close();
    await this.vms.close();
    await this.checkpoints.close();
    await this.events.close();
    await this.heartbeatStores.close();
    if (this.#records !== this.store) await this.#records.close();
    // What others rely on was made durable when it was written. A store that is away must keep nobody from ending.
    await this.store.close().catch((error: unknown) => {
      const reason = messageOf(error);
      this.logger.warn({ event: 'store-not-flushed', reason }, `the last events may be lost: ${reason}`);
    });
  }
}
