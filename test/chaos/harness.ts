/** A cluster of real node processes on one host, its VMs' chains watched from outside: for the chaos run and the failover benchmark. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  ChainChecker,
  ClusterClient,
  NodeProcess,
  type ChainRule,
  type ClusterEvent,
  type ConsoleFollower,
  type ProfileName,
  type ProtectedVm,
  type VmSpec,
} from '@revenant/cluster';
import { StoreRoad } from '../../packages/cluster/src/testing/store-road.ts';
import { Guardian } from '../../packages/cluster/src/processes/guardian.ts';
import { ByteChecker } from './byte-checker.ts';
import { insideNodes, type Network } from './network.ts';

/** A host with twenty times too much to do gets there. */
const patienceMs = 300_000;

/** A new folder for a cluster's store and logs. It is removed when this process ends without a word, behind its nodes. */
export async function temporaryFolder(name: string): Promise<string> {
  const guardian = await Guardian.ofProcess();
  const folder = mkdtempSync(join(tmpdir(), `revenant-${name}-`));
  guardian.remove(folder);
  return folder;
}

export interface WatchedVm {
  id: string;
  checker: ChainChecker;
  /** Of a VM whose outputs are never taken back. */
  bytes: ByteChecker | undefined;
  follower: ConsoleFollower;
  /** Newest epoch that was heard. */
  epoch: number;
}

export interface ClusterOptions {
  store: string;
  /** For logs. */
  folder: string;
  profile: ProfileName;
  nodes: readonly string[];
  /** Default: no network of their own. */
  network?: Network;
  /** Ends the nodes should this process be killed. Default: that of this process. */
  guardian?: Guardian;
}

export class TestCluster {
  readonly options: ClusterOptions;
  readonly client: ClusterClient;
  readonly nodes = new Map<string, NodeProcess>();
  readonly vms: WatchedVm[] = [];

  constructor(options: ClusterOptions) {
    this.options = options;
    const token = randomBytes(16).toString('hex');
    this.client = new ClusterClient({ store: options.store, patienceMs: patienceMs, token });
    mkdirSync(options.folder, { recursive: true });
    writeFileSync(join(options.folder, 'token'), token);
  }

  get network(): Network {
    return this.options.network ?? insideNodes;
  }

  /** The store as one node reaches it: a folder by a link of its own, which can be taken away. */
  roadOf(name: string): StoreRoad | undefined {
    const { store, folder } = this.options;
    return store.startsWith('file:')
      ? new StoreRoad(store.slice(5), join(folder, `store-of-${name}`))
      : undefined;
  }

  async start(): Promise<void> {
    await Promise.all(this.options.nodes.map((name) => this.startNode(name)));
    await this.untilAlive(this.options.nodes.length);
  }

  async startNode(name: string): Promise<void> {
    const { store, folder, profile, guardian } = this.options;
    const road = this.roadOf(name);
    road?.open();
    this.nodes.set(
      name,
      await NodeProcess.start({
        ...{ store: road === undefined ? store : road.url, name, profile },
        ...{ logFile: join(folder, `${name}.log`), tokenFile: join(folder, 'token') },
        ...this.network.place(name),
        ...(guardian && { guardian }),
      }),
    );
  }

  async createVm(id: string, spec: VmSpec, rule: ChainRule): Promise<WatchedVm> {
    await this.client.command({ type: 'vm-create', vmId: id, spec, start: true });
    const checker = new ChainChecker(rule);
    const counted = spec.outputs === 'async' ? undefined : new ByteChecker(rule);
    const follower = this.client.console(
      id,
      (bytes, epoch) => {
        vm.epoch = Math.max(vm.epoch, epoch);
        counted?.hear(bytes);
        checker.hear(bytes, epoch);
      },
      (line) => counted?.said(line),
    );
    const vm: WatchedVm = { id, checker, bytes: counted, follower, epoch: 0 };
    this.vms.push(vm);
    return vm;
  }

  /** Waits until `holds`. Throws after `timeoutMs`. */
  async until(
    what: string,
    holds: () => boolean | Promise<boolean>,
    timeoutMs = patienceMs,
    pollMs = 20,
  ): Promise<void> {
    const end = performance.now() + timeoutMs;
    while (!(await holds())) {
      if (performance.now() > end) throw new Error(`waited ${timeoutMs} ms in vain for ${what}`);
      await sleep(pollMs);
    }
  }

  async untilAlive(count: number): Promise<void> {
    await this.until(`${count} nodes alive and a master`, async () => {
      const status = await this.client.status().catch(() => undefined);
      if (status === undefined || status.master !== status.node) return false;
      return status.nodes.filter(({ state }) => state === 'alive').length >= count;
    });
  }

  async holder(vm: WatchedVm): Promise<ProtectedVm & { assignment: NonNullable<ProtectedVm['assignment']> }> {
    const { assignment, ...found } = await this.client.waitFor(vm.id, ['running']);
    if (assignment === null) throw new Error(`${vm.id} runs nowhere`);
    return { ...found, assignment };
  }

  /** Waits for the first event of a name and a VM at `sinceMs` (since 1970) or later. */
  async event(name: string, vm: WatchedVm, sinceMs: number): Promise<ClusterEvent> {
    let found: ClusterEvent | undefined;
    await this.until(
      `${name} of ${vm.id}`,
      async () => {
        const events = await this.client.events({ sinceMs }).catch(() => []);
        found = events.find((each) => each.event === name && each.vm === vm.id);
        return found !== undefined;
      },
      patienceMs,
      100,
    );
    return found as unknown as ClusterEvent;
  }

  async end(): Promise<void> {
    for (const { follower } of this.vms) follower.close();
    for (const node of this.nodes.values()) node.kill();
    await this.until('the nodes to end', () => [...this.nodes.values()].every(({ ended }) => ended));
    await this.client.close();
  }
}
