/**
 * What a node does for people at its web page: it follows the cluster for all of them at once, and consoles and screens for each, as any
 * client of the cluster would, so that a page sees VMs of every node through the one that serves it.
 */
import type { WebSocket } from 'ws';
import type { TextScreen } from '@revenant/emulator';
import { ClusterClient, type ConsoleRelay, type DisplayRelay } from '../client/cluster-client.ts';
import { ClusterError, messageOf } from '../errors.ts';
import type { ClusterEvent, ClusterStatus } from '../protocol/api.ts';
import { bounded, maxSamples } from '../protocol/limits.ts';
import { encode } from '../protocol/msgpack.ts';
import { decodePageRequest, type Caller, type PageReply, type PageRequest } from '../protocol/page.ts';
import { requireRole } from '../node/callers.ts';
import { roleForPage } from './needed-role.ts';
import { owned } from '../owned.ts';

const statusMs = 500;
const eventsMs = 1000;
const screenMs = 200;
const figuresMs = 1000;
const checkpointsMs = 1500;
/** A page that reads more slowly than this much piles up is let go; it comes again and gets what is kept. */
const maxBacklogBytes = 4 << 20;
const maxViewers = 64;
const maxFollowed = 32;
const maxKeptEvents = 2000;
/** Events are stored a little after they happened, by several nodes' clocks. */
const eventsOverlapMs = 5000;

/** A screen as it travels. */
function screenReply(vmId: string, screen: (TextScreen & { lines: string[] }) | undefined): PageReply {
  if (screen === undefined) return { type: 'screen', vmId, screen: null };
  const { columns, rows, cells, cursor, colours, blinks, lines } = screen;
  return {
    type: 'screen',
    vmId,
    screen: {
      ...{ columns, rows, blinks, lines, cells: [...cells] },
      colours: colours.map(([red, green, blue]): [number, number, number] => [red, green, blue]),
      ...(cursor === undefined ? {} : { cursor }),
    },
  };
}

/** One page that is open. */
class Viewer {
  readonly #socket: WebSocket;
  readonly #client: ClusterClient;
  readonly #caller: Caller;
  readonly #consoles = new Map<string, ConsoleRelay>();
  readonly #displays = new Map<string, DisplayRelay>();
  readonly #screens = new Map<string, NodeJS.Timeout>();
  readonly #pasts = new Map<string, NodeJS.Timeout>();
  #closed = false;

  constructor(socket: WebSocket, client: ClusterClient, caller: Caller) {
    this.#socket = socket;
    this.#client = client;
    this.#caller = caller;
    socket.on('message', (data, binary) => {
      void this.#hear(data as Buffer, binary);
    });
  }

