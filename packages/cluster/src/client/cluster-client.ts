/**
 * The programmatic side of the commands `vm …` and `cluster …`: speaks to any node that answers, finds the nodes through the
 * store when it is given one, and follows consoles through failovers.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type * as v from 'valibot';
import type { TextScreen } from '@revenant/emulator';
import { openStore, type ObjectStore } from '@revenant/storage';
import type { Command } from '../decisions/commands.ts';
import { owned } from '../owned.ts';
import { ClusterError, isClusterError } from '../errors.ts';
import {
  blobDoneSchema,
  challengeAnswerSchema,
  clusterStatusSchema,
  commandDoneSchema,
  eventsAnswerSchema,
  forkAnswerSchema,
  keysRequestSchema,
  mediumRequestSchema,
  pressedAnswerSchema,
  screenAnswerSchema,
  standbyAnswerSchema,
  type StandbyAnswer,
  type ClusterEvent,
  type ClusterStatus,
  type ForkRequest,
  type MediumRequest,
} from '../protocol/api.ts';
import { checkpointsAnswerSchema, type ListedCheckpoint } from '../protocol/checkpoints.ts';
import { nodeFiguresSchema, vmFiguresSchema, type NodeFigures, type VmSample } from '../protocol/figures.ts';
import type { DisplayPicture } from '../protocol/display-ends.ts';
import type { ProtectedVm } from '../protocol/records.ts';
import {
  snapshotDroppedSchema,
  snapshotSchema,
  snapshotsAnswerSchema,
  type Snapshot,
} from '../protocol/snapshots.ts';
import { requestProof, sha256 } from '../mac.ts';
import type { Caller } from '../protocol/page.ts';
import { httpUrl, wsUrl } from '../protocol/address.ts';
import {
  authHeader,
  authScheme,
  bodyHeader,
  onBehalfHeader,
  proofSubprotocol,
  protocolVersion,
  versionHeader,
} from '../protocol/version.ts';
import { putBlob } from '../stored/blobs.ts';
import { readEvents, withoutRepeats } from '../stored/event-log.ts';
import { orderEvents } from '../stored/event-order.ts';
import { readNodeRecords } from '../stored/records.ts';
import { AgentJob, type JobOptions } from './agent-job.ts';
import { ConsoleFollower } from './console-follower.ts';
import { ConsoleRelay, type RelayOptions } from './console-relay.ts';
import { DebugLink, type DebugLinkEnds } from './debug-link.ts';
import {
  DisplayFollower,
  DisplayRelay,
  type DisplayOptions,
  type DisplayRelayOptions,
} from './display-follower.ts';
import { despiteClosed, fetchJson } from './requests.ts';
import { commandThroughStore, storedStatus } from './stored-cluster.ts';
import type { VmPlace } from './vm-relay.ts';

export type {
  ConsoleFollower,
  ConsoleRelay,
  DebugLink,
  DebugLinkEnds,
  DisplayFollower,
  DisplayRelay,
  JobOptions,
};

export interface ClientOptions {
  /** Addresses (`HOST:PORT`) of nodes, tried in order. */
  nodes?: string[];
  /** URL of the store: its node records tell the addresses. */
  store?: string;
  token?: string;
  /** For whom a node asks as a client of another. */
  onBehalfOf?: Caller;
  /** How long a command is repeated while there is no master or no node answers. Default 30 s. */
  patienceMs?: number;
  /** How long a node has for its answer before the next one is asked. Default 3 s, 10 s for what changes something, 60 s for a checkpoint. */
  answerMs?: number;
}

export interface EventOptions {
  sinceMs?: number;
  limit?: number;
  missing?: (why: string) => void;
}

const requestMs = 3000;
const commandRequestMs = 10_000;
/** Of what writes a checkpoint before it is answered. */
const checkpointRequestMs = 60_000;
const uploadMs = 300_000;
const retryMs = 200;

function usualMs(method: string, path: string): number {
  if (method === 'GET') return requestMs;
  if (method === 'PUT') return uploadMs;
  return /\/(fork|revert|snapshots)$/.test(path) ? checkpointRequestMs : commandRequestMs;
}

export class ClusterClient {
  readonly #options: ClientOptions;
  #addresses: string[];
  #store: ObjectStore | undefined;

