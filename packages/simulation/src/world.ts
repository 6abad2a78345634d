/** One simulated cluster: nodes, network, store, a person with wishes, and a plan of faults, all from one seed. */
import { makeSettings, type CommandAnswer, type Message, type Settings } from '@revenant/cluster';
import { Checker } from './checker.ts';
import type { SimGuests } from './guests.ts';
import { SimNetwork } from './network.ts';
import { SimNode, type Checkpoint } from './node.ts';
import type { Life } from './life.ts';
import { Random } from './random.ts';
import { Scheduler } from './scheduler.ts';
import { SimStore } from './store.ts';

/** A guest as it was, and whether all that was let out before follows from it, with the log behind it. */
export interface Kept {
  life: Life;
  exact: boolean;
}

export class World {
  readonly seed: number;
  readonly random: Random;
  /** For what happens at the guests' edge, so that worlds in which nobody looks at that are the same without it. */
  readonly edge: Random;
  /** Guests are given inputs, and what they say leaves by policies. */
  readonly looksAtOutputs: boolean;
  readonly #kept = new Map<string, Kept>();
  readonly scheduler = new Scheduler();
  readonly settings: Settings;
  /** A VM that breaks, or ends its node, a while after each resume. */
  poisoned: string | undefined;
  endsNodes: boolean;
  /** A node that can't read what the others store, nor they what it does. */
  readonly foreigner: string | undefined;
  readonly network: SimNetwork;
  readonly store: SimStore;
  readonly heartbeatStores: SimStore[] = [];
  readonly nodes = new Map<string, SimNode>();
  readonly checker: Checker;
  /** In a share of the worlds nodes even out soon, and there are enough VMs for that. */
  readonly balances: boolean;
  /** In a share of the worlds whatever changes what the decisions are given fails: they change nothing. */
  readonly freezes: boolean;
  /** False once all faults have stopped. */
  faulty = true;
  messages = 0;
  /** Told of every line of the trace. */
  onTrace: ((line: string) => void) | undefined;
  onAnswer: (answer: CommandAnswer) => void = () => undefined;
  /** Has the person empty a node, and take that back a while later. */
  drain: (node: string) => void = () => undefined;

  /** True in stories, whose traces tell what is asked of guests, too. */
  readonly tells: boolean;

  constructor(
    seed: number,
    { story, outputs }: { story?: { random: Random; ids: readonly string[] }; outputs?: boolean } = {},
  ) {
    this.seed = seed;
    this.random = story?.random ?? new Random(seed);
    this.edge = new Random(seed ^ 0x5eed_ed9e);
    this.tells = story !== undefined;
    this.looksAtOutputs = outputs === true;
    this.freezes = this.tells || seed % 50 === 0;
    if (this.random.chance(0.07)) this.poisoned = 'vm1';
    this.endsNodes = this.poisoned !== undefined && this.random.chance(0.4);
    if (this.random.chance(0.1)) this.foreigner = 'n1';
    const breaks = this.poisoned !== undefined && !this.endsNodes;
    this.balances = !this.tells && seed % 3 === 0;
    this.settings = makeSettings('default', {
      ...(breaks ? { stableMs: 1000 } : {}),
      ...(this.balances ? { balanceAfterMs: 1500 } : {}),
    });
    this.network = new SimNetwork(this.scheduler, this.random);
    this.store = new SimStore('store', this.scheduler, this.random);
    const heartbeatStores = this.random.integer(0, 2);
    for (let i = 1; i <= heartbeatStores; i++)
      this.heartbeatStores.push(new SimStore(`heartbeats ${String(i)}`, this.scheduler, this.random));
    this.checker = new Checker(this.nodes, this.store, this.heartbeatStores);
    const count = this.random.integer(3, 7);
    for (const id of story?.ids ?? Array.from({ length: count }, (_, i) => `n${String(i + 1)}`)) {
      // Two clocks may differ by nearly four per cent in rate, far more than real ones.
      const clock = { rate: this.random.between(0.981, 1.019), offset: this.random.between(0, 1e6) };
      this.nodes.set(id, new SimNode(this, id, clock));
    }
  }

  deliver(from: string, to: string, message: Message): void {
    this.messages++;
    this.network.send(from, to, () => {
      const node = this.nodes.get(to);
      node?.local(() => node.handle({ type: 'message', from, message }));
    });
  }

  /** What owners and standbys tell each other. */
  carry(from: string, to: string, hear: (guests: SimGuests) => void): void {
    this.network.send(from, to, () => {
      const node = this.nodes.get(to);
      node?.local(() => hear(node.guests));
    });
  }

  /** What is in a checkpoint beside what decisions look at. */
  keep(vmId: string, { epoch, sequence }: Checkpoint, kept: Kept): void {
    this.#kept.set(`${vmId}@${String(epoch)}-${String(sequence)}`, kept);
  }

  keptOf(vmId: string, { epoch, sequence }: Checkpoint): Kept | undefined {
    return this.#kept.get(`${vmId}@${String(epoch)}-${String(sequence)}`);
  }

  answered(answer: CommandAnswer): void {
    this.onAnswer(answer);
  }

  trace(line: string): void {
    this.onTrace?.(`${this.scheduler.now.toFixed(1).padStart(9)} ${line}`);
  }
}
