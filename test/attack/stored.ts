/**
 * Attacks on everything that is read from a store or a file: what is valid, changed behind its checksum (so that the decoders see it), and
 * objects that claim, or unpack to, more than they are. Whoever can write the store can do this; nodes and the inspector must outlive it.
 */
import { hash } from 'node:crypto';
import { isStorageError } from '@revenant/storage';
import { Guest } from '../../packages/storage/test-support/guest.ts';
import { decodeCheckpointFile, encodeCheckpointFile } from '../../packages/storage/src/checkpoint-file.ts';
import { decodeManifest, encodeManifest } from '../../packages/storage/src/checkpoint/manifest.ts';
import { PackBuilder, parsePackHead } from '../../packages/storage/src/checkpoint/pack.ts';
import { applyRuns, PageMap } from '../../packages/storage/src/checkpoint/page-map.ts';
import {
  compressBlock,
  decodeState,
  decompressBlock,
  encodeState,
} from '../../packages/storage/src/codec.ts';
import { openEnvelope, sealEnvelope } from '../../packages/storage/src/envelope.ts';
import { systemHost } from '../../packages/storage/src/host.ts';
import { decodeSegment, encodeSegment } from '../../packages/storage/src/log/segment.ts';
import { Random } from '../../packages/simulation/src/random.ts';
import { Growth } from './growth.ts';
import { mutate } from './mutants.ts';

const hashBytes = 32;

/** One decoder, and something valid for it. */
interface Target {
  name: string;
  valid: Uint8Array;
  /** The last bytes are a hash of those before: made right again, so that the change is seen. */
  hashed: boolean;
  decode: (bytes: Uint8Array) => unknown;
}

const vmId = 'vm';
const id = { epoch: 1, sequence: 1 };

const host = systemHost;
const map = (): PageMap => new PageMap({ name: 'ram', pageSize: 4096, pageCount: 256 });

/** Runs of pages, as a page map keeps its changes. */
function pageRuns(): Uint8Array {
  const runs = Buffer.alloc(64);
  for (let run = 0; run < 4; run++) {
    runs.writeUInt32LE(run * 10, run * 16);
    runs.writeUInt32LE(3, run * 16 + 4);
    runs.writeUInt32LE(2, run * 16 + 8);
  }
  return runs;
}

function checkpointTargets(): Target[] {
  const builder = new PackBuilder(4096);
  for (let i = 0; i < 8; i++) builder.add(new Uint8Array(32).fill(i), 100, new Uint8Array(100).fill(i));
  const pack = builder.build('p', { host });
  const counts = { listedPages: 0, zeroPages: 0, sharedPages: 0, storedPages: 0, movedPages: 0 };
  const head = {
    ...{ vmId, id, parent: null, map: 'full' as const, chainLength: 1, createdAtMs: 0, instructions: 0n },
    ...{ virtualTimeNs: 0n, spaces: [{ name: 'ram', pageSize: 4096, pageCount: 16 }], nonce: 'x' },
    counts: { ...counts, rawBytes: 0, packBytes: 0, packs: 0 },
  };
  const body = {
    description: { a: 1 },
    cpus: [],
    devices: { x: { version: 1, state: { b: [1, 2] } } },
    packs: [{ name: 'p', ...pack.ref }],
    runs: [new Uint8Array(0)],
  };
  return [
    {
      name: 'manifest',
      valid: encodeManifest(head, body, { host }),
      hashed: true,
      decode: (bytes) => decodeManifest(vmId, id, bytes, undefined),
    },
    {
      name: 'pack',
      valid: pack.body.subarray(0, pack.ref.headBytes),
      hashed: false,
      decode: (bytes) => {
        const covered = bytes.subarray(0, Math.max(0, pack.ref.headBytes - hashBytes));
        const headHash = new Uint8Array(hash('sha256', covered, 'buffer'));
        return parsePackHead('p', { name: 'p', ...pack.ref, headHash }, bytes, undefined);
      },
    },
  ];
}

