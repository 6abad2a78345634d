/**
 * The page's one websocket to the cluster. It keeps the last state of everything, so that a view never goes blank; when its node dies it
 * tries the other nodes that it has heard of, in turn, until one answers, and asks again for the consoles and screens that are open.
 */
import {
  checkPageRequest,
  decodePageReply,
  encode,
  hostOf,
  pageSubprotocol,
  passScheme,
  passSubprotocol,
  type ClusterEvent,
  type ClusterStatus,
  type Command,
  type DisplayRequest,
  type ListedCheckpoint,
  type MediumRequest,
  type NodeFigures,
  type PageReply,
  type PageRequest,
  type Role,
  type Snapshot,
  type VmSample,
} from '@revenant/cluster/protocol';
import type { NodeAccess } from '../shared/node-files.ts';
import { PageConsole } from './page-console.ts';
import { PageDisplay } from './page-display.ts';

export type Screen = Extract<PageReply, { type: 'screen' }>['screen'];

export interface ClusterState {
  /** `refused`: there is no session here. */
  link: 'connecting' | 'open' | 'lost' | 'refused';
  /** The node that serves the page now. */
  node?: string;
  /** Where that is, `http://HOST:PORT`; empty: where the page came from. */
  origin: string;
  role: Role;
  /** Of the person, where the token has one. */
  name?: string;
  status?: ClusterStatus;
  /** Why the cluster is not known just now. */
  trouble?: string;
  events: readonly ClusterEvent[];
  /** What the nodes say in numbers, a second ago at most. */
  figures: readonly NodeFigures[];
}

/** What is known of a VM's past. */
export interface Past {
  /** The oldest first. */
  checkpoints: readonly ListedCheckpoint[];
  /** The oldest first. */
  snapshots: readonly Snapshot[];
  /** A second apart. */
  samples: readonly VmSample[];
}

const retryMs = 500;
const fetchPatienceMs = 20_000;
const maxEvents = 2000;
const maxSamples = 1200;
/** Beyond, those that nobody looks at any more are closed. */
const maxConsoles = 24;
const maxDisplays = 24;

/** A request that waits for its answer. */
interface Waiting {
  resolve(): void;
  reject(error: Error): void;
}

export class Connection {
  readonly #changed: (state: ClusterState) => void;
  readonly #waiting = new Map<number, Waiting>();
  readonly #consoles = new Map<string, PageConsole>();
  readonly #displays = new Map<string, { display: PageDisplay; users: number }>();
  readonly #screens = new Map<string, Set<(screen: Screen) => void>>();
  readonly #pasts = new Map<string, { past: Past; seen: Set<(past: Past) => void> }>();
  #state: ClusterState = { link: 'connecting', origin: '', role: 'view', events: [], figures: [] };
  #socket: WebSocket | undefined;
  #questions = 0;
  #tries = 0;
  #closed = false;
  /** By which other nodes know this session. */
  #pass: string | null = null;

  constructor(changed: (state: ClusterState) => void) {
    this.#changed = changed;
    this.#connect();
  }

  close(): void {
    this.#closed = true;
    this.#socket?.close();
  }

  /** The node that answers now. */
  get access(): NodeAccess {
    const { origin } = this.#state;
    if (origin === '' || this.#pass === null) return { origin, headers: {} };
    return { origin, headers: { authorization: `${passScheme}${this.#pass}` } };
  }

  /**
   * Asks the node that answers now, and another one when it is gone; rejects with an Error in words for people. What is asked must be such
   * that it may be asked twice.
   */
  async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const until = performance.now() + fetchPatienceMs;
    for (;;) {
      const { origin, headers } = this.access;
      try {
        return await fetch(origin + path, { ...init, headers: { ...init.headers, ...headers } });
      } catch (error) {
        if (performance.now() > until) throw new Error('no node answers just now', { cause: error });
      }
      await new Promise((resolve) => setTimeout(resolve, retryMs));
    }
  }

  /** Has a command carried out; rejects with its refusal. */
  command(command: Command): Promise<void> {
    return this.#ask((question) => ({ type: 'command', question, command }));
  }

  /** Makes a VM out of a checkpoint of another one; null: its newest. */
  fork(
    vmId: string,
    fork: { name: string; checkpoint: string | null; start: boolean; identical: boolean },
  ): Promise<void> {
    return this.#ask((question) => ({ type: 'fork', question, vmId, ...fork }));
  }

  /** Puts a medium of its description into a drive, or (null) takes it out. */
  changeMedium(vmId: string, change: MediumRequest): Promise<void> {
    return this.#ask((question) => ({ type: 'medium', question, vmId, ...change }));
  }

  /** Keeps what a VM is now under a name. */
  takeSnapshot(vmId: string, name: string): Promise<void> {
    return this.#ask((question) => ({ type: 'snapshot', question, vmId, name }));
  }

