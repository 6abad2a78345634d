/**
 * What a host may do to a node: clocks that jump, a disk that is slow, fails, is full or no longer ours, another cluster on its store, other
 * versions. Each trouble befalls a node process of its own that runs a VM; it must outlive it, and afterwards the VM goes on without a lost
 * or wrong step. What a host lacks (a compiler, faketime, the right to mount) is left out, and named.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { chainGuest, ChainChecker, ClusterClient, NodeProcess } from '@revenant/cluster';
import { protocolVersion, versionHeader } from '@revenant/cluster/protocol';
import { SmallDisk } from '../chaos/faults.ts';

export interface TroubleFigures {
  name: string;
  /** Steps that the VM made while it lasted. */
  steps: number;
  leasesLost: number;
  /** Slowest answer of the node meanwhile. */
  slowestMs: number;
  /** From the end of the trouble until the VM has made further steps. */
  recoveredMs: number;
}

const token = 'a token of the attack suite';
/** Until a VM goes on after its trouble is over: on a host with much to do. */
const recoveryMs = 120_000;
const patience = { answerMs: recoveryMs, patienceMs: recoveryMs };
const pauseMs = 50;
const nobody = 65_534;
const spec = { runtime: 'chain', description: {}, memoryMiB: 16, priority: 1, outputs: 'async' as const };

interface Trouble {
  name: string;
  /** What the node is to run in. */
  within?: readonly string[];
  /** Before the node starts, with the folder of its store. */
  before?(store: string): void;
  /** Called again and again while it lasts. */
  befall(turn: number, node: NodeProcess): Promise<void> | void;
  heal(): void;
  /** When its node has ended. */
  after?(): void;
}

async function suffer(
  trouble: Trouble,
  { folder, ms }: { folder: string; ms: number },
): Promise<TroubleFigures> {
  const own = join(folder, trouble.name.replaceAll(/\W+/g, '-'));
  const path = join(own, 'store');
  mkdirSync(path, { recursive: true });
  const tokenFile = join(own, 'token');
  writeFileSync(tokenFile, token);
  trouble.before?.(path);
  const [logFile, within] = [join(own, 'log'), trouble.within ?? []];
  const words = {
    store: `file:${path}/objects`,
    name: 'a',
    profile: 'default' as const,
    logFile,
    tokenFile,
    within,
  };
  const node = await NodeProcess.start(words);
  const client = new ClusterClient({ nodes: [node.address], token, ...patience });
  const checker = new ChainChecker(chainGuest.rule);
  const follower = client.console('v', (bytes, epoch) => checker.hear(bytes, epoch));
  const steps = async (more: number): Promise<void> => {
    const wanted = checker.state.steps + more;
    const until = performance.now() + recoveryMs;
    while (checker.state.steps < wanted) {
      if (node.ended) throw new Error(`${trouble.name}: the node ended; see ${logFile}`);
      if (performance.now() > until) throw new Error(`${trouble.name}: the VM makes no step; see ${logFile}`);
      await sleep(pauseMs);
    }
  };
  try {
    await client.command({ type: 'vm-create', vmId: 'v', spec, start: true });
    await steps(10);
    const figures = {
      name: trouble.name,
      steps: checker.state.steps,
      leasesLost: 0,
      slowestMs: 0,
      recoveredMs: 0,
    };
    const until = performance.now() + ms;
    for (let turn = 0; performance.now() < until; turn++) {
      await trouble.befall(turn, node);
      const asked = performance.now();
      await client.status();
      figures.slowestMs = Math.max(figures.slowestMs, performance.now() - asked);
      await sleep(pauseMs);
    }
    figures.steps = checker.state.steps - figures.steps;
    trouble.heal();
    const healed = performance.now();
    await steps(10);
    figures.recoveredMs = performance.now() - healed;
    checker.finish(5000);
    if (checker.state.fault !== undefined) throw new Error(`${trouble.name}: ${checker.state.fault}`);
    figures.leasesLost = (await client.events()).filter(({ event }) => event === 'lease-lost').length;
    return figures;
  } finally {
    trouble.heal();
    follower.close();
    await client.close();
    node.kill();
    await node.whenEnded;
    trouble.after?.();
  }
}

const faketime = '/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1';

/** Clocks that `befall` sets; libfaketime fakes the monotonic one too unless it is told not to. */
function jumpingClock(
  folder: string,
  {
    name,
    more,
    offset,
    heals,
  }: { name: string; more: string[]; offset: (turn: number) => string; heals: boolean },
): Trouble | string {
  if (!existsSync(faketime)) return `${name} (Debian: faketime)`;
  const file = join(folder, `${name.replaceAll(' ', '-')}.txt`);
  const set = (offset: string): void => writeFileSync(file, offset);
  set('+0');
  const env = [`LD_PRELOAD=${faketime}`, `FAKETIME_TIMESTAMP_FILE=${file}`, 'FAKETIME_NO_CACHE=1', ...more];
  return {
    name,
    within: ['env', ...env],
    befall: (turn) => set(offset(turn)),
    heal: () => (heals ? set('+0') : undefined),
  };
}

function jumpingClocks(folder: string): (Trouble | string)[] {
  const offsets = ['+1h', '-1h', '+10y', '+0', '-10y', '+3s', '-3s'];
  return [
    // Forth and back by up to ten years, several times a second.
    jumpingClock(folder, {
      ...{ name: 'wall clock that jumps', more: ['FAKETIME_DONT_FAKE_MONOTONIC=1'], heals: true },
      offset: (turn) => offsets[turn % offsets.length]!,
    }),
    // As where the hypervisor below stops this host for longer than a lease and then says so. Never back: a monotonic clock does not.
    jumpingClock(folder, {
      ...{ name: 'monotonic clock that jumps', more: [], heals: false },
      offset: (turn) => `+${String(Math.floor(turn / 10) * 3)}s`,
    }),
  ];
}

