// The attack suite: decoders in this process, then floods against a node of its own that runs a VM.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ClusterClient, NodeProcess } from '@revenant/cluster';
import { dropBombs, fuzzDecoders, namesInCommands, type DecoderFigures } from './decoders.ts';
import { flood, type FloodFigures } from './floods.ts';

interface AttackFigures {
  decoders: DecoderFigures;
  bombs: { name: string; ms: number }[];
  names: number;
  floods: FloodFigures[];
  /** How often the node lost its lease while it was flooded. */
  leasesLost: number;
}

const token = 'a token of the attack suite';

export async function attack(options: {
  frames: number;
  seed: number;
  floodMs: number;
  width: number;
}): Promise<AttackFigures> {
  const decoders = fuzzDecoders(options.frames, options.seed);
  const bombs = dropBombs();
  const names = namesInCommands();
  const folder = mkdtempSync(join(tmpdir(), 'revenant-attack-'));
  const tokenFile = join(folder, 'token');
  writeFileSync(tokenFile, token);
  const store = `file:${join(folder, 'store')}`;
  const logFile = join(folder, 'log');
  const node = await NodeProcess.start({ store, name: 'a', profile: 'default', logFile, tokenFile });
  const client = new ClusterClient({ nodes: [node.address], token, answerMs: 60_000 });
  try {
    const spec = { runtime: 'chain', description: {}, memoryMiB: 16, priority: 1, outputs: 'async' as const };
    await client.command({ type: 'vm-create', vmId: 'v', spec, start: true });
    await client.waitFor('v', ['running']);
    const { address, pid } = node;
    const { floodMs: ms, width } = options;
    const floods = await flood({ address, pid, token, ms, width });
    if (node.ended) throw new Error(`the node ended; see ${logFile}`);
    await client.waitFor('v', ['running']);
    const leasesLost = (await client.events()).filter(({ event }) => event === 'lease-lost').length;
    return { decoders, bombs, names, floods, leasesLost };
  } finally {
    await client.close();
    node.kill();
    await node.whenEnded;
    rmSync(folder, { recursive: true, force: true });
  }
}
