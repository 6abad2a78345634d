/** The clocks of guests in a cluster, as one hears them from outside: they say by their timers that time has passed. */
import { rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ConsoleFollower } from '@revenant/cluster';
import { temporaryFolder, TestCluster } from '../chaos/harness.ts';
import type { Figures } from './clock.ts';
import { median } from './report.ts';
import { makeTimerKernel, tickMs } from './timer-kernel.ts';

const ticksPerDot = 5;
const dotMs = tickMs * ticksPerDot;
const memoryMiB = 16;
/** Until a guest that comes to a node has run there for a while. */
const settleMs = 3000;
const dot = '.'.charCodeAt(0);

/** By how much each value is greater than the one before it: of the line that fits them best. */
function slope(values: readonly number[]): number {
  const middle = (values.length - 1) / 2;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const [above, below] = values.reduce(
    ([a, b], value, n) => [a + (n - middle) * (value - mean), b + (n - middle) ** 2],
    [0, 0],
  );
  return above / below;
}

/** One guest, and when each of its dots was heard. */
class Clock {
  readonly id: string;
  readonly title: string;
  readonly #computes: boolean;
  #follower: ConsoleFollower | undefined;
  #heardMs: number[] = [];

  constructor(options: { id: string; title: string; computes: boolean }) {
    this.id = options.id;
    this.title = options.title;
    this.#computes = options.computes;
  }

  async create({ client }: TestCluster): Promise<void> {
    const kernel = await client.putBlob(makeTimerKernel({ ticksPerDot, computes: this.#computes }));
    const description = { memoryBytes: memoryMiB << 20, commandLine: '', kernel };
    const spec = { runtime: 'machine', description, memoryMiB, priority: 1, outputs: 'async' as const };
    await client.command({ type: 'vm-create', vmId: this.id, spec, start: true });
    this.#follower = client.console(this.id, (bytes) => {
      const now = performance.now();
      for (const byte of bytes) if (byte === dot) this.#heardMs.push(now);
    });
  }

  close(): void {
    this.#follower?.close();
  }

  get dots(): number {
    return this.#heardMs.length;
  }

  forget(): void {
    this.#heardMs = [];
  }

  /** What was heard since `forget`. */
  figures(name: string, title: string, seconds: number): Figures {
    const heard = this.#heardMs;
    const [first = 0] = heard;
    // How much later than by the guest's clock each was heard: it takes a while to come here, but always the same.
    const late = heard.map((ms, n) => ms - first - n * dotMs);
    const usual = median(late);
    return {
      ...{ name, title, seconds },
      ratio: 1 / (1 + slope(late) / dotMs),
      farthestMs: Math.max(...late.map((ms) => Math.abs(ms - usual))),
    };
  }
}

/** Two guests, one that waits and one that computes, on two nodes; then moved; then without one of the nodes. */
export async function measureInCluster(seconds: number, tell: (figures: Figures) => void): Promise<void> {
  const folder = await temporaryFolder('clock');
  const nodes = ['n1', 'n2'];
  const cluster = new TestCluster({ store: `file:${folder}/store`, folder, profile: 'default', nodes });
  const clocks = [
    new Clock({ id: 'waits', title: 'waits', computes: false }),
    new Clock({ id: 'computes', title: 'computes', computes: true }),
  ];
  const measure = async (where: string, title: string): Promise<void> => {
    const speaks = (clock: Clock): boolean => clock.dots > 0;
    for (const clock of clocks) clock.forget();
    await cluster.until('both guests to speak', () => clocks.every(speaks));
    await sleep(settleMs);
    for (const clock of clocks) clock.forget();
    await sleep(seconds * 1000);
    for (const clock of clocks)
      tell(clock.figures(`${where} ${clock.id}`, `${title}: ${clock.title}`, seconds));
  };
  const holder = async (id: string): Promise<string> =>
    (await cluster.client.waitFor(id, ['running'])).assignment?.node ?? '';
  try {
    await cluster.start();
    for (const clock of clocks) await clock.create(cluster);
    await measure('cluster', 'VM of a cluster');
    for (const { id } of clocks) {
      const from = await holder(id);
      await cluster.client.command({ type: 'vm-migrate', vmId: id });
      await cluster.until(`${id} to move`, async () => (await holder(id)) !== from);
    }
    await measure('moved', 'VM after a live move');
    const victim = await holder('computes');
    cluster.nodes.get(victim)?.kill();
    await cluster.until('a takeover', async () => {
      const left = await Promise.all(clocks.map(({ id }) => holder(id).catch(() => victim)));
      return left.every((node) => node !== victim);
    });
    await measure('taken', 'VM after a takeover');
  } finally {
    for (const clock of clocks) clock.close();
    await cluster.end();
    rmSync(folder, { recursive: true, force: true });
  }
}
