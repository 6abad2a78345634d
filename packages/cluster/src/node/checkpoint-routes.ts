/**
 * A VM's checkpoints for those who look into them, and for a tab in which one goes on (docs/CLUSTER_PROTOCOL.md, "API"). The node decodes and
 * decrypts: whoever asks needs the role, and no key.
 */
import type { ServerResponse } from 'node:http';
import { encodeLog } from '@revenant/emulator';
import {
  encodeCheckpointFile,
  formatId,
  listCheckpoints,
  placePages,
  type CheckpointOrigin,
  type CheckpointReader,
} from '@revenant/storage';
import { ClusterError } from '../errors.ts';
import type { ListedCheckpoint } from '../protocol/checkpoints.ts';
import { maxCheckpoints, maxPagesAtOnce } from '../protocol/limits.ts';
import { LazyRam } from '../vm/lazy-ram.ts';
import { readLogBehind } from '../vm/replay-log.ts';
import { savedDisplay } from '../vm/saved-display.ts';
import { requireRole } from './callers.ts';
import type { ClusterNode } from './cluster-node.ts';
import { answerJson, type Answer } from './answers.ts';

const pathPattern =
  /^\/v1\/vms\/([^/]+)\/checkpoints(?:\/(\d{1,10}-\d{1,10}|latest)\/(state|absent|pages|machine|map|screen|log))?$/;
/** What who only looks may see too: no memory is in it. */
const forAll = new Set(['map', 'screen']);

/** Answers what is about checkpoints; false for any other path, to which nothing was answered. */
export async function checkpointRoute(node: ClusterNode, url: URL, answer: Answer): Promise<boolean> {
  const [, vmId, which, what] = pathPattern.exec(url.pathname) ?? [];
  if (vmId === undefined || answer.request.method !== 'GET') return false;
  const { response, caller } = answer;
  if (which === undefined || what === undefined) {
    answerJson(response, { checkpoints: await list(node, vmId) });
    return true;
  }
  // All of a guest's memory is in it: more than a person sees who only looks.
  if (!forAll.has(what)) requireRole(caller, 'operate', 'to open a checkpoint');
  const reader = await node.checkpoints.get(vmId, which);
  switch (what) {
    case 'pages': {
      const { space, indexes } = pagesAsked(url.searchParams, (name) => pageCountOf(reader, name));
      answerBytes(response, await reader.readPages(space, indexes));
      break;
    }
    case 'map':
      answerBytes(response, await mapOf(node, reader, url.searchParams));
      break;
    case 'screen':
      answerJson(response, await savedDisplay(reader));
      break;
    case 'machine':
      note(node, answer, reader);
      answerBytes(response, machineFile(reader));
      break;
    case 'log':
      answerBytes(response, await logBehind(node, reader));
      break;
    default:
      await answerState(node, { reader, what, answer });
  }
  return true;
}

/** Everything, but for pages of RAM that can wait; or which pages these are. */
async function answerState(
  node: ClusterNode,
  { reader, what, answer }: { reader: CheckpointReader; what: string; answer: Answer },
): Promise<void> {
  const lazy = await LazyRam.open(reader);
  if (lazy === undefined) throw new ClusterError('CONFLICT', `${reader.vmId} has no memory`);
  if (what === 'absent')
    return answerBytes(
      answer.response,
      new Uint8Array(lazy.absent.buffer, lazy.absent.byteOffset, lazy.absent.byteLength),
    );
  note(node, answer, reader);
  answerBytes(answer.response, Buffer.concat([...encodeCheckpointFile(lazy.snapshot, originOf(reader))]));
}

function note(node: ClusterNode, { caller }: Answer, reader: CheckpointReader): void {
  node.audit.note(caller, `opened its checkpoint ${formatId(reader.id)}`, { vm: reader.vmId });
}

