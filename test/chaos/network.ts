/**
 * How nodes are cut off from each other. Where it is allowed, each runs in a network namespace of its own on one bridge, and packets are sent
 * to a link-layer address that nobody has: they vanish silently, in one direction or both. Elsewhere messages are dropped inside the nodes.
 */
import { spawnSync } from 'node:child_process';
import type { NodeProcess } from '@revenant/cluster';

/** From whom to whom nothing comes through. */
export interface Cut {
  from: string;
  to: string;
}

export interface Network {
  title: string;
  /** How a node's process is started. */
  place(node: string): { within?: readonly string[]; listen?: string };
  /** Replaces all cuts. */
  cut(cuts: readonly Cut[], nodes: ReadonlyMap<string, NodeProcess>): Promise<void>;
  /** Address of this process for the nodes. */
  host: string;
  /** Cuts a node off from this process, and so from a store that is reached through it; undefined where it can't be done. */
  cutHost?: ((node: string, off: boolean) => void) | undefined;
  end(): void;
  /** What undoes it, as programs with their words, should this process be killed. */
  undo: readonly (readonly string[])[];
}

/** Messages are dropped inside the nodes. */
export const insideNodes: Network = {
  title: 'messages dropped inside the nodes',
  host: '127.0.0.1',
  place: () => ({}),
  async cut(cuts, nodes) {
    for (const [name, node] of nodes) {
      if (node.ended) continue;
      const deaf = cuts.filter(({ to }) => to === name).map(({ from }) => from);
      // A node that is frozen or dying does not take orders.
      await Promise.race([node.cut([], deaf).catch(() => undefined), new Promise((r) => setTimeout(r, 300))]);
    }
  },
  end: () => undefined,
  undo: [],
};

const prefix = 'rvc';
const nowhere = '02:00:00:00:00:ff';

function ip(...words: string[]): boolean {
  return spawnSync('ip', words, { stdio: 'ignore' }).status === 0;
}

/** Names of interfaces have at most 15 characters. */
const own = `${prefix}${process.pid}`;

/** What runs that were killed left behind. */
function sweep(): void {
  const names = spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' }).stdout ?? '';
  for (const [, name = '', pid] of names.matchAll(new RegExp(`^(${prefix}(\\d+)-\\S+)`, 'gm')))
    if (!isAlive(Number(pid))) ip('netns', 'del', name);
  const links = spawnSync('ip', ['-o', 'link'], { encoding: 'utf8' }).stdout ?? '';
  for (const [, name = '', pid] of links.matchAll(new RegExp(`^\\d+: (${prefix}(\\d+)[bv][0-9]*)[:@]`, 'gm')))
    if (!isAlive(Number(pid))) ip('link', 'del', name);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

class Namespaces implements Network {
  readonly title = 'a network namespace for each node';
  readonly host: string;
  readonly #nodes: readonly string[];
  readonly #net: string;
  #cuts: readonly Cut[] = [];

  constructor(nodes: readonly string[]) {
    this.#nodes = nodes;
    this.#net = `10.213.${process.pid % 256}`;
    this.host = `${this.#net}.254`;
  }

  /** False where it is not allowed, or the tools are missing. */
  make(): boolean {
    const bridge = `${own}b`;
    if (!ip('link', 'add', bridge, 'type', 'bridge')) return false;
    if (!ip('addr', 'add', `${this.host}/24`, 'dev', bridge) || !ip('link', 'set', bridge, 'up'))
      return false;
    return this.#nodes.every((node, n) => {
      const [space, veth] = [`${own}-${node}`, `${own}v${n}`];
      return (
        ip('netns', 'add', space) &&
        ip('link', 'add', veth, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', space) &&
        ip('link', 'set', veth, 'master', bridge, 'up') &&
        ip('-n', space, 'addr', 'add', `${this.#address(node)}/24`, 'dev', 'eth0') &&
        ip('-n', space, 'link', 'set', 'eth0', 'up') &&
        ip('-n', space, 'link', 'set', 'lo', 'up')
      );
    });
  }

  #address(node: string): string {
    return `${this.#net}.${this.#nodes.indexOf(node) + 1}`;
  }

  place(node: string): { within: readonly string[]; listen: string } {
    return { within: ['ip', 'netns', 'exec', `${own}-${node}`], listen: `${this.#address(node)}:0` };
  }

  #drop(from: string, address: string, off: boolean): void {
    const words = off
      ? ['replace', address, 'lladdr', nowhere, 'dev', 'eth0', 'nud', 'permanent']
      : ['del', address, 'dev', 'eth0'];
    ip('-n', `${own}-${from}`, 'neigh', ...words);
  }

  cut(cuts: readonly Cut[]): Promise<void> {
    const holds = (list: readonly Cut[], { from, to }: Cut): boolean =>
      list.some((other) => other.from === from && other.to === to);
    for (const cut of this.#cuts) if (!holds(cuts, cut)) this.#drop(cut.from, this.#address(cut.to), false);
    for (const cut of cuts) if (!holds(this.#cuts, cut)) this.#drop(cut.from, this.#address(cut.to), true);
    this.#cuts = cuts;
    return Promise.resolve();
  }

  cutHost(node: string, off: boolean): void {
    this.#drop(node, this.host, off);
  }

  get undo(): string[][] {
    const spaces = this.#nodes.map((node) => ['ip', 'netns', 'del', `${own}-${node}`]);
    return [...spaces, ['ip', 'link', 'del', `${own}b`]];
  }

  end(): void {
    for (const [, ...words] of this.undo) ip(...words);
  }
}

/** Namespaces where they can be had, else cuts inside the nodes. To be ended. */
export function makeNetwork(nodes: readonly string[]): Network {
  sweep();
  const network = new Namespaces(nodes);
  if (network.make()) return network;
  network.end();
  return insideNodes;
}
