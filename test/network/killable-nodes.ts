/**
 * Three nodes with a store, for runs that kill the one which holds the guest. The host's client enters by `c`, which has no room for the guest.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { ClusterClient, Guardian, NodeProcess } from '@revenant/cluster';
import { buildModules } from '@revenant/emulator/host-node';
import { until } from '../../packages/cluster/src/testing/until.ts';
import { answerMs } from '../../packages/cluster/src/testing/patience.ts';

const launcher = join(import.meta.dirname, '../../launcher.mjs');
const names = ['a', 'b', 'c'] as const;

export class KillableNodes {
  readonly folder: string;
  readonly store: string;
  readonly client: ClusterClient;
  readonly #guardian: Guardian;
  readonly #memoryMiB: number;
  readonly #nodes = new Map<string, NodeProcess>();

  private constructor(guardian: Guardian, what: string, memoryMiB: number) {
    this.folder = mkdtempSync(join(tmpdir(), `revenant-${what}-`));
    this.store = `file:${this.folder}/store`;
    this.client = new ClusterClient({ store: this.store, answerMs });
    this.#guardian = guardian;
    this.#memoryMiB = memoryMiB;
    guardian.remove(this.folder);
  }

  /** With so much memory for guests on each node but `c`. Whoever gets them closes them. */
  static async prepare(what: string, memoryMiB: number): Promise<KillableNodes> {
    buildModules(() => undefined);
    return new KillableNodes(await Guardian.start(), what, memoryMiB);
  }

  async start(): Promise<void> {
    for (const name of names) await this.#start(name);
    await this.#allAlive();
  }

  /** Kills the node that runs this VM, and says which it was. */
  async killHolder(vmId: string): Promise<string> {
    const holder = await this.holder(vmId);
    this.#nodes.get(holder)!.kill();
    return holder;
  }

  async startAgain(name: string): Promise<void> {
    await this.#start(name);
    await this.#allAlive();
  }

  async holder(vmId: string): Promise<string> {
    return (await this.client.waitFor(vmId, ['running'])).assignment!.node;
  }

  /** Runs the command `revenant`, on the store of these nodes. */
  async revenant(...words: string[]): Promise<void> {
    await promisify(execFile)(process.execPath, [launcher, ...words, '--store', this.store]);
  }

  async close(): Promise<void> {
    await this.client.close();
    for (const node of this.#nodes.values()) node.kill();
    await Promise.all([...this.#nodes.values()].map(({ whenEnded }) => whenEnded));
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #start(name: string): Promise<void> {
    const node = await NodeProcess.start({
      store: this.store,
      name,
      profile: 'default',
      logFile: join(this.folder, `${name}.log`),
      guardian: this.#guardian,
      words: ['--memory-mib', name === 'c' ? '64' : String(this.#memoryMiB)],
    });
    this.#nodes.set(name, node);
  }

  #allAlive(): Promise<void> {
    return until('three nodes', async () => {
      const known = await this.client.status().catch(() => undefined);
      return known?.nodes.filter(({ state }) => state === 'alive').length === names.length;
    });
  }
}