  /** Takes a VM back to a snapshot; `start`: it runs then. */
  revert(vmId: string, name: string, start: boolean): Promise<void> {
    return this.#ask((question) => ({ type: 'revert', question, vmId, name, start }));
  }

  dropSnapshot(vmId: string, name: string): Promise<void> {
    return this.#ask((question) => ({ type: 'drop-snapshot', question, vmId, name }));
  }

  /** Presses the power button: most systems shut down in order then. */
  pressPowerButton(vmId: string): Promise<void> {
    return this.#ask((question) => ({ type: 'power-button', question, vmId }));
  }

  /** Presses keys together, by DOM `code`. */
  press(vmId: string, keys: string[]): Promise<void> {
    return this.#ask((question) => ({ type: 'keys', question, vmId, keys }));
  }

  /**
   * The serial console of a VM, wherever it runs; what was heard of it before comes first. It stays open with the page, as what was typed
   * may have to be sent again.
   */
  console(vmId: string): PageConsole {
    const before = this.#consoles.get(vmId);
    if (before !== undefined) return before;
    for (const [other, console] of this.#consoles)
      if (this.#consoles.size >= maxConsoles && console.isIdle) {
        this.#consoles.delete(other);
        this.#send({ type: 'console', vmId: other, on: false });
      }
    const made = new PageConsole({
      post: (request) => this.#send({ type: 'typed', vmId, request }),
      mayType: () => this.#state.role !== 'view',
    });
    this.#consoles.set(vmId, made);
    this.#send({ type: 'console', vmId, on: true });
    return made;
  }

  /**
   * The display of a VM, wherever it runs. It stays open while somebody uses it, who says so by `close`, and as long as there is room, as what
   * was done there may have to be sent again.
   */
  display(vmId: string): { display: PageDisplay; close: () => void } {
    const known = this.#displays.get(vmId) ?? this.#openDisplay(vmId);
    known.users++;
    let used = true;
    const close = (): void => {
      if (used) known.users--;
      used = false;
    };
    return { display: known.display, close };
  }

  #openDisplay(vmId: string): { display: PageDisplay; users: number } {
    for (const [other, { display, users }] of this.#displays)
      if (this.#displays.size >= maxDisplays && users === 0 && display.isIdle) {
        display.close();
        this.#displays.delete(other);
        this.#send({ type: 'display', vmId: other, on: false });
      }
    const post = (request: DisplayRequest): void => this.#send({ type: 'displayed', vmId, request });
    const mayType = (): boolean => this.#state.role !== 'view';
    const made = { display: new PageDisplay({ post, mayType }), users: 0 };
    this.#displays.set(vmId, made);
    this.#send({ type: 'display', vmId, on: true });
    return made;
  }

  /** Hears of each change of a VM's screen. Gives a function that ends it. */
  watchScreen(vmId: string, seen: (screen: Screen) => void): () => void {
    const watchers = this.#screens.get(vmId) ?? new Set();
    this.#screens.set(vmId, watchers);
    watchers.add(seen);
    this.#send({ type: 'screen', vmId, on: true });
    return () => {
      watchers.delete(seen);
      if (watchers.size > 0) return;
      this.#screens.delete(vmId);
      this.#send({ type: 'screen', vmId, on: false });
    };
  }

  /** Hears of each change of what is known of a VM's past. Gives a function that ends it. */
  watchPast(vmId: string, seen: (past: Past) => void): () => void {
    const watched = this.#pasts.get(vmId) ?? {
      past: { checkpoints: [], snapshots: [], samples: [] },
      seen: new Set(),
    };
    this.#pasts.set(vmId, watched);
    watched.seen.add(seen);
    seen(watched.past);
    this.#send({ type: 'past', vmId, on: true });
    return () => {
      watched.seen.delete(seen);
      if (watched.seen.size > 0) return;
      this.#pasts.delete(vmId);
      this.#send({ type: 'past', vmId, on: false });
    };
  }

