/** The chaos run: node processes under random faults, with chains that show any lost, wrong or doubled step. */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  chainGuest,
  outputPolicies,
  readEvents,
  type ClusterEvent,
  type OutputPolicy,
  type ProfileName,
  type VmSpec,
} from '@revenant/cluster';
import { openStore } from '@revenant/storage';
import type { Image } from '../../packages/cli/src/images/image.ts';
import { Cuts, seeded, strike, type Fault, type SmallDisk } from './faults.ts';
import { TestCluster } from './harness.ts';
import type { Network } from './network.ts';
import { Served } from './served.ts';
import type { Guardian } from '../../packages/cluster/src/processes/guardian.ts';
import { givenUp, repeatedWithoutLeave, violations, type Window } from './verdict.ts';

export interface ChaosOptions {
  store: string;
  folder: string;
  seed: number;
  minutes: number;
  profile: ProfileName;
  nodes: number;
  vms: number;
  /** By which policy the VMs' outputs leave; `mixed`: by each in turn. Default `async`. */
  output?: OutputPolicy | 'mixed';
  /** Beside them so many Linux guests of this image with a network card, whose answers to a client outside are counted. */
  served?: { image: Image; count: number };
  disk?: SmallDisk;
  network?: Network;
  guardian?: Guardian;
  say: (line: string) => void;
}

export interface ChaosResult {
  faults: number;
  failovers: number;
  steps: number;
  repeated: number;
  /** Counted one by one, of VMs whose outputs are never taken back. */
  bytes: number;
  /** Of them, how many came again when both owner and standby had ended, and how often that was. */
  again: number;
  lostBoth: number;
  /** How often a VM was started again that was given up since nodes ended under it. */
  startedAgain: number;
  /** Of guests with a network card: requests that were answered, and connections that broke. */
  answers: number;
  broken: number;
  /** Empty: all held. */
  violations: string[];
}

const spec: VmSpec = {
  runtime: 'chain',
  description: { stepMs: 20 },
  memoryMiB: 16,
  priority: 1,
  outputs: 'async',
};
/** After the last fault is healed every VM must run again within so long. */
const recoveryMs = 60_000;
/** Until all guests have started for the first time: however much else the host has to do. */
const startMs = 600_000;

/** How often it is looked whether VMs were given up. */
const personMs = 3000;

/** A fault that lasts. */
interface Open {
  fault: Fault;
  healAt: number;
  from: number;
  alone: boolean;
  healing?: Promise<void>;
}

class Chaos {
  readonly #options: ChaosOptions;
  readonly #cluster: TestCluster;
  readonly #cuts: Cuts;
  readonly #random: () => number;
  readonly #open = new Set<Open>();
  readonly #calm: Window[] = [];
  readonly #served: Served | undefined;
  /** By node: until when something was done to it that may end its connections. */
  readonly #harmed = new Map<string, number>();
  #faults = 0;
  #startedAgain = 0;
  #lookedAt = -Infinity;
  #trouble: unknown;
  #lastHealed = 0;

