/**
 * The demo: three node processes, one chain guest; the master is killed, the node that runs the VM is frozen and thawed, one is
 * cut off from the network but not from the store. After each: what was detected, decided and resumed, and is the chain whole?
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ClusterClient } from '../client/cluster-client.ts';
import type { ProfileName } from '../decisions/settings.ts';
import { ClusterError } from '../errors.ts';
import type { VmSpec } from '../protocol/spec.ts';
import type { ClusterEvent } from '../stored/event-log.ts';
import { chainDigest, chainStart } from '../vm/chain-guest.ts';
import { Guardian } from '../processes/guardian.ts';
import { ChainChecker, type ChainRule } from './chain-checker.ts';
import { freePorts } from './free-ports.ts';
import { PageLoader } from './page-loader.ts';
import { NodeProcess } from './processes.ts';

export interface DemoGuest {
  title: string;
  runtime: string;
  memoryMiB: number;
  /** Makes the description; may put images into the store. */
  describe(client: ClusterClient): Promise<unknown>;
  rule: ChainRule;
  /** What its web server's page has in it; undefined: it has none, and gets no network. */
  page?: string;
}

export interface ClusterDemoOptions {
  guest?: DemoGuest;
  profile?: ProfileName;
  say: (line: string) => void;
  /** Leaves the cluster running, and says how to look around. */
  keep?: boolean;
  /** Default: a new folder for temporary files. */
  storeFolder?: string;
}

export const chainGuest: DemoGuest = {
  title: 'the chain program',
  runtime: 'chain',
  memoryMiB: 64,
  describe: () => Promise.resolve({ stepMs: 5 }),
  rule: { first: chainStart, next: chainDigest },
};

const demoVm = 'chain';
const nodeNames = ['a', 'b', 'c'] as const;
const networkName = 'demo';
const firstPageMs = 60_000;
const firstStepMs = 60_000;
/** How long the verdict may take. */
const checkMs = 10_000;
const resumeMs = 30_000;
const shown = /^(host-|master-elected|vm-|connections-|lease-|session-ended|self-|node-joined)/;

/** How long a live move held the guest: from its stop (`vm-suspended` tells how long before the event that was) to `vm-executes`. */
export function stoodStillMs(suspended: ClusterEvent, executes: ClusterEvent): number {
  return executes.atMs - (suspended.atMs - (suspended.tookMs ?? 0));
}

class Demo {
  readonly #options: ClusterDemoOptions;
  readonly #guest: DemoGuest;
  readonly #store: string;
  readonly #folder: string;
  readonly #client: ClusterClient;
  readonly #checker: ChainChecker;
  readonly #guardian: Guardian;
  readonly nodes = new Map<string, NodeProcess>();
  #epoch = 0;
  #failures = 0;

  constructor(options: ClusterDemoOptions, folder: string, guardian: Guardian) {
    this.#guardian = guardian;
    this.#options = options;
    this.#guest = options.guest ?? chainGuest;
    this.#folder = folder;
    this.#store = `file:${join(folder, 'store')}`;
    this.#client = new ClusterClient({ store: this.#store });
    this.#checker = new ChainChecker(this.#guest.rule);
  }