  #learn(vmId: string, change: (past: Past) => Past): void {
    const watched = this.#pasts.get(vmId);
    if (watched === undefined) return;
    watched.past = change(watched.past);
    for (const seen of watched.seen) seen(watched.past);
  }

  /** Samples of several nodes, each once, in order of time. */
  #addSamples(vmId: string, fresh: readonly VmSample[]): void {
    this.#learn(vmId, (past) => {
      const all = new Map(
        [...past.samples, ...fresh].map((sample) => [`${sample.node} ${String(sample.atMs)}`, sample]),
      );
      const samples = [...all.values()].sort((a, b) => a.atMs - b.atMs).slice(-maxSamples);
      return { ...past, samples };
    });
  }

  #ask(make: (question: number) => PageRequest): Promise<void> {
    const question = ++this.#questions;
    return new Promise((resolve, reject) => {
      if (this.#socket?.readyState !== WebSocket.OPEN) {
        reject(new Error('no node is connected just now'));
        return;
      }
      const request = checkPageRequest(make(question));
      this.#waiting.set(question, { resolve, reject });
      this.#send(request);
    });
  }

  #send(request: PageRequest): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(encode(request));
  }

  #update(change: Partial<ClusterState>): void {
    this.#state = { ...this.#state, ...change };
    this.#changed(this.#state);
  }

  /** Where the page came from first, then the other living nodes. */
  #address(): string {
    const others = (this.#state.status?.nodes ?? [])
      .filter(({ state, address }) => state !== 'dead' && address !== undefined)
      .map(({ address }) => hostOf(address!));
    const all = [location.host, ...others.filter((address) => address !== location.host)];
    return all[this.#tries % all.length]!;
  }

  #connect(): void {
    if (this.#closed) return;
    const protocol = location.protocol === 'https:' ? 'wss' : 'ws';
    const host = this.#address();
    const socket = new WebSocket(`${protocol}://${host}/v1/page`, [
      pageSubprotocol,
      ...(this.#pass === null ? [] : [`${passSubprotocol}${this.#pass}`]),
    ]);
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    let opened = false;
    socket.addEventListener('open', () => {
      opened = true;
      for (const vmId of this.#consoles.keys()) this.#send({ type: 'console', vmId, on: true });
      for (const vmId of this.#displays.keys()) this.#send({ type: 'display', vmId, on: true });
      for (const vmId of this.#screens.keys()) this.#send({ type: 'screen', vmId, on: true });
      for (const vmId of this.#pasts.keys()) this.#send({ type: 'past', vmId, on: true });
    });
    socket.addEventListener('message', ({ data }: MessageEvent<ArrayBuffer>) => {
      this.#hear(decodePageReply(new Uint8Array(data)), host);
    });
    socket.addEventListener('close', () => {
      for (const { reject } of this.#waiting.values())
        reject(new Error('the node went away before it answered'));
      this.#waiting.clear();
      for (const console of this.#consoles.values()) console.detached();
      for (const { display } of this.#displays.values()) display.detached();
      if (this.#closed) return;
      if (!opened) this.#tries++;
      this.#update({ link: this.#state.node === undefined && !opened ? 'refused' : 'lost' });
      setTimeout(() => {
        this.#connect();
      }, retryMs);
    });
  }

  #hear(reply: PageReply, host: string): void {
    switch (reply.type) {
      case 'hello':
        this.#pass = reply.pass;
        this.#update({
          link: 'open',
          node: reply.node,
          origin: host === location.host ? '' : `${location.protocol}//${host}`,
          role: reply.role,
          name: reply.name,
        });
        return;
      case 'cluster': {
        const { trouble: _, ...state } = this.#state;
        this.#state = state;
        this.#update({ status: reply.status });
        return;
      }
      case 'unknown':
        this.#update({ trouble: reply.reason });
        return;
      case 'events':
        this.#update({ events: this.#merged(reply.events) });
        return;
      case 'done': {
        const waiting = this.#waiting.get(reply.question);
        this.#waiting.delete(reply.question);
        if (reply.error === null) waiting?.resolve();
        else
          waiting?.reject(
            new Error([reply.error.message, reply.error.hint].filter((part) => part !== '').join(': ')),
          );
        return;
      }
      case 'console':
        this.#consoles.get(reply.vmId)?.heard(reply.reply);
        return;
      case 'attached':
        this.#consoles.get(reply.vmId)?.attached();
        return;
      case 'display':
        this.#displays.get(reply.vmId)?.display.heard(reply.reply);
        return;
      case 'shown':
        this.#displays.get(reply.vmId)?.display.attached();
        return;
      case 'screen':
        for (const seen of this.#screens.get(reply.vmId) ?? []) seen(reply.screen);
        return;
      case 'checkpoints':
        return this.#learn(reply.vmId, (past) => ({ ...past, checkpoints: reply.checkpoints }));
      case 'snapshots':
        return this.#learn(reply.vmId, (past) => ({ ...past, snapshots: reply.snapshots }));
      case 'samples':
        return this.#addSamples(reply.vmId, reply.samples);
      case 'figures':
        this.#update({ figures: reply.nodes });
        for (const { vms } of reply.nodes)
          for (const sample of vms) if (this.#pasts.has(sample.vmId)) this.#addSamples(sample.vmId, [sample]);
    }
  }

  /** Another node begins with what it keeps, some of which is known. */
  #merged(fresh: readonly ClusterEvent[]): readonly ClusterEvent[] {
    const known = new Set(this.#state.events.map((event) => JSON.stringify(event)));
    const added = fresh.filter((event) => !known.has(JSON.stringify(event)));
    return [...this.#state.events, ...added].sort((a, b) => a.atMs - b.atMs).slice(-maxEvents);
  }
}