function segmentTarget(): Target {
  const segment = {
    ...{ vmId, epoch: 1, ordinal: 1, opened: 1, from: 0n, to: 100n, firstInput: 1n, previous: undefined },
    entries: [
      { count: 5n, payload: Uint8Array.of(1, 2, 3) },
      { count: 9n, payload: new Uint8Array(0) },
    ],
  };
  return {
    name: 'log segment',
    valid: encodeSegment(segment, { host }),
    hashed: true,
    decode: (bytes) => decodeSegment(vmId, { epoch: 1, ordinal: 1 }, bytes, undefined),
  };
}

function targets(): Target[] {
  const record = sealEnvelope(
    { state: 'owned', epoch: 3, owner: 'a', lineage: [{ epoch: 1, from: null }], notes: { incarnation: 1 } },
    { magic: 'RVRC', name: 'vms/vm/owner', host },
  );
  const state = encodeState({
    a: [1, -1, 2 ** 40, 1.5, null, true, 'text', 12n],
    b: new Uint8Array(9),
    c: new Uint32Array([1]),
  });
  const many = Buffer.concat(Array.from({ length: 9 }, () => state));
  return [
    {
      name: 'record',
      valid: record,
      hashed: true,
      decode: (bytes) => openEnvelope(bytes, { magic: 'RVRC', name: 'vms/vm/owner' }),
    },
    ...checkpointTargets(),
    segmentTarget(),
    { name: 'state', valid: state, hashed: false, decode: (bytes) => decodeState(bytes) },
    {
      name: 'block',
      valid: compressBlock(many),
      hashed: false,
      decode: (bytes) => decompressBlock(bytes, many.length),
    },
    {
      name: 'page map',
      valid: pageRuns(),
      hashed: false,
      decode: (bytes) => applyRuns(map(), bytes, () => 2),
    },
  ];
}

export interface StoredFigures {
  objects: number;
  accepted: number;
  slowestMs: number;
  /** How much more memory this process held, at the most, than as it began. */
  grownMiB: number;
}

function reseal(bytes: Uint8Array): Uint8Array {
  if (bytes.length <= hashBytes) return bytes;
  const covered = bytes.subarray(0, bytes.length - hashBytes);
  return Buffer.concat([covered, hash('sha256', covered, 'buffer')]);
}

/** `objects` mutants over all decoders. Throws, naming seed and number, for any error but the typed ones. */
export async function fuzzStored(objects: number, seed: number): Promise<StoredFigures> {
  const random = new Random(seed);
  const all = targets();
  for (const { name, valid, decode } of all)
    try {
      decode(valid);
    } catch (error) {
      throw new Error(`${name}: the valid one is refused`, { cause: error });
    }
  const figures = { objects, accepted: 0, slowestMs: 0, grownMiB: 0 };
  const growth = new Growth();
  for (let n = 0; n < objects; n++) {
    const { name, valid, hashed, decode } = random.pick(all);
    const mutant = mutate(valid, random);
    const bytes = hashed && random.chance(0.9) ? reseal(mutant) : mutant;
    const began = performance.now();
    try {
      decode(bytes);
      figures.accepted++;
    } catch (error) {
      if (!isStorageError(error)) {
        const where = `${name}, seed ${String(seed)}, object ${String(n)}: ${Buffer.from(bytes).toString('hex')}`;
        throw new Error(where, { cause: error });
      }
    }
    figures.slowestMs = Math.max(figures.slowestMs, performance.now() - began);
    growth.look(n);
  }
  await fuzzFiles(Math.ceil(objects / 200), random, { figures, growth });
  return { ...figures, grownMiB: growth.mostMiB };
}

/** Whole checkpoint files, which take longer. */
async function fuzzFiles(
  files: number,
  random: Random,
  { figures, growth }: { figures: StoredFigures; growth: Growth },
): Promise<void> {
  const snapshot = new Guest({ seed: 1, ramPages: 8, diskPages: 0 }).run(20).truth();
  const valid = Buffer.concat([...encodeCheckpointFile(snapshot)]);
  for (let n = 0; n < files; n++) {
    const mutant = mutate(valid, random);
    const bytes = random.chance(0.9) ? reseal(mutant) : mutant;
    const began = performance.now();
    try {
      await decodeCheckpointFile(bytes);
      figures.accepted++;
    } catch (error) {
      if (!isStorageError(error)) throw new Error(`file ${String(n)}`, { cause: error });
    }
    figures.slowestMs = Math.max(figures.slowestMs, performance.now() - began);
    growth.look(n);
  }
}