function originOf({ vmId, id, head }: CheckpointReader): CheckpointOrigin {
  return { vmId, checkpoint: formatId(id), createdAtMs: head.createdAtMs };
}

/** A checkpoint file with the state of processors and devices, and no page. */
function machineFile(reader: CheckpointReader): Uint8Array {
  const nothing = { full: true, indexes: new Uint32Array(0), bytes: new Uint8Array(0) };
  const spaces = reader.spaces.map((shape) => ({ ...shape, ...nothing }));
  return Buffer.concat([...encodeCheckpointFile({ ...reader.state, spaces }, originOf(reader))]);
}

function pageCountOf(reader: CheckpointReader, space: string): number {
  return reader.spaces.find(({ name }) => name === space)?.pageCount ?? 0;
}

/** `?space=ram&before=3-12`: a byte for each page, one of the PAGE_ constants of storage. */
async function mapOf(
  node: ClusterNode,
  reader: CheckpointReader,
  query: URLSearchParams,
): Promise<Uint8Array> {
  const space = query.get('space') ?? '';
  const before = query.get('before');
  if (pageCountOf(reader, space) === 0 || !(before === null || /^\d{1,10}-\d{1,10}$/.test(before)))
    throw new ClusterError('BAD_REQUEST', 'no map of a space', { hint: '?space=ram&before=EPOCH-SEQUENCE' });
  const earlier = before === null ? undefined : await node.checkpoints.get(reader.vmId, before);
  return placePages(reader, space, earlier);
}

/** The count up to which it is known what came in (u64, little endian), and the log of that. */
async function logBehind(node: ClusterNode, reader: CheckpointReader): Promise<Uint8Array> {
  const behind = await readLogBehind(node.store, reader, node.options.key);
  const log = encodeLog(behind?.log ?? []);
  const body = Buffer.alloc(8 + log.length);
  body.writeBigUInt64LE(behind?.to ?? reader.head.instructions);
  body.set(log, 8);
  return body;
}

function answerBytes(response: ServerResponse, bytes: Uint8Array): void {
  response.writeHead(200, {
    'content-type': 'application/octet-stream',
    'content-length': bytes.length,
    // What a guest held is not kept by browsers.
    'cache-control': 'no-store',
  });
  response.end(bytes);
}

/** `?space=ram&indexes=256,257` */
function pagesAsked(
  query: URLSearchParams,
  pagesOf: (space: string) => number,
): { space: string; indexes: Uint32Array } {
  const space = query.get('space') ?? '';
  const text = query.get('indexes') ?? '';
  const indexes = /^\d{1,10}(,\d{1,10})*$/.test(text) ? text.split(',').map(Number) : [];
  const pageCount = /^[a-z][a-z0-9_.-]{0,62}$/.test(space) ? pagesOf(space) : 0;
  const isList = indexes.length > 0 && indexes.length <= maxPagesAtOnce;
  if (!isList || indexes.some((page) => page >= pageCount))
    throw new ClusterError('BAD_REQUEST', `no pages of a space: at most ${String(maxPagesAtOnce)} numbers`, {
      hint: '?space=ram&indexes=256,257',
    });
  return { space, indexes: Uint32Array.from(indexes) };
}

async function list(node: ClusterNode, vmId: string): Promise<ListedCheckpoint[]> {
  const found = await listCheckpoints(node.store, vmId, { key: node.options.key });
  return found.slice(-maxCheckpoints).map(({ id, counts, head, damaged, newest }) => ({
    id: formatId(id),
    epoch: id.epoch,
    counts,
    newest,
    ...(damaged === undefined ? {} : { damaged: damaged.slice(0, 250) }),
    ...(head === undefined
      ? {}
      : {
          atMs: head.createdAtMs,
          instructions: String(head.instructions),
          virtualMs: Number(head.virtualTimeNs / 1_000_000n),
          pages: head.counts.listedPages,
          storedBytes: head.counts.packBytes,
        }),
  }));
}
