// A VM's checkpoints for those who look into them, and for a tab in which one goes on (docs/CLUSTER_PROTOCOL.md, "API"). The node decodes and
// decrypts: whoever asks needs the role, and no key.
import type { ServerResponse } from 'node:http';
import { encodeCheckpointFile, formatId, listCheckpoints } from '@revenant/storage';
import { ClusterError } from '../errors.ts';
import type { ListedCheckpoint } from '../protocol/checkpoints.ts';
import { MAX_CHECKPOINTS, MAX_PAGES_AT_ONCE } from '../protocol/limits.ts';
import { LazyRam } from '../vm/lazy-ram.ts';
import { requireRole } from './callers.ts';
import type { ClusterNode } from './cluster-node.ts';
import { answerJson, type Answer } from './answers.ts';

const PATH = /^\/v1\/vms\/([^/]+)\/checkpoints(?:\/(\d{1,10}-\d{1,10}|latest)\/(state|absent|pages))?$/;

/** Answers what is about checkpoints; false for any other path, to which nothing was answered. */
export async function checkpointRoute(node: ClusterNode, url: URL, answer: Answer): Promise<boolean> {
  const [, vmId, which, what] = PATH.exec(url.pathname) ?? [];
  if (vmId === undefined || answer.request.method !== 'GET') return false;
  const { response, caller } = answer;
  if (which === undefined || what === undefined) {
    answerJson(response, { checkpoints: await list(node, vmId) });
    return true;
  }
  // All of a guest's memory is in it: more than a person sees who only looks.
  requireRole(caller, 'operate', 'to open a checkpoint');
  const reader = await node.checkpoints.get(vmId, which);
  const id = formatId(reader.id);
  if (what === 'pages') {
    const { space, indexes } = pagesAsked(
      url.searchParams,
      (name) => reader.spaces.find((each) => each.name === name)?.pageCount ?? 0,
    );
    answerBytes(response, await reader.readPages(space, indexes));
    return true;
  }
  const lazy = await LazyRam.open(reader);
  if (lazy === undefined) throw new ClusterError('CONFLICT', `${vmId} has no memory`);
  if (what === 'absent')
    answerBytes(response, new Uint8Array(lazy.absent.buffer, lazy.absent.byteOffset, lazy.absent.byteLength)); // prettier-ignore
  else {
    node.audit.note(caller, `opened its checkpoint ${id}`, { vm: vmId });
    const origin = { vmId, checkpoint: id, createdAtMs: reader.head.createdAtMs };
    answerBytes(response, Buffer.concat([...encodeCheckpointFile(lazy.snapshot, origin)]));
  }
  return true;
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
  const isList = indexes.length > 0 && indexes.length <= MAX_PAGES_AT_ONCE;
  if (!isList || indexes.some((page) => page >= pageCount))
    throw new ClusterError(
      'BAD_REQUEST',
      `no pages of a space: at most ${String(MAX_PAGES_AT_ONCE)} numbers`,
      {
        hint: '?space=ram&indexes=256,257',
      },
    );
  return { space, indexes: Uint32Array.from(indexes) };
}

async function list(node: ClusterNode, vmId: string): Promise<ListedCheckpoint[]> {
  const found = await listCheckpoints(node.store, vmId, { key: node.options.key });
  return found.slice(-MAX_CHECKPOINTS).map(({ id, counts, head, damaged, newest }) => ({
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