  constructor(options: ClientOptions) {
    if (options.nodes === undefined && options.store === undefined)
      throw new ClusterError('BAD_REQUEST', 'neither a node nor a store was given', {
        hint: '--node HOST:PORT or --store URL',
      });
    this.#options = options;
    this.#addresses = [...(options.nodes ?? [])];
  }

  /** What the first node that answers knows; the master's own view when it answers. */
  async status(): Promise<ClusterStatus> {
    const until = performance.now() + (this.#options.patienceMs ?? 30_000);
    for (;;)
      try {
        return await this.#status();
      } catch (error) {
        if (!isClusterError(error, 'NO_MASTER') || performance.now() > until) throw error;
        await sleep(retryMs);
      }
  }

  async #status(): Promise<ClusterStatus> {
    const first = await this.#any(clusterStatusSchema, 'GET', '/v1/status', undefined, requireList);
    const master = first.nodes.find(({ id }) => id === first.master);
    if (first.master === first.node || master?.address === undefined) return first;
    try {
      return await this.#request(clusterStatusSchema, master.address, 'GET', '/v1/status');
    } catch {
      return first;
    }
  }

  /**
   * Events from `sinceMs` (milliseconds since 1970) on, oldest first, at most `limit`, the newest of them. When the store does not
   * answer, they are those that each node that answers keeps for it, and `missing` is told why.
   */
  async events(options: EventOptions = {}): Promise<ClusterEvent[]> {
    const limit = options.limit ?? 1000;
    const path = `/v1/events?since=${String(options.sinceMs ?? 0)}&limit=${String(limit)}`;
    const { events, missing } = await this.#any(eventsAnswerSchema, 'GET', path);
    if (missing === undefined) return events;
    options.missing?.(missing);
    const { nodes } = await this.#any(clusterStatusSchema, 'GET', '/v1/status');
    const addresses = new Set(nodes.flatMap(({ address }) => address ?? []));
    const kept = await Promise.all(
      [...addresses].map((address) =>
        this.#request(eventsAnswerSchema, address, 'GET', path).then(
          (answer) => answer.events,
          () => [],
        ),
      ),
    );
    return orderEvents(withoutRepeats([...events, ...kept.flat()])).slice(-limit);
  }

  /** The VM's entry in the protected list. Throws `NOT_FOUND`. */
  async vm(vmId: string): Promise<ProtectedVm> {
    const found = (await this.status()).vms.find(({ id }) => id === vmId);
    if (found === undefined)
      throw new ClusterError('NOT_FOUND', `there is no VM ${vmId}`, { hint: '`vm list` shows them all' });
    return found;
  }

  /** What the store holds, whether or not a node answers. Throws `UNREACHABLE` without a store. */
  async storedStatus(): Promise<ClusterStatus> {
    return storedStatus(await this.#openStore());
  }

  /** Events as `events` gives them, from the store itself. */
  async storedEvents(options: { sinceMs?: number; limit?: number } = {}): Promise<ClusterEvent[]> {
    return readEvents(await this.#openStore(), options);
  }

  /**
   * Has a command carried out, once, however often it must be repeated. `store`: no node answered, so it was entered into the stored
   * list, and takes effect when a node starts.
   */
  async command(command: Command): Promise<'node' | 'store'> {
    let request = { id: randomUUID(), command };
    return this.#patiently(async () => {
      try {
        await this.#any(commandDoneSchema, 'POST', '/v1/commands', Buffer.from(JSON.stringify(request)));
        return 'node';
      } catch (error) {
        // Not carried out, and remembered as that: the next try is another command.
        if (isClusterError(error, 'BUSY')) request = { id: randomUUID(), command };
        if (!isClusterError(error, 'UNREACHABLE') || this.#options.store === undefined) throw error;
        await commandThroughStore(await this.#openStore(), request);
        return 'store';
      }
    });
  }

  /** Asks again while the answer is that it may be different later. */
  async #patiently<T>(ask: () => Promise<T>): Promise<T> {
    const until = performance.now() + (this.#options.patienceMs ?? 30_000);
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        if (!(error instanceof ClusterError) || !error.retryable || performance.now() > until) throw error;
        await sleep(retryMs);
      }
    }
  }

  /** Makes a VM out of a checkpoint of another one, its newest by default. @returns the checkpoint that it began with */
  async fork(
    parentId: string,
    fork: Omit<ForkRequest, 'id' | 'checkpoint'> & { checkpoint?: string | undefined },
  ): Promise<string> {
    const path = `/v1/vms/${parentId}/fork`;
    let id = randomUUID();
    return this.#patiently(async () => {
      try {
        const body = Buffer.from(JSON.stringify({ id, ...fork }));
        return (await this.#any(forkAnswerSchema, 'POST', path, body)).from;
      } catch (error) {
        // As in `command`: its name was not had yet.
        if (isClusterError(error, 'BUSY')) id = randomUUID();
        throw error;
      }
    });
  }

  /** A VM's snapshots, the oldest first. */
  async snapshots(vmId: string): Promise<Snapshot[]> {
    return (await this.#any(snapshotsAnswerSchema, 'GET', `/v1/vms/${vmId}/snapshots`)).snapshots;
  }

  /** Keeps what a VM is now under a name. Throws `CONFLICT` when it is in use. */
  async takeSnapshot(vmId: string, name: string): Promise<Snapshot> {
    const body = Buffer.from(JSON.stringify({ id: randomUUID(), name }));
    const path = `/v1/vms/${vmId}/snapshots`;
    return this.#patiently(async () => {
      const { status } = await this.vm(vmId);
      // A running one is asked of the node that has it.
      if (status !== 'running' && status !== 'paused') return this.#any(snapshotSchema, 'POST', path, body);
      return this.#request(snapshotSchema, await this.#holder(vmId), 'POST', path, body);
    });
  }

  /** Takes a VM back to a snapshot; what it is now is lost, but for its checkpoints. It runs then if it ran, or `start` says so. */
  async revert(vmId: string, name: string, options: { start?: boolean } = {}): Promise<Snapshot> {
    const start = options.start ?? (await this.vm(vmId)).desired !== 'stopped';
    const body = Buffer.from(JSON.stringify({ id: randomUUID(), name, start }));
    return this.#patiently(() => this.#any(snapshotSchema, 'POST', `/v1/vms/${vmId}/revert`, body));
  }

  /** Gives a snapshot up. Throws `NOT_FOUND`. */
  async dropSnapshot(vmId: string, name: string): Promise<void> {
    const path = `/v1/vms/${vmId}/snapshots/${encodeURIComponent(name)}`;
    await this.#any(snapshotDroppedSchema, 'DELETE', path);
  }

  /** Puts a kernel or an image into the store; gives the hash that a description names it by. */
  async putBlob(bytes: Uint8Array): Promise<string> {
    const hash = sha256(bytes);
    try {
      // Asked first: it may be there, and who may not put it is told so before it is sent.
      const known = await this.#any(blobDoneSchema, 'GET', `/v1/blobs/${hash}`).catch((error: unknown) => {
        if (!isClusterError(error, 'NOT_FOUND')) throw error;
        return undefined;
      });
      if (known === undefined) await this.#any(blobDoneSchema, 'PUT', `/v1/blobs/${hash}`, bytes);
    } catch (error) {
      if (!isClusterError(error, 'UNREACHABLE') || this.#options.store === undefined) throw error;
      await putBlob(await this.#openStore(), hash, [bytes]);
    }
    return hash;
  }

  /** Waits until a VM has one of these states. Throws `TIMEOUT`. */
  async waitFor(
    vmId: string,
    statuses: readonly string[],
    timeoutMs = Math.max(180_000, this.#options.patienceMs ?? 0),
  ): Promise<ProtectedVm> {
    const until = performance.now() + timeoutMs;
    for (;;) {
      const vm = await this.vm(vmId).catch((error: unknown) => {
        if (performance.now() > until) throw error;
        return undefined;
      });
      if (vm !== undefined && statuses.includes(vm.status)) return vm;
      if (performance.now() > until)
        throw new ClusterError(
          'TIMEOUT',
          `${vmId} is ${vm?.status ?? 'unknown'}, not ${statuses.join(' or ')}`,
        );
      await sleep(retryMs / 2);
    }
  }

  /**
   * Follows a VM's console from node to node. Output of an epoch older than one seen before is dropped: it was made by a
   * node that had lost the VM. `heard` gets the epoch of each piece: after a failover a guest may repeat what it wrote since
   * its last checkpoint. What is typed is sent again until a checkpoint holds it; `said` hears of it in words.
   */
  console(
    vmId: string,
    heard: (bytes: Uint8Array, epoch: number) => void,
    said: (line: string) => void = () => undefined,
  ): ConsoleFollower {
    return new ConsoleFollower({ heard, said, find: () => this.#placeOf(vmId, 'console') });
  }

  /** The console of a VM for somebody who keeps what is typed at an end of their own (protocol/console-ends.ts). */
  relay(vmId: string, ends: Omit<RelayOptions, 'find'>): ConsoleRelay {
    return new ConsoleRelay({ ...ends, find: () => this.#placeOf(vmId, 'console') });
  }

  /** Follows a VM's screen from node to node, and gives the guest keys and movements of the pointer. */
  display(vmId: string, options: Omit<DisplayOptions, 'find'>): DisplayFollower {
    return new DisplayFollower({ ...options, find: () => this.#placeOf(vmId, 'display') });
  }

  /** The same for somebody who keeps picture and input at an end of their own (protocol/display-ends.ts). */
  displayRelay(vmId: string, ends: Omit<DisplayRelayOptions, 'find'>): DisplayRelay {
    return new DisplayRelay({ ...ends, find: () => this.#placeOf(vmId, 'display') });
  }

  /** A debugger at a VM that runs: bytes of gdb's remote protocol. Throws `NOT_FOUND`, `CONFLICT`, `UNREACHABLE`. */
  async debug(vmId: string, ends: DebugLinkEnds): Promise<DebugLink> {
    await this.#holder(vmId);
    const place = await this.#placeOf(vmId, 'debug');
    if (place === undefined) throw new ClusterError('CONFLICT', `no node runs ${vmId}`);
    return DebugLink.open(place, ends);
  }

  /** What a VM's screen shows now. Throws `CONFLICT` when it has none, `TIMEOUT` when no node tells. */
  async picture(vmId: string, timeoutMs = 60_000): Promise<DisplayPicture> {
    await this.#holder(vmId);
    return new Promise((resolve, reject) => {
      const give = (end: () => void): void => {
        clearTimeout(timer);
        follower.close();
        end();
      };
      const fail = (code: 'CONFLICT' | 'TIMEOUT', message: string): void =>
        give(() => reject(new ClusterError(code, message)));
      const timer = setTimeout(
        owned(() => fail('TIMEOUT', `no node tells what the screen of ${vmId} shows`), reject),
        timeoutMs,
      );
      const follower = this.display(vmId, {
        said: () => undefined,
        shown: (picture, _changed, isWhole) => {
          if (picture === undefined) fail('CONFLICT', `${vmId} has no screen`);
          else if (isWhole) give(() => resolve(picture));
        },
      });
    });
  }

  /** Runs a command in a VM's guest, by its agent. @returns its exit status. Throws `TIMEOUT` when no agent answers */
  async exec(vmId: string, job: JobOptions): Promise<number> {
    await this.vm(vmId);
    const whyNever = async (): Promise<string | undefined> => {
      const vm = await this.vm(vmId).catch(() => undefined);
      const ended = vm !== undefined && ['stopped', 'failed', 'deleted'].includes(vm.status);
      return ended ? `${vmId} is ${vm.status}: ${vm.reason}` : undefined;
    };
    return new AgentJob(job, { find: (name) => this.#placeOf(vmId, `agent/${name}`), whyNever }).run();
  }

  /** A VM's text screen, and its lines. Throws `CONFLICT` when it has none. */
  async screen(vmId: string): Promise<TextScreen & { lines: string[] }> {
    const path = `/v1/vms/${vmId}/screen`;
    const { cells, cursor, ...rest } = await this.#request(
      screenAnswerSchema,
      await this.#holder(vmId),
      'GET',
      path,
    );
    return { ...rest, cursor, cells: Uint16Array.from(cells) };
  }

  /** The machine that follows a VM on another node, as the VM's owner sees it. */
  async standby(vmId: string): Promise<StandbyAnswer> {
    return this.#request(standbyAnswerSchema, await this.#holder(vmId), 'GET', `/v1/vms/${vmId}/standby`);
  }

  /** Presses keys together, by DOM `code`. Throws `BAD_REQUEST` for one that no keyboard has. */
  async press(vmId: string, keys: readonly string[]): Promise<void> {
    const body = Buffer.from(JSON.stringify({ keys }));
    await this.#request(keysRequestSchema, await this.#holder(vmId), 'POST', `/v1/vms/${vmId}/keys`, body);
  }

  /** Puts a medium of its description, by name, into a drive of a VM, or (null) empties it. Throws `NOT_FOUND`, `CONFLICT`. */
  async changeMedium(vmId: string, change: MediumRequest): Promise<void> {
    const body = Buffer.from(JSON.stringify(change));
    const path = `/v1/vms/${vmId}/medium`;
    await this.#request(mediumRequestSchema, await this.#holder(vmId), 'POST', path, body);
  }

  /** Presses a VM's power button: most systems shut down in order then. Throws `CONFLICT` when it has none. */
  async pressPowerButton(vmId: string): Promise<void> {
    const path = `/v1/vms/${vmId}/power-button`;
    await this.#request(pressedAnswerSchema, await this.#holder(vmId), 'POST', path);
  }

  /** A VM's checkpoints, the oldest first, as any node lists them. */
  async checkpoints(vmId: string): Promise<ListedCheckpoint[]> {
    return (await this.#any(checkpointsAnswerSchema, 'GET', `/v1/vms/${vmId}/checkpoints`)).checkpoints;
  }

  /** What each of the nodes at these addresses says in numbers; one that does not answer is left out. */
  async figures(addresses: readonly string[]): Promise<NodeFigures[]> {
    const asked = addresses.map((address) =>
      this.#request(nodeFiguresSchema, address, 'GET', '/v1/figures').catch(() => undefined),
    );
    return (await Promise.all(asked)).filter((each) => each !== undefined);
  }

  /** A VM's figures of the last minutes, from each of the nodes that may have had it. */
  async figuresOf(vmId: string, addresses: readonly string[]): Promise<VmSample[]> {
    const path = `/v1/vms/${vmId}/figures`;
    const asked = addresses.map((address) =>
      this.#request(vmFiguresSchema, address, 'GET', path).then(
        ({ samples }) => samples,
        () => [],
      ),
    );
    return (await Promise.all(asked)).flat().sort((a, b) => a.atMs - b.atMs);
  }

  /** Address of the node that runs a VM. */
  async #holder(vmId: string): Promise<string> {
    const { assignment, status } = await this.vm(vmId);
    const node = (await this.status()).nodes.find(({ id }) => id === assignment?.node);
    if (node?.address === undefined)
      throw new ClusterError('CONFLICT', `${vmId} is ${status}: no node runs it`);
    return node.address;
  }

  async #placeOf(
    vmId: string,
    what: 'console' | 'debug' | 'display' | `agent/${string}`,
  ): Promise<VmPlace | undefined> {
    const status = await this.status();
    const assigned = status.vms.find(({ id }) => id === vmId)?.assignment?.node;
    // While a VM is moved it still runs where it was.
    const holders = status.nodes.flatMap(({ address, view }) =>
      (view?.powerOn ?? [])
        .filter((entry) => entry.vmId === vmId && entry.state !== 'leaving')
        .map(({ epoch }) => ({ address, epoch })),
    );
    // What a dead node was heard to run is of an older epoch.
    const holder = holders.sort((a, b) => b.epoch - a.epoch)[0];
    const address = holder?.address ?? status.nodes.find(({ id }) => id === assigned)?.address;
    if (address === undefined) return undefined;
    const path = `/v1/vms/${vmId}/${what}`;
    const proof = await this.#proof(address, 'GET', path, sha256(new Uint8Array(0)));
    const headers = this.#onBehalf();
    return { url: `${wsUrl(address)}${path}`, proof: proof && proofSubprotocol + proof, headers };
  }

  async close(): Promise<void> {
    await this.#store?.close();
  }

  async #any<T extends v.GenericSchema>(
    answer: T,
    method: string,
    path: string,
    body: Uint8Array = new Uint8Array(0),
    /** Throws for an answer that is none: then the next node is asked. */
    look: (answer: v.InferOutput<T>) => void = () => undefined,
  ): Promise<v.InferOutput<T>> {
    let last: unknown;
    const asked = new Set<string>();
    if (this.#addresses.length === 0) await this.#findNodes();
    for (let address = this.#next(asked); address !== undefined; address = await this.#another(asked)) {
      asked.add(address);
      try {
        const said = await this.#request(answer, address, method, path, body);
        look(said);
        return said;
      } catch (error) {
        if (!(error instanceof ClusterError) || !error.retryable) throw error;
        last = error;
        // Whoever answers is asked first next time.
        this.#addresses = [...this.#addresses.filter((other) => other !== address), address];
      }
    }
    throw (
      last ?? new ClusterError('UNREACHABLE', 'no node is known', { hint: 'start one: `revenant node …`' })
    );
  }

  #next(asked: ReadonlySet<string>): string | undefined {
    return this.#addresses.find((address) => !asked.has(address));
  }

  /** One that was not asked yet; when all known ones were, those that the store knows by now. */
  async #another(asked: ReadonlySet<string>): Promise<string | undefined> {
    if (this.#next(asked) === undefined) await this.#findNodes();
    return this.#next(asked);
  }

  async #openStore(): Promise<ObjectStore> {
    const { store } = this.#options;
    if (store === undefined)
      throw new ClusterError('UNREACHABLE', 'no node answers', {
        hint: 'name the store as well: --store URL',
      });
    return (this.#store ??= await openStore(store, { probe: false }));
  }

  async #findNodes(): Promise<void> {
    const { store, nodes } = this.#options;
    if (store === undefined) return;
    const found = new Set(nodes);
    for (const { state, view } of await readNodeRecords(await this.#openStore()))
      if (state === 'active') found.add(view.address);
    const known = this.#addresses.filter((address) => found.has(address));
    this.#addresses = [...known, ...[...found].filter((address) => !known.includes(address))];
  }

  #onBehalf(): Record<string, string> {
    const { onBehalfOf } = this.#options;
    return onBehalfOf === undefined ? {} : { [onBehalfHeader]: `${onBehalfOf.role} ${onBehalfOf.name}` };
  }

  async #proof(address: string, method: string, path: string, bodyHash: string): Promise<string | undefined> {
    const { token } = this.#options;
    if (token === undefined) return undefined;
    const url = `${httpUrl(address)}/v1/challenge`;
    const answerMs = this.#options.answerMs ?? requestMs;
    const { challenge } = await despiteClosed(() =>
      fetchJson(challengeAnswerSchema, url, { method: 'GET' }, answerMs),
    );
    return `${challenge}.${requestProof(token, challenge, { method, path, bodyHash })}`;
  }

  async #request<T extends v.GenericSchema>(
    answer: T,
    address: string,
    method: string,
    path: string,
    body: Uint8Array = new Uint8Array(0),
  ): Promise<v.InferOutput<T>> {
    const bodyHash = sha256(body);
    const timeoutMs = this.#options.answerMs ?? usualMs(method, path);
    const ask = async (): Promise<v.InferOutput<T>> => {
      // A proof serves once.
      const proof = await this.#proof(address, method, path, bodyHash);
      const headers: Record<string, string> = {
        ...this.#onBehalf(),
        [versionHeader]: String(protocolVersion),
        [bodyHeader]: bodyHash,
      };
      if (proof !== undefined) headers[authHeader] = authScheme + proof;
      const sent = body.length === 0 ? {} : { body: Buffer.from(body) };
      return fetchJson(answer, `${httpUrl(address)}${path}`, { method, headers, ...sent }, timeoutMs);
    };
    // Commands have an id under which they are carried out once; keys that are pressed twice are two.
    const harmless = method !== 'POST' || path === '/v1/commands';
    return harmless ? despiteClosed(ask) : ask();
  }
}

/** Throws `NO_MASTER` for what a node says that has only just started. */
function requireList({ node, listUnread }: ClusterStatus): void {
  if (listUnread === true)
    throw new ClusterError('NO_MASTER', `${node ?? 'the node'} has not read the list of VMs yet`, {
      hint: 'it has just started, or its store does not answer: see its log',
    });
}
