/** Two nodes of a cluster in the process of a test, on a store in a folder of their own, with a client of both. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ClusterClient } from '../src/client/cluster-client.ts';
import { makeSettings, type Settings } from '../src/decisions/settings.ts';
import { ClusterNode } from '../src/node/cluster-node.ts';
import { answerMs } from '../src/testing/patience.ts';

export class NodesInProcess {
  readonly store: string;
  /** Those that live. */
  readonly nodes = new Map<string, ClusterNode>();
  readonly #folder: string;
  readonly #settings: Settings;
  #client: ClusterClient | undefined;

  private constructor(folder: string, settings: Settings) {
    this.#folder = folder;
    this.#settings = settings;
    this.store = `file:${folder}`;
  }

  /** With nodes `a` and `b`; `what` is part of their folder's name. */
  static async start(what: string, changes: Partial<Settings> = {}): Promise<NodesInProcess> {
    const folder = await mkdtemp(join(tmpdir(), `revenant-${what}-`));
    const made = new NodesInProcess(folder, makeSettings('default', changes));
    for (const name of ['a', 'b']) await made.add(name);
    const nodes = made.addresses;
    made.#client = new ClusterClient({ nodes, answerMs, patienceMs: 120_000 });
    return made;
  }

  get client(): ClusterClient {
    return this.#client!;
  }

  get addresses(): string[] {
    return [...this.nodes.values()].map(({ address }) => address);
  }

  async add(name: string): Promise<ClusterNode> {
    const node = await ClusterNode.start({
      name,
      store: this.store,
      listen: '127.0.0.1:0',
      settings: this.#settings,
      logLevel: 'silent',
      memoryMiB: 256,
    });
    this.nodes.set(name, node);
    return node;
  }

  async end(name: string): Promise<void> {
    await this.nodes.get(name)!.close();
    this.nodes.delete(name);
  }

  async close(): Promise<void> {
    await this.#client?.close();
    for (const node of this.nodes.values()) await node.close();
    await rm(this.#folder, { recursive: true });
  }
}