  constructor(options: ChaosOptions) {
    this.#options = options;
    this.#random = seeded(options.seed);
    const nodes = nodeNames(options.nodes);
    const { store, folder, profile, network, guardian } = options;
    this.#cluster = new TestCluster({
      ...{ store, folder, profile, nodes },
      ...(network && { network }),
      ...(guardian && { guardian }),
    });
    this.#cuts = new Cuts(this.#cluster);
    this.#served =
      options.served &&
      new Served(this.#cluster, {
        ...options.served,
        random: this.#random,
        isWell: (node, sinceMs) => (this.#harmed.get(node) ?? -Infinity) < sinceMs,
      });
  }

  async run(): Promise<ChaosResult> {
    const cluster = this.#cluster;
    const beganMs = Date.now();
    try {
      await cluster.start();
      for (let n = 1; n <= this.#options.vms; n++)
        await cluster.createVm(
          `vm${n}`,
          { ...spec, priority: n, outputs: this.#policyOf(n) },
          chainGuest.rule,
        );
      await this.#served?.begin((n) => this.#policyOf(n));
      await this.#untilAllCompute('the first steps', startMs);
      const end = performance.now() + this.#options.minutes * 60_000;
      while (performance.now() < end && this.#fault() === undefined) {
        await this.#round();
        await this.#person();
        await sleep(200 + this.#random() * 1500);
      }
      await this.#healAll();
      const found = await this.#settle();
      const events = await this.#events(beganMs);
      return this.#result(
        [
          ...found,
          ...violations(events, this.#calm),
          ...repeatedWithoutLeave(events, this.#repeats),
          ...(this.#served?.violations(events) ?? []),
        ],
        events.filter(({ event }) => event === 'vm-lost').length,
      );
    } finally {
      await this.#healAll().catch(() => undefined);
      await this.#served?.end();
      await cluster.end();
    }
  }

  #policyOf(n: number): OutputPolicy {
    const { output = 'async' } = this.#options;
    return output === 'mixed' ? outputPolicies[n % outputPolicies.length]! : output;
  }

  get #repeats(): { id: string; repeats: readonly number[] }[] {
    return this.#cluster.vms.map(({ id, bytes }) => ({ id, repeats: bytes?.repeats ?? [] }));
  }

  #result(found: string[], failovers: number): ChaosResult {
    const states = this.#cluster.vms.map(({ checker }) => {
      checker.finish(5000);
      return checker.state;
    });
    const faults = this.#cluster.vms.flatMap(({ id, checker: { state }, bytes }) =>
      [state.fault, bytes?.fault].flatMap((fault) => (fault === undefined ? [] : [`${id}: ${fault}`])),
    );
    return {
      faults: this.#faults,
      failovers,
      steps: states.reduce((sum, { steps }) => sum + steps, 0),
      repeated: states.reduce((sum, { repeated }) => sum + repeated, 0),
      bytes: this.#cluster.vms.reduce((sum, { bytes }) => sum + (bytes?.bytes ?? 0), 0),
      again: this.#repeats.flatMap(({ repeats }) => repeats).reduce((sum, count) => sum + count, 0),
      lostBoth: this.#repeats.flatMap(({ repeats }) => repeats).length,
      startedAgain: this.#startedAgain,
      answers: this.#served?.answers ?? 0,
      broken: this.#served?.broken ?? 0,
      violations: [...faults, ...found],
    };
  }

  #fault(): string | undefined {
    const vm = this.#cluster.vms.find(({ checker }) => checker.state.fault !== undefined);
    return vm?.checker.state.fault ?? this.#served?.fault;
  }

  /** Starts again what was given up. */
  async #person(): Promise<void> {
    if (performance.now() - this.#lookedAt < personMs) return;
    this.#lookedAt = performance.now();
    const { client } = this.#cluster;
    const status = await client.status().catch(() => undefined);
    for (const vmId of givenUp(status?.vms ?? [])) {
      await client.command({ type: 'vm-start', vmId });
      this.#startedAgain++;
      this.#served?.startedAgain(vmId);
      this.#options.say(`start ${vmId}, which was given up`);
    }
  }

  /** Heals what has lasted long enough, and begins another fault while fewer than two last. */
  async #round(): Promise<void> {
    const due = [...this.#open].filter(({ healAt }) => performance.now() >= healAt);
    for (const open of due) this.#healing(open).catch((error: unknown) => (this.#trouble ??= error));
    if (this.#trouble !== undefined) throw this.#trouble;
    if (this.#open.size >= 2) return;
    const struck = new Set([...this.#open].flatMap(({ fault }) => fault.node ?? []));
    const from = Date.now();
    const quiet = this.#open.size === 0 && from - this.#lastHealed > 10_000;
    const fault = await strike({
      cluster: this.#cluster,
      random: this.#random,
      disk: this.#options.disk,
      cuts: this.#cuts,
      struck,
    });
    if (fault === undefined) return;
    this.#faults++;
    for (const open of this.#open) open.alone = false;
    this.#options.say(`${fault.title}, for ${Math.round(fault.lastsMs)} ms`);
    this.#harm(fault, Infinity);
    this.#open.add({ fault, healAt: performance.now() + fault.lastsMs, from, alone: quiet });
  }

  async #heal(open: Open): Promise<void> {
    const { fault, from, alone } = open;
    if (fault.harmless === true && alone && fault.node !== undefined)
      this.#calm.push({ node: fault.node, fromMs: from, toMs: Date.now() });
    this.#lastHealed = Date.now();
    await fault.heal();
    this.#open.delete(open);
    this.#harm(fault, performance.now());
  }

  /** What strikes no node strikes all of them; being cut off from others harms none. */
  #harm({ node, harmless }: Fault, untilMs: number): void {
    if (harmless === true) return;
    for (const each of node === undefined ? nodeNames(this.#options.nodes) : [node])
      this.#harmed.set(each, untilMs);
  }

  /** Beside all else: a node that starts may wait for the room that another fault takes. */
  #healing(open: Open): Promise<void> {
    return (open.healing ??= this.#heal(open));
  }

  async #healAll(): Promise<void> {
    await Promise.all([...this.#open].map((open) => this.#healing(open)));
  }

  async #untilAllCompute(what: string, waitMs: number): Promise<void> {
    const before = new Map(this.#cluster.vms.map(({ id, checker }) => [id, checker.state.steps]));
    const allAnswer = this.#served?.whetherAllAnswer();
    await this.#cluster.until(
      what,
      async () => {
        await this.#person();
        const computes = this.#cluster.vms.every(
          ({ id, checker }) => checker.state.steps >= (before.get(id) ?? 0) + 20,
        );
        return (computes && allAnswer?.() !== false) || this.#fault() !== undefined;
      },
      waitMs,
      100,
    );
  }

  /** From the store: whichever node is master, and whether one answers. */
  async #events(sinceMs: number): Promise<ClusterEvent[]> {
    const store = await openStore(this.#options.store, { probe: false });
    try {
      return await readEvents(store, { sinceMs, limit: 1_000_000 });
    } finally {
      await store.close();
    }
  }

  /** With all faults healed, all nodes are alive and all VMs compute again. */
  async #settle(): Promise<string[]> {
    try {
      await this.#cluster.untilAlive(this.#options.nodes);
      await this.#untilAllCompute('every VM to compute again', recoveryMs);
      return [];
    } catch (error) {
      return [error instanceof Error ? error.message : String(error)];
    }
  }
}

export const nodeNames = (count: number): string[] => Array.from({ length: count }, (_, i) => `n${i + 1}`);

/** Runs it to its end. Throws when the cluster can't even start. */
export function runChaos(options: ChaosOptions): Promise<ChaosResult> {
  return new Chaos(options).run();
}
