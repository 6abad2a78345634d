/** What a node answers to each request of a caller it knows (docs/CLUSTER_PROTOCOL.md, "API"). */
import * as v from 'valibot';
import { screenLines } from '@revenant/emulator';
import { ClusterError, messageOf } from '../errors.ts';
import {
  commandRequestSchema,
  drillRequestSchema,
  forkRequestSchema,
  keysRequestSchema,
  mediumRequestSchema,
} from '../protocol/api.ts';
import { vmOf } from '../decisions/records.ts';
import { wantsStandby } from '../protocol/spec.ts';
import { maxBlobBytes, maxEvents } from '../protocol/limits.ts';
import { check } from '../protocol/schema.ts';
import { blobBytes, hasBlob, putBlob } from '../stored/blobs.ts';
import { roleForCommand } from '../page/needed-role.ts';
import type { Command } from '../decisions/commands.ts';
import type { Caller } from '../protocol/page.ts';
import { requireRole } from './callers.ts';
import { answerJson, type Answer } from './answers.ts';
import { baseImageRoute } from './base-images.ts';
import { checkpointRoute } from './checkpoint-routes.ts';
import type { ClusterNode } from './cluster-node.ts';
import { forkOf } from './forks.ts';
import { imageRoute } from './image-shelf.ts';
import { metrics } from './metrics.ts';
import { bodyOf, readPieces, saidBodyHash } from './bodies.ts';
import { isOperation } from './operations.ts';
import { snapshotRoute } from './snapshot-routes.ts';
import { status } from './status.ts';
import { disksOf } from '../vm/disks.ts';

const decimal = v.pipe(v.string(), v.regex(/^\d{1,15}$/, 'not a number'), v.transform(Number));
const eventsQuerySchema = v.object({
  since: v.optional(decimal, '0'),
  limit: v.optional(v.pipe(decimal, v.maxValue(maxEvents)), '1000'),
});

export async function route(node: ClusterNode, answer: Answer): Promise<void> {
  const { request, response } = answer;
  const url = URL.parse(request.url ?? '/', 'http://node');
  if (url === null) throw new ClusterError('BAD_REQUEST', 'a request for no path');
  const asked = `${request.method ?? ''} ${url.pathname}`;
  if (!isOperation(request.method, url.pathname)) throw new ClusterError('NOT_FOUND', `there is no ${asked}`);
  const [, verb, hash] = /^(GET|PUT) \/v1\/blobs\/([0-9a-f]{64})$/.exec(asked) ?? [];
  if (hash !== undefined) return verb === 'GET' ? findBlob(node, hash, answer) : takeBlob(node, hash, answer);
  const parent = /^POST \/v1\/vms\/([^/]+)\/fork$/.exec(asked)?.[1];
  if (parent !== undefined) {
    requireRole(answer.caller, 'admin', 'vm-fork');
    const made = await forkOf(node, parent, await bodyOf(forkRequestSchema, answer));
    node.audit.note(answer.caller, `forks ${parent} ${made.from}`, { vm: made.vmId });
    return answerJson(response, made);
  }
  const guest = /^(GET|POST) \/v1\/vms\/([^/]+)\/(screen|keys|power-button|medium|standby)$/.exec(asked);
  if (guest !== null) return askGuest(node, guest[2]!, `${guest[1]!} ${guest[3]!}`, answer);
  const charted = /^GET \/v1\/vms\/([^/]+)\/figures$/.exec(asked)?.[1];
  if (charted !== undefined) return answerJson(response, { samples: answer.history.samplesOf(charted) });
  if (await checkpointRoute(node, url, answer)) return;
  if (await imageRoute(node, asked, answer)) return;
  if (await baseImageRoute(node, asked, answer)) return;
  if (await snapshotRoute(node, asked, answer)) return;
  switch (asked) {
    case 'GET /v1/openapi.json': {
      // The validator's converter is needed for nothing else.
      const { openApi } = await import('./openapi.ts');
      return answerJson(response, openApi());
    }
    case 'GET /v1/figures':
      return answerJson(response, answer.history.now());
    case 'GET /v1/status':
      return answerJson(response, status(node));
    case 'GET /v1/events': {
      const query = Object.fromEntries(url.searchParams);
      const { since, limit } = check(eventsQuerySchema, query, 'the query', 'BAD_REQUEST');
      return answerJson(response, await node.events.read({ sinceMs: since, limit }));
    }
    case 'POST /v1/commands': {
      const { id, command } = await bodyOf(commandRequestSchema, answer);
      await commanded(node, command, { id, caller: answer.caller });
      return answerJson(response, { id });
    }
    case 'POST /v1/drill':
      return drill(node, answer);
    case 'GET /metrics': {
      const { type, text } = await metrics(node);
      response.writeHead(200, { 'content-type': type });
      response.end(text);
      return;
    }
    default:
      throw new ClusterError('NOT_FOUND', `there is no ${asked}`);
  }
}

/** Has a command carried out for somebody who may ask for it, and notes who that was and what became of it. */
async function commanded(
  node: ClusterNode,
  command: Command,
  { id, caller }: { id: string; caller: Caller },
): Promise<void> {
  const about = {
    ...('vmId' in command ? { vm: command.vmId } : {}),
    ...('node' in command ? { node: command.node } : {}),
  };
  try {
    requireRole(caller, roleForCommand(command), command.type);
    await node.command(command, id);
  } catch (error) {
    node.audit.note(caller, `${command.type}, refused: ${messageOf(error)}`, about);
    throw error;
  }
  node.audit.note(caller, command.type, about);
}

