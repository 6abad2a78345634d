/**
 * The attack suite: decoders in this process, then node processes of its own, on loopback: floods and requests of strangers and of members, hostile
 * guests, large writers, and troubles of the host.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ClusterClient, Guardian, NodeProcess } from '@revenant/cluster';
import { fuzzApi, fuzzBodies, type ApiFigures, type BodyFigures } from './bodies.ts';
import { commands, dropBombs, fuzzDecoders, namesInCommands, type DecoderFigures } from './decoders.ts';
import { flood, type FloodFigures } from './floods.ts';
import { bearHostile } from './hostile.ts';
import type { HostileFigures } from './hostile-host.ts';
import { fuzzStored, type StoredFigures } from './stored.ts';
import { bearWriters, type WriterFigures } from './writers.ts';
import { refuseStrays, sufferTroubles, type TroubleFigures } from './troubles.ts';
import { answerMs } from '../../packages/cluster/src/testing/patience.ts';

/** What the suite consists of; any of it can be run alone. */
export const parts = [
  'decoders',
  'bodies',
  'stored',
  'callers',
  'strays',
  'guests',
  'writers',
  'troubles',
] as const;
export type Part = (typeof parts)[number];

/** Of parts that were left out there are none. */
export interface AttackFigures {
  decoders?: DecoderFigures;
  bodies?: BodyFigures;
  stored?: StoredFigures;
  bombs: { name: string; ms: number }[];
  names: number;
  api: ApiFigures[];
  floods: FloodFigures[];
  /** How often the node lost its lease while it was flooded and asked. */
  leasesLost: number;
  /** What nodes said that must not start. */
  strays: string[];
  hostile: HostileFigures[];
  writers: WriterFigures[];
  troubles: TroubleFigures[];
  /** What this host lacks something for. */
  leftOut: string[];
}

export interface AttackOptions {
  /** Default: all parts. */
  only?: readonly Part[];
  /** Of frames between nodes, of bodies, and of stored objects. */
  frames: number;
  /** To a node, by a stranger and by a member. */
  requests: number;
  seed: number;
  /** For each flood, hostile guest and trouble. */
  ms: number;
  /** Connections of a flood at once. */
  width: number;
  /** Of the image that is imported, exported and imported again. */
  imageMiB: number;
}

/** Small file systems, should we be killed while they are there. */
const mountPoints = ['full-disk/store', 'hostile-2/small'];
const token = 'a token of the attack suite';

/** Most of a case's time goes into the stack of its refusal. A failure names its case, which can be run again. */
async function withoutStacks<T>(run: () => T | Promise<T>): Promise<T> {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return await run();
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

export async function attack({ only = parts, ...options }: AttackOptions): Promise<AttackFigures> {
  const { frames, seed, ms, imageMiB } = options;
  const has = (part: Part): boolean => only.includes(part);
  const found: AttackFigures = {
    ...{ bombs: [], names: 0, api: [], floods: [], leasesLost: 0, strays: [] },
    ...{ hostile: [], writers: [], troubles: [], leftOut: [] },
    ...(has('decoders') && {
      decoders: await withoutStacks(() => fuzzDecoders(frames, seed)),
      bombs: dropBombs(),
      names: namesInCommands(),
    }),
    ...(has('bodies') && { bodies: await withoutStacks(() => fuzzBodies(commands, frames, seed)) }),
    ...(has('stored') && { stored: await withoutStacks(() => fuzzStored(frames, seed)) }),
  };
  const folder = mkdtempSync(join(tmpdir(), 'revenant-attack-'));
  const guardian = await Guardian.ofProcess();
  for (const mounted of mountPoints) guardian.run(['umount', '-l', join(folder, mounted)]);
  guardian.remove(folder);
  try {
    if (has('callers')) Object.assign(found, await askAndFlood(folder, options));
    if (has('strays')) found.strays = await refuseStrays(folder);
    const hostile = has('guests') ? await bearHostile({ folder, ms }) : { figures: [], leftOut: [] };
    const writers = has('writers') ? await bearWriters({ folder, imageMiB }) : [];
    const troubles = has('troubles') ? await sufferTroubles({ folder, ms }) : { figures: [], leftOut: [] };
    return {
      ...found,
      ...{ hostile: hostile.figures, writers, troubles: troubles.figures },
      leftOut: [...hostile.leftOut, ...troubles.leftOut],
    };
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** One node with a VM, which hostile requests reach. */
async function askAndFlood(
  folder: string,
  { requests, seed, ms, width }: AttackOptions,
): Promise<Pick<AttackFigures, 'api' | 'floods' | 'leasesLost'>> {
  const own = join(folder, 'asked');
  mkdirSync(own);
  const tokenFile = join(own, 'token');
  writeFileSync(tokenFile, token);
  const store = `file:${join(own, 'store')}`;
  const logFile = join(own, 'log');
  const node = await NodeProcess.start({ store, name: 'a', profile: 'default', logFile, tokenFile });
  const { address, pid } = node;
  const client = new ClusterClient({ nodes: [address], token, answerMs });
  try {
    const spec = { runtime: 'chain', description: {}, memoryMiB: 16, priority: 1, outputs: 'async' as const };
    await client.command({ type: 'vm-create', vmId: 'beside', spec, start: true });
    await client.waitFor('beside', ['running']);
    const api: ApiFigures[] = [];
    for (const each of [undefined, token])
      api.push(await fuzzApi({ address, token: each, commands, requests, seed }));
    const floods = await flood({ address, pid, token, ms, width });
    if (node.ended) throw new Error(`the node ended; see ${logFile}`);
    await client.waitFor('beside', ['running']);
    const leasesLost = (await client.events()).filter(({ event }) => event === 'lease-lost').length;
    return { api, floods, leasesLost };
  } finally {
    await client.close();
    node.kill();
    await node.whenEnded;
  }
}