  async #startNode(name: string): Promise<void> {
    const profile = this.#options.profile ?? 'default';
    const logFile = join(this.#folder, `${name}.log`);
    this.nodes.set(
      name,
      await NodeProcess.start({ store: this.#store, name, profile, logFile, guardian: this.#guardian }),
    );
  }

  async run(): Promise<boolean> {
    const { say } = this.#options;
    say(`three nodes, store ${this.#store}, guest: ${this.#guest.title}`);
    await Promise.all(nodeNames.map((name) => this.#startNode(name)));
    await this.#untilMaster();
    const description = await this.#guest.describe(this.#client);
    const { runtime, memoryMiB } = this.#guest;
    const { network, loader } = await this.#makeNetwork();
    const spec = { runtime, description, memoryMiB, priority: 1, outputs: 'async' as const, ...network };
    await this.#client.command({ type: 'vm-create', vmId: demoVm, spec, start: true });
    const follower = this.#client.console(demoVm, (bytes, epoch) => {
      this.#epoch = Math.max(this.#epoch, epoch);
      this.#checker.hear(bytes, epoch);
    });
    try {
      await this.#until('the first steps', firstStepMs, () => this.#checker.state.steps >= 20);
      say(
        `the guest runs on ${await this.#holder()} and has done ${String(this.#checker.state.steps)} steps`,
      );
      if (loader !== undefined && !(await loader.start(firstPageMs)))
        this.#fail('no page came from the guest');
      await this.#killMaster();
      await this.#freezeHolder();
      await this.#cutOff();
    } finally {
      follower.close();
      await loader?.stop();
    }
    if (loader !== undefined) this.#tellPages(loader);
    const checked = this.#checker.finish(checkMs);
    const { steps, repeated, fault } = this.#checker.state;
    const whole = fault === undefined && this.#failures === 0;
    say('');
    say(
      whole
        ? `the chain is whole: ${String(steps)} steps, none lost; ${String(repeated)} were written twice, byte-identical; ${String(checked)} computed again, none wrong`
        : `FAILED: ${fault ?? 'see above'}`,
    );
    return whole;
  }

  /** A network whose port 80 of the guest each node has at one of its own ports: three nodes of one host can't share one. */
  async #makeNetwork(): Promise<{ network: Pick<VmSpec, 'network'>; loader: PageLoader | undefined }> {
    const { page } = this.#guest;
    if (page === undefined) return { network: {}, loader: undefined };
    const spec = { subnet: '10.64.0.0/16', outbound: true, guard: true, hostPorts: [] };
    await this.#client.command({ type: 'network-create', network: networkName, spec });
    const ports = await freePorts(nodeNames.length);
    const publish = nodeNames.map((on, n) => ({
      on,
      protocol: 'tcp' as const,
      port: ports[n]!,
      guestPort: 80,
    }));
    const urls = ports.map((port) => `http://127.0.0.1:${String(port)}/`);
    this.#options.say(`its web server is reached by each node: ${urls.join(' ')}`);
    const loader = new PageLoader(urls, (text) => text.includes(page));
    return { network: { network: { name: networkName, publish } }, loader };
  }

  #tellPages({ counts: { loaded, failed, retried, longestMs } }: PageLoader): void {
    this.#options.say('');
    this.#options.say(
      `a client loaded ${String(loaded)} pages from the guest's web server through all of it: ${String(failed)} did not come, ${String(retried)} times a connection broke off and the page was asked for again; the longest wait was ${String(Math.round(longestMs))} ms`,
    );
    if (failed > 0) this.#fail(`${String(failed)} pages did not come`);
  }

  async #killMaster(): Promise<void> {
    const { master } = await this.#client.status();
    // The VM's move to the master first, so that one death is both.
    await this.#moveTo(master!);
    const node = this.nodes.get(master!)!;
    await this.#drill(`kill -9 ${master!}: the master, which also runs the guest`, async () => {
      node.kill();
      await this.#untilEpochAfter(this.#epoch);
    });
    this.nodes.delete(master!);
    await this.#startNode(master!);
    await this.#untilAlive(3);
  }

  async #freezeHolder(): Promise<void> {
    const holder = await this.#holder();
    const node = this.nodes.get(holder)!;
    await this.#drill(`SIGSTOP ${holder}: it runs the guest, and is frozen`, async () => {
      node.freeze();
      await this.#untilEpochAfter(this.#epoch);
      node.thaw();
      // It wakes up believing that all is as it was.
      await this.#untilAlive(3);
    });
  }

  async #cutOff(): Promise<void> {
    const holder = await this.#holder();
    const node = this.nodes.get(holder)!;
    const epoch = this.#epoch;
    const before = this.#checker.state.steps;
    await this.#drill(`${holder} is cut off from the network, but not from the store`, async () => {
      await node.cut(['*']);
      await sleep((this.#options.profile === 'fast' ? 1 : 3) * 2000);
      if (this.#epoch !== epoch)
        this.#fail(`the guest was restarted, though it ran on (epoch ${String(this.#epoch)})`);
      if (this.#checker.state.steps <= before) this.#fail('the guest stood still');
      await node.cut([]);
      await this.#untilAlive(3);
    });
  }

  async #moveTo(name: string): Promise<void> {
    if ((await this.#holder()) === name) return;
    const epoch = this.#epoch;
    await this.#drill(`live move of the guest to ${name}`, async () => {
      await this.#client.command({ type: 'vm-migrate', vmId: demoVm, to: name });
      await this.#untilEpochAfter(epoch);
      await this.#client.waitFor(demoVm, ['running']);
    });
  }

  async #drill(title: string, act: () => Promise<void>): Promise<void> {
    const { say } = this.#options;
    say('');
    say(`== ${title}`);
    const startedAt = Date.now();
    const { steps } = this.#checker.state;
    await act();
    const now = this.#checker.state;
    await sleep(700);
    const events = await this.#client.events({ sinceMs: startedAt });
    for (const event of events.filter((each) => shown.test(each.event))) say(timeLine(event, startedAt));
    const ran = events.find(({ event }) => event === 'vm-executes');
    const suspended = events.find(({ event }) => event === 'vm-suspended');
    if (ran !== undefined && suspended !== undefined)
      say(`   the guest stood still for ${String(stoodStillMs(suspended, ran))} ms`);
    else if (ran !== undefined)
      say(`   first instructions elsewhere after ${String(ran.atMs - startedAt)} ms`);
    const verdict = now.fault ?? 'whole';
    say(`   chain: step ${String(steps)} -> ${String(now.steps)}, ${verdict}`);
  }

  #fail(why: string): void {
    this.#failures++;
    this.#options.say(`   FAILED: ${why}`);
  }

  async #until(what: string, timeoutMs: number, holds: () => boolean | Promise<boolean>): Promise<void> {
    const until = performance.now() + timeoutMs;
    while (!(await holds())) {
      if (performance.now() > until)
        throw new ClusterError('TIMEOUT', `waited ${String(timeoutMs)} ms in vain for ${what}`);
      await sleep(50);
    }
  }

  async #untilMaster(): Promise<void> {
    await this.#until('a master and three nodes', resumeMs, async () => {
      const status = await this.#client.status().catch(() => undefined);
      return (
        status?.master === status?.node && status?.nodes.filter(({ state }) => state === 'alive').length === 3
      );
    });
  }

  async #untilAlive(count: number): Promise<void> {
    await this.#until(`${String(count)} nodes alive`, resumeMs, async () => {
      const status = await this.#client.status().catch(() => undefined);
      return status !== undefined && status.nodes.filter(({ state }) => state === 'alive').length >= count;
    });
  }

  /** Until a later epoch has let out steps that were never seen before. */
  async #untilEpochAfter(epoch: number): Promise<void> {
    let known = Infinity;
    await this.#until('the guest to go on elsewhere', resumeMs, () => {
      const { steps, fault } = this.#checker.state;
      if (fault !== undefined) return true;
      if (this.#epoch > epoch && known === Infinity) known = steps;
      return steps > known;
    });
  }

  async #holder(): Promise<string> {
    const vm = await this.#client.waitFor(demoVm, ['running']);
    return vm.assignment!.node;
  }

  async end(): Promise<void> {
    const { say, keep } = this.#options;
    await this.#client.close();
    if (keep === true) {
      const nodes = [...this.nodes.values()];
      this.#guardian.release();
      for (const node of nodes) node.release();
      say('');
      say(
        `the cluster goes on; nodes: ${nodes.map(({ name, address }) => `${name} at ${address}`).join(', ')}`,
      );
      say(`  export REVENANT_STORE=${this.#store}`);
      say('  npx revenant cluster status');
      say(`  npx revenant vm console ${demoVm}`);
      say(`  npx revenant checkpoint show ${demoVm}`);
      say(`  kill ${nodes.map(({ pid }) => String(pid)).join(' ')}          # ends it`);
      return;
    }
    for (const node of this.nodes.values()) node.kill();
    await this.#until('the nodes to end', 5000, () => [...this.nodes.values()].every(({ ended }) => ended));
    if (this.#options.storeFolder === undefined) await rm(this.#folder, { recursive: true, force: true });
  }
}

function timeLine(event: ClusterEvent, startedAt: number): string {
  const at = `+${String(event.atMs - startedAt)} ms`.padStart(10);
  const subject = [event.vm, event.node].filter((part) => part !== undefined).join(' on ');
  return `${at}  ${event.by}: ${event.event} ${subject}: ${event.reason}`;
}

/** Runs the demo to its end; true when the chain is whole and every drill went as it must. */
export async function runClusterDemo(options: ClusterDemoOptions): Promise<boolean> {
  const folder = options.storeFolder ?? (await mkdtemp(join(tmpdir(), 'revenant-demo-')));
  const guardian = await Guardian.start();
  if (options.storeFolder === undefined) guardian.remove(folder);
  const demo = new Demo(options, folder, guardian);
  try {
    return await demo.run();
  } catch (error) {
    options.say(`FAILED: ${error instanceof Error ? error.message : String(error)}`);
    return false;
  } finally {
    await demo.end();
  }
}