/** Fault drills: peers that are cut off, and those that are only not heard. */
async function drill(node: ClusterNode, answer: Answer): Promise<void> {
  requireRole(answer.caller, 'admin', 'a drill');
  if (node.options.drills !== true)
    throw new ClusterError('UNAUTHORIZED', 'drills are not allowed here', {
      hint: 'start the node with --drills',
    });
  const { cut, deaf } = await bodyOf(drillRequestSchema, answer);
  node.links.cut.clear();
  node.links.deaf.clear();
  for (const peer of cut) node.links.cut.add(peer);
  for (const peer of deaf) node.links.deaf.add(peer);
  answerJson(answer.response, { cut, deaf });
}

/** What only the node that runs a VM can answer. */
async function askGuest(node: ClusterNode, vmId: string, asked: string, answer: Answer): Promise<void> {
  if (!node.vms.figures.some((running) => running.vmId === vmId))
    throw new ClusterError('NOT_FOUND', `${vmId} does not run on ${node.options.name}`);
  if (asked === 'GET screen') {
    const screen = await node.vms.screen(vmId);
    if (screen === undefined)
      throw new ClusterError('CONFLICT', `${vmId} shows no text`, {
        hint: '`vm screenshot NAME --png FILE` makes a picture of what it shows',
      });
    return answerJson(answer.response, { ...screen, cells: [...screen.cells], lines: screenLines(screen) });
  }
  if (asked === 'GET standby') {
    const { standby } = node.vms.figures.find((running) => running.vmId === vmId) ?? {};
    const none = { node: null, reason: '', lagMs: 0, behindInstructions: 0, checked: null };
    return answerJson(answer.response, standby ?? { ...none, reason: whyAlone(node, vmId) });
  }
  if (asked.startsWith('POST')) requireRole(answer.caller, 'operate', asked.slice('POST '.length));
  if (asked === 'POST power-button') {
    node.audit.note(answer.caller, 'presses the power button', { vm: vmId });
    const [result] = (await node.vms.input(vmId, [{ kind: 'powerButton' }])) ?? [];
    if (result !== 'taken') throw new ClusterError('CONFLICT', `${vmId} has no power button`);
    return answerJson(answer.response, { id: vmId });
  }
  if (asked === 'POST medium') return changeMedium(node, vmId, answer);
  if (asked !== 'POST keys') throw new ClusterError('NOT_FOUND', `there is no ${asked}`);
  const { keys } = await bodyOf(keysRequestSchema, answer);
  node.audit.noteSometimes(answer.caller, 'presses keys', { vm: vmId });
  if ((await node.vms.press(vmId, keys)) !== true)
    throw new ClusterError('BAD_REQUEST', `no such keys on ${vmId}: ${keys.join(' ')}`, {
      hint: 'names as in KeyboardEvent.code: KeyA, Digit1, Enter, ControlLeft, F2',
    });
  answerJson(answer.response, { keys });
}

/** Puts a medium into a drive of a VM, or takes it out: an input of its machine. */
async function changeMedium(node: ClusterNode, vmId: string, answer: Answer): Promise<void> {
  const change = await bodyOf(mediumRequestSchema, answer);
  const { drive, image } = change;
  const about = image === null ? `empties ${drive}` : `puts ${image} into ${drive}`;
  node.audit.note(answer.caller, about, { vm: vmId });
  const disks = disksOf(node.agent.list?.vms[vmId]?.spec.description);
  if (image !== null && !disks.some(({ name, attach }) => name === image && attach === drive))
    throw new ClusterError('NOT_FOUND', `${vmId} has no medium ${image} for ${drive}`, {
      hint: 'media are given when a VM is made: `vm create --cdrom A --cdrom B`',
    });
  const [result] = (await node.vms.input(vmId, [{ kind: 'medium', ...change }])) ?? [];
  if (result !== 'taken') throw new ClusterError('CONFLICT', `${vmId} has no drive for media`);
  // Whoever changed a disk goes on with the next one: what follows must find this one, on whichever node.
  if ((await node.vms.makeDurable(vmId)) !== true)
    throw new ClusterError('BUSY', `the change is in no checkpoint of ${vmId} yet`, {
      hint: 'ask for it again',
    });
  answerJson(answer.response, change);
}

/** Why a VM that runs here has no standby, in words. */
function whyAlone({ agent }: ClusterNode, vmId: string): string {
  const vm = vmOf(agent.list, vmId);
  if (vm === undefined || !wantsStandby(vm.spec)) return 'none is wanted: `vm set --standby 1`';
  return vm.alone ?? 'one is about to be chosen';
}

async function findBlob(node: ClusterNode, hash: string, { response }: Answer): Promise<void> {
  if (!(await hasBlob(node.store, hash))) throw new ClusterError('NOT_FOUND', `there is no blob ${hash}`);
  answerJson(response, { hash });
}

/** To the store as it comes, a part at a time. */
async function takeBlob(
  node: ClusterNode,
  hash: string,
  { request, response, caller, limits }: Answer,
): Promise<void> {
  requireRole(caller, 'admin', 'to store a blob');
  const said = saidBodyHash(request);
  if (said !== hash && node.options.token !== undefined)
    throw new ClusterError('BAD_REQUEST', 'the hash in the path is not that of the body');
  const bounds = { bytes: maxBlobBytes, idleMs: limits.bodyIdleMs };
  if (await hasBlob(node.store, hash)) {
    // Its sender is heard out all the same: who is cut off while it sends does not get to read the answer.
    for await (const _piece of readPieces(request, bounds));
    return answerJson(response, { hash });
  }
  const roomBytes = limits.blobsMiB * 2 ** 20 - (await blobBytes(node.store));
  await putBlob(node.store, hash, readPieces(request, bounds), roomBytes);
  answerJson(response, { hash });
}
