/** What the chaos run does to a cluster: each fault begins, lasts a while, and is healed. */
import { spawnSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestCluster } from './harness.ts';
import type { Cut } from './network.ts';

/** A source of numbers from 0 to below 1 that a seed determines (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export interface Fault {
  /** For the log. */
  title: string;
  /** The node that it strikes, if it is one. */
  node?: string;
  /** VMs must run on where they are: the node is cut off from other nodes, not from the store. */
  harmless?: boolean;
  lastsMs: number;
  heal(): Promise<void>;
}

/** A file system of bounded size for a `file:` store, so that it can be filled; undefined where mounting is not allowed. */
export class SmallDisk {
  readonly folder: string;
  private constructor(folder: string) {
    this.folder = folder;
  }

  static mount(folder: string, megabytes: number): SmallDisk | undefined {
    const { status } = spawnSync(
      'mount',
      ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'revenant-chaos', folder],
      { stdio: 'ignore' },
    );
    return status === 0 ? new SmallDisk(folder) : undefined;
  }

  get #ballast(): string {
    return join(this.folder, 'ballast');
  }

  fill(): void {
    const piece = Buffer.alloc(1 << 20, 1);
    try {
      for (;;) writeFileSync(this.#ballast, piece, { flag: 'a' });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    }
  }

  free(): void {
    rmSync(this.#ballast, { force: true });
  }

  unmount(): void {
    spawnSync('umount', ['-l', this.folder], { stdio: 'ignore' });
  }
}

export interface FaultSource {
  cluster: TestCluster;
  random: () => number;
  disk: SmallDisk | undefined;
  cuts: Cuts;
  /** Nodes that a fault strikes just now. */
  struck: ReadonlySet<string>;
}

/** Cuts of the network that are open just now: several faults may have made them. */
export class Cuts {
  readonly #cluster: TestCluster;
  readonly #open = new Set<readonly Cut[]>();

  constructor(cluster: TestCluster) {
    this.#cluster = cluster;
  }

  /** A node that starts again knows nothing of cuts inside the nodes. */
  apply(): Promise<void> {
    return this.#cluster.network.cut([...this.#open].flat(), this.#cluster.nodes);
  }

  async fault(title: string, node: string, pairs: readonly Cut[], lastsMs: number): Promise<Fault> {
    this.#open.add(pairs);
    await this.apply();
    const heal = async (): Promise<void> => {
      this.#open.delete(pairs);
      await this.apply();
    };
    return { title, node, harmless: true, lastsMs, heal };
  }
}

function pick<T>(values: readonly T[], random: () => number): T | undefined {
  return values[Math.floor(random() * values.length)];
}

type Maker = (source: FaultSource, node: string) => Fault | undefined | Promise<Fault>;

const between = (random: () => number, low: number, high: number): number => low + random() * (high - low);

const makers: Record<string, Maker> = {
  kill({ cluster, random, cuts }, name) {
    cluster.nodes.get(name)?.kill();
    return {
      title: `kill -9 ${name}`,
      node: name,
      lastsMs: between(random, 200, 6000),
      heal: async () => {
        await cluster.startNode(name);
        await cuts.apply();
      },
    };
  },
  freeze({ cluster, random }, name) {
    const node = cluster.nodes.get(name);
    node?.freeze();
    return {
      title: `SIGSTOP ${name}`,
      node: name,
      lastsMs: between(random, 300, 8000),
      heal: () => Promise.resolve(node?.thaw()),
    };
  },
  isolate({ cluster, random, cuts }, name) {
    const others = cluster.options.nodes.filter((each) => each !== name);
    const way = pick(['from', 'to', 'both'] as const, random) ?? 'both';
    const pairs = others.flatMap((other) => [
      ...(way === 'to' ? [] : [{ from: name, to: other }]),
      ...(way === 'from' ? [] : [{ from: other, to: name }]),
    ]);
    const heard = { from: 'cannot be heard by', to: 'cannot hear', both: 'is cut off from' }[way];
    return cuts.fault(`${name} ${heard} all nodes`, name, pairs, between(random, 2000, 8000));
  },
  partition({ cluster, random, cuts }, name) {
    const other = pick(
      cluster.options.nodes.filter((each) => each !== name),
      random,
    );
    if (other === undefined) return undefined;
    const oneWay = random() < 0.5;
    const pairs = [{ from: name, to: other }, ...(oneWay ? [] : [{ from: other, to: name }])];
    const title = oneWay ? `${other} cannot hear ${name}` : `cut the link between ${name} and ${other}`;
    return cuts.fault(title, name, pairs, between(random, 2000, 8000));
  },
  storeless({ cluster, random }, name) {
    const road = cluster.roadOf(name);
    const { network } = cluster;
    const away = road === undefined ? network.cutHost : undefined;
    if (road === undefined && away === undefined) return undefined;
    road?.close();
    away?.call(network, name, true);
    return {
      title: `cut ${name} off from the store`,
      node: name,
      // To both sides of storeLossMs.
      lastsMs: between(random, 1000, 16_000),
      heal: () => {
        road?.open();
        away?.call(network, name, false);
        return Promise.resolve();
      },
    };
  },
  fill({ disk, random }) {
    if (disk === undefined) return undefined;
    disk.fill();
    return {
      title: 'fill the disk of the store',
      lastsMs: between(random, 500, 5000),
      heal: () => Promise.resolve(disk.free()),
    };
  },
  async move({ cluster, random }) {
    const vm = pick(cluster.vms, random);
    // It may just be on its way, or nobody may be there to do it.
    const refused = await cluster.client
      .command({ type: 'vm-migrate', vmId: vm?.id ?? '' })
      .then(() => undefined)
      .catch((error: unknown) => (error instanceof Error ? error.message : String(error)));
    return {
      title: `move ${vm?.id ?? ''}${refused === undefined ? '' : ` (refused: ${refused})`}`,
      lastsMs: 300,
      heal: () => Promise.resolve(),
    };
  },
};

const weights: readonly (readonly [keyof typeof makers, number])[] = [
  ['kill', 4],
  ['freeze', 4],
  ['isolate', 2],
  ['partition', 3],
  ['storeless', 2],
  ['fill', 2],
  ['move', 3],
];

/** Begins a fault by chance; undefined when it can't be done just now. */
export async function strike(source: FaultSource): Promise<Fault | undefined> {
  const { cluster, random, struck } = source;
  let at = random() * weights.reduce((sum, [, weight]) => sum + weight, 0);
  const [kind = 'kill'] = weights.find(([, weight]) => (at -= weight) < 0) ?? [];
  const node = pick(
    cluster.options.nodes.filter((name) => !struck.has(name)),
    random,
  );
  return node === undefined ? undefined : makers[kind]?.(source, node);
}