/** A disk on which everything that makes data durable takes long, or fails now and then. */
function badDisks(folder: string): (Trouble | string)[] {
  const library = join(folder, 'bad-disk.so');
  const source = fileURLToPath(new URL('./bad-disk.c', import.meta.url));
  const built = spawnSync('gcc', ['-shared', '-fPIC', '-O1', '-o', library, source, '-ldl']).status === 0;
  if (!built) return ['disks that are slow or fail (gcc)'];
  const disk = (name: string, text: string): Trouble => {
    const file = join(folder, `${name.replaceAll(' ', '-')}.txt`);
    const set = (value: string): void => writeFileSync(file, value);
    set('0 0');
    return {
      name,
      within: ['env', `LD_PRELOAD=${library}`, `BAD_DISK=${file}`],
      befall: () => set(text),
      heal: () => set('0 0'),
    };
  };
  return [
    disk('slow disk, 100 ms an operation', '100 0'),
    disk('very slow disk, 1500 ms an operation', '1500 0'),
    disk('disk that fails one time in five', '0 200'),
    disk('disk that always fails', '0 1000'),
  ];
}

function fullDisk(): Trouble | string {
  let disk: SmallDisk | undefined;
  return {
    name: 'full disk',
    before: (store) => {
      disk = SmallDisk.mount(store, 64);
      if (disk === undefined) throw new Error('mounting is not allowed');
    },
    befall: () => disk?.fill(),
    heal: () => disk?.free(),
    after: () => disk?.unmount(),
  };
}

/** A node that is not root, whose store is taken from it. */
function lostPermissions(): Trouble {
  let path = '';
  return {
    name: 'store without permission',
    within: ['setpriv', `--reuid=${String(nobody)}`, `--regid=${String(nobody)}`, '--clear-groups'],
    before: (store) => {
      path = store;
      for (const folder of [join(store, '..', '..'), join(store, '..')]) chmodSync(folder, 0o755);
      chownSync(store, nobody, nobody);
    },
    befall: () => chmodSync(path, 0),
    heal: () => chmodSync(path, 0o755),
  };
}

/** Runs each for `ms`. Throws for one that a node does not outlive. */
export async function sufferTroubles(options: {
  folder: string;
  ms: number;
}): Promise<{ figures: TroubleFigures[]; leftOut: string[] }> {
  const { folder } = options;
  const isRoot = process.getuid?.() === 0;
  const asRoot = (made: () => Trouble | string, what: string): Trouble | string =>
    isRoot ? made() : `${what} (root)`;
  const troubles = [
    ...jumpingClocks(folder),
    ...badDisks(folder),
    asRoot(fullDisk, 'a full disk'),
    asRoot(lostPermissions, 'a store without permission'),
  ];
  const figures: TroubleFigures[] = [];
  for (const trouble of troubles)
    if (typeof trouble !== 'string') figures.push(await suffer(trouble, options));
  return { figures, leftOut: troubles.filter((trouble) => typeof trouble === 'string') };
}

/** Nodes that must not start, each with what it has to say in its last words. Throws when one does. */
export async function refuseStrays(folder: string): Promise<string[]> {
  const store = `file:${join(folder, 'claimed')}`;
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const [tokenFile, otherToken] = [file('token-a', token), file('token-b', 'the token of another cluster')];
  const logFile = join(folder, 'strays.log');
  const start = (more: object): Promise<NodeProcess> =>
    NodeProcess.start({ store, name: 'b', profile: 'default', logFile, ...more });
  const node = await start({ name: 'a', tokenFile });
  const said: string[] = [];
  const refused = async (words: RegExp, more: object): Promise<void> => {
    const before = readFileSync(logFile, 'utf8').length;
    const stray = await start(more).catch(() => undefined);
    const code = await stray?.whenEnded;
    const line = readFileSync(logFile, 'utf8')
      .slice(before)
      .split('\n')
      .find((each) => words.test(each));
    if (code === 0 || line === undefined) throw new Error(`no word of ${String(words)}; see ${logFile}`);
    said.push(line);
  };
  try {
    await refused(/belongs to a cluster with another token/, { tokenFile: otherToken });
    await refused(/with a token, and this node has none/, {});
    await refused(/^revenant node: a node named a is alive/, { name: 'a', tokenFile });
    if (process.getuid?.() === 0) {
      const within = ['setpriv', `--reuid=${String(nobody)}`, `--regid=${String(nobody)}`, '--clear-groups'];
      const closed = join(folder, 'closed');
      mkdirSync(closed, { mode: 0o700 });
      chmodSync(tokenFile, 0o644);
      chmodSync(folder, 0o755);
      await refused(/EACCES|permission/i, { store: `file:${closed}`, tokenFile, within });
    }
    for (const version of ['0', String(protocolVersion + 1), 'constructor']) {
      const answer = await fetch(`http://${node.address}/v1/status`, {
        headers: { [versionHeader]: version },
      });
      const text = await answer.text();
      if (answer.status !== 400 || !text.includes('PROTOCOL')) throw new Error(`version ${version}: ${text}`);
      said.push(`protocol ${version}: ${(JSON.parse(text) as { error: { message: string } }).error.message}`);
    }
    return said;
  } finally {
    node.kill();
    await node.whenEnded;
  }
}