  send(frame: Uint8Array): void {
    if (this.#closed) return;
    if (this.#socket.bufferedAmount > maxBacklogBytes) this.#socket.terminate();
    else this.#socket.send(frame);
  }

  /** It asks again, at this node or another. */
  readonly fail = (error: unknown): void => this.#socket.close(1011, bounded(messageOf(error), 100));

  tell(reply: PageReply): void {
    this.send(encode(reply));
  }

  close(): void {
    this.#closed = true;
    for (const console of this.#consoles.values()) console.close();
    for (const timer of [...this.#screens.values(), ...this.#pasts.values()]) clearTimeout(timer);
    for (const display of this.#displays.values()) display.close();
    this.#consoles.clear();
    this.#displays.clear();
    this.#pasts.clear();
    this.#screens.clear();
    void this.#client.close();
  }

  async #hear(data: Buffer, binary: boolean): Promise<void> {
    let request: PageRequest;
    try {
      if (!binary) throw new ClusterError('PROTOCOL', 'a message of a page is binary');
      request = decodePageRequest(data);
    } catch (error) {
      this.#socket.close(1002, bounded(messageOf(error), 100));
      return;
    }
    if ('question' in request) return this.#answer(request);
    try {
      this.#require(request);
    } catch {
      // The page knows its role, and has nothing to type with: nobody waits for an answer.
      return;
    }
    this.#follow(request);
  }

  #require(request: PageRequest): void {
    requireRole(
      this.#caller,
      roleForPage(request),
      request.type === 'command' ? request.command.type : request.type,
    );
  }

  async #answer(request: Extract<PageRequest, { question: number }>): Promise<void> {
    const { question } = request;
    try {
      this.#require(request);
      await this.#carryOut(request);
      this.tell({ type: 'done', question, error: null });
    } catch (error) {
      const { code, message, hint } =
        error instanceof ClusterError ? error : new ClusterError('STORE', messageOf(error));
      this.tell({
        type: 'done',
        question,
        error: { code, message: bounded(message), hint: bounded(hint ?? '') },
      });
    }
  }

  async #carryOut(request: Extract<PageRequest, { question: number }>): Promise<void> {
    switch (request.type) {
      case 'command':
        await this.#client.command(request.command);
        return;
      case 'keys':
        return this.#client.press(request.vmId, request.keys);
      case 'power-button':
        return this.#client.pressPowerButton(request.vmId);
      case 'fork': {
        const { vmId, name, checkpoint, start, identical = false } = request;
        await this.#client.fork(vmId, { name, checkpoint: checkpoint ?? undefined, start, identical });
        return;
      }
      case 'medium':
        return this.#client.changeMedium(request.vmId, { drive: request.drive, image: request.image });
      case 'snapshot':
        await this.#client.takeSnapshot(request.vmId, request.name);
        return;
      case 'revert':
        await this.#client.revert(request.vmId, request.name, { start: request.start });
        return;
      case 'drop-snapshot':
        return this.#client.dropSnapshot(request.vmId, request.name);
    }
  }

  #follow(request: Exclude<PageRequest, { question: number }>): void {
    const { vmId } = request;
    switch (request.type) {
      case 'console': {
        this.#consoles.get(vmId)?.close();
        this.#consoles.delete(vmId);
        if (!request.on || this.#consoles.size >= maxFollowed) return;
        const relay = this.#client.relay(vmId, {
          heard: (piece) => this.tell({ type: 'console', vmId, reply: { type: 'output', ...piece } }),
          heardOfInput: (reply) => this.tell({ type: 'console', vmId, reply }),
          attached: () => this.tell({ type: 'attached', vmId }),
        });
        this.#consoles.set(vmId, relay);
        return;
      }
      case 'typed':
        return this.#consoles.get(vmId)?.post(request.request);
      case 'display':
        return this.#showDisplay(vmId, request.on);
      case 'displayed':
        return this.#displays.get(vmId)?.post(request.request);
      case 'screen':
        clearTimeout(this.#screens.get(vmId));
        this.#screens.delete(vmId);
        if (request.on && this.#screens.size < maxFollowed) void this.#watchScreen(vmId, undefined);
        return;
      case 'past':
        clearTimeout(this.#pasts.get(vmId));
        this.#pasts.delete(vmId);
        if (!request.on || this.#pasts.size >= maxFollowed) return;
        void this.#tellSamples(vmId);
        void this.#watchPast(vmId, { checkpoints: '', snapshots: '' });
    }
  }

  #showDisplay(vmId: string, on: boolean): void {
    this.#displays.get(vmId)?.close();
    this.#displays.delete(vmId);
    if (!on || this.#displays.size >= maxFollowed) return;
    const relay = this.#client.displayRelay(vmId, {
      heard: (reply) => this.tell({ type: 'display', vmId, reply }),
      attached: () => this.tell({ type: 'shown', vmId }),
    });
    this.#displays.set(vmId, relay);
  }

  /** What its charts begin with. */
  async #tellSamples(vmId: string): Promise<void> {
    const status = await this.#client.status().catch(() => undefined);
    if (status === undefined) return;
    const samples = await this.#client.figuresOf(vmId, livingAddresses(status));
    this.tell({ type: 'samples', vmId, samples: samples.slice(-maxSamples) });
  }

  /** Looks again and again, and sends the lists of checkpoints and of snapshots when they have changed. */
  async #watchPast(vmId: string, before: { checkpoints: string; snapshots: string }): Promise<void> {
    const mark = setTimeout(() => undefined, 0);
    this.#pasts.set(vmId, mark);
    const [checkpoints, snapshots] = await Promise.all([
      this.#client.checkpoints(vmId).catch(() => undefined),
      this.#client.snapshots(vmId).catch(() => undefined),
    ]);
    if (this.#closed || this.#pasts.get(vmId) !== mark) return;
    const now = { ...before };
    if (checkpoints !== undefined) now.checkpoints = JSON.stringify(checkpoints);
    if (snapshots !== undefined) now.snapshots = JSON.stringify(snapshots);
    if (checkpoints !== undefined && now.checkpoints !== before.checkpoints)
      this.tell({ type: 'checkpoints', vmId, checkpoints });
    if (snapshots !== undefined && now.snapshots !== before.snapshots)
      this.tell({ type: 'snapshots', vmId, snapshots });
    this.#pasts.set(
      vmId,
      setTimeout(
        owned(() => this.#watchPast(vmId, now), this.fail),
        checkpointsMs,
      ),
    );
  }

  /** Looks again and again, and sends the screen when it has changed. */
  async #watchScreen(vmId: string, before: string | undefined): Promise<void> {
    const mark = setTimeout(() => undefined, 0);
    this.#screens.set(vmId, mark);
    const screen = await this.#client.screen(vmId).catch(() => undefined);
    const reply = screenReply(vmId, screen);
    const now = JSON.stringify(reply);
    if (this.#closed || this.#screens.get(vmId) !== mark) return;
    if (now !== before) this.tell(reply);
    const timer = setTimeout(
      owned(() => this.#watchScreen(vmId, now), this.fail),
      screenMs,
    );
    this.#screens.set(vmId, timer);
  }
}

/** Addresses of the nodes that are worth asking. */
function livingAddresses({ nodes }: ClusterStatus): string[] {
  return nodes.flatMap(({ state, address }) =>
    address === undefined || !['alive', 'maintenance'].includes(state) ? [] : [address],
  );
}

export class PageGateway {
  readonly #clientFor: (caller?: Caller) => ClusterClient;
  readonly #client: ClusterClient;
  readonly #node: string;
  readonly #viewers = new Set<Viewer>();
  #statusFrame: Uint8Array | undefined;
  #status = '';
  #events: ClusterEvent[] = [];
  #known = new Set<string>();
  #timers: NodeJS.Timeout[] = [];
  #addresses: string[] = [];
  #asking = { status: false, events: false, figures: false };

  /** `clientFor` makes clients that speak to `node`, and to whatever node runs a VM, on behalf of whom they are given. */
  constructor(clientFor: (caller?: Caller) => ClusterClient, node: string) {
    this.#clientFor = clientFor;
    this.#client = clientFor();
    this.#node = node;
  }

  /** Of the node that listens at `address`. */
  static at(address: string, token: string | undefined, node: string): PageGateway {
    return new PageGateway(
      (caller) =>
        new ClusterClient({
          nodes: [address],
          ...(token === undefined ? {} : { token }),
          ...(caller === undefined ? {} : { onBehalfOf: caller }),
        }),
      node,
    );
  }

  /** Serves one page until its socket closes. */
  attach(socket: WebSocket, caller: Caller, pass: string | null): void {
    if (this.#viewers.size >= maxViewers) {
      socket.close(1013, 'too many pages are open at this node');
      return;
    }
    const viewer = new Viewer(socket, this.#clientFor(caller), caller);
    this.#viewers.add(viewer);
    socket.on('error', () => undefined);
    socket.on('close', () => {
      viewer.close();
      this.#viewers.delete(viewer);
      if (this.#viewers.size === 0) this.#rest();
    });
    viewer.tell({ type: 'hello', node: this.#node, ...caller, pass });
    if (this.#statusFrame !== undefined) viewer.send(this.#statusFrame);
    if (this.#events.length > 0) viewer.tell({ type: 'events', events: this.#events });
    if (this.#timers.length === 0) this.#watch();
  }

  async close(): Promise<void> {
    this.#rest();
    for (const viewer of this.#viewers) viewer.close();
    await this.#client.close();
  }

  /** One look for all pages together, however many are open. */
  #watch(): void {
    const failed = (error: unknown): void => {
      for (const viewer of this.#viewers) viewer.fail(error);
    };
    const status = owned(() => this.#lookAtStatus(), failed);
    const events = owned(() => this.#lookAtEvents(), failed);
    this.#timers = [
      setInterval(status, statusMs),
      setInterval(events, eventsMs),
      setInterval(
        owned(() => this.#lookAtFigures(), failed),
        figuresMs,
      ),
    ];
    status();
    events();
  }

  #rest(): void {
    for (const timer of this.#timers) clearInterval(timer);
    this.#timers = [];
    this.#statusFrame = undefined;
    this.#status = '';
    this.#events = [];
    this.#known.clear();
  }

  #broadcast(frame: Uint8Array): void {
    for (const viewer of this.#viewers) viewer.send(frame);
  }

  async #lookAtStatus(): Promise<void> {
    if (this.#asking.status) return;
    this.#asking.status = true;
    let reply: PageReply;
    try {
      const status = await this.#client.status();
      this.#addresses = livingAddresses(status);
      reply = { type: 'cluster', status };
    } catch (error) {
      reply = { type: 'unknown', reason: bounded(messageOf(error)) };
    }
    this.#asking.status = false;
    const text = JSON.stringify(reply);
    if (text === this.#status || this.#timers.length === 0) return;
    this.#status = text;
    this.#statusFrame = encode(reply);
    this.#broadcast(this.#statusFrame);
  }

  async #lookAtFigures(): Promise<void> {
    if (this.#asking.figures || this.#addresses.length === 0) return;
    this.#asking.figures = true;
    const nodes = await this.#client.figures(this.#addresses);
    this.#asking.figures = false;
    if (this.#timers.length > 0) this.#broadcast(encode({ type: 'figures', nodes } satisfies PageReply));
  }

  async #lookAtEvents(): Promise<void> {
    if (this.#asking.events) return;
    this.#asking.events = true;
    const last = this.#events.at(-1)?.atMs ?? 0;
    const found = await this.#client
      .events({ sinceMs: Math.max(0, last - eventsOverlapMs), limit: maxKeptEvents })
      .catch(() => []);
    this.#asking.events = false;
    if (this.#timers.length === 0) return;
    const fresh = found.filter((event) => !this.#known.has(JSON.stringify(event)));
    if (fresh.length === 0) return;
    this.#events = [...this.#events, ...fresh].slice(-maxKeptEvents);
    this.#known = new Set(this.#events.map((event) => JSON.stringify(event)));
    this.#broadcast(encode({ type: 'events', events: fresh } satisfies PageReply));
  }
}
