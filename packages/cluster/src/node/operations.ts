/**
 * What can be asked of a node by HTTP (docs/CLUSTER_PROTOCOL.md, "API"): each operation with what it takes and answers, by the protocol's schemas.
 * A request that is not among them is refused before anybody looks at it, so the description that is made of this table (openapi.ts) leaves none out.
 */
import * as v from 'valibot';
import {
  blobDoneSchema,
  challengeAnswerSchema,
  clusterStatusSchema,
  commandDoneSchema,
  commandRequestSchema,
  drillRequestSchema,
  eventsAnswerSchema,
  forkAnswerSchema,
  forkRequestSchema,
  keysRequestSchema,
  mediumRequestSchema,
  pressedAnswerSchema,
  screenAnswerSchema,
  standbyAnswerSchema,
  versionAnswerSchema,
} from '../protocol/api.ts';
import { checkpointsAnswerSchema } from '../protocol/checkpoints.ts';
import { nodeFiguresSchema, vmFiguresSchema } from '../protocol/figures.ts';
import {
  firmwareChosenSchema,
  firmwareRequestSchema,
  imageChosenSchema,
  imagesAnswerSchema,
} from '../protocol/images.ts';
import { sessionAnswerSchema, type Role } from '../protocol/page.ts';
import {
  revertRequestSchema,
  snapshotDroppedSchema,
  snapshotRequestSchema,
  snapshotSchema,
  snapshotsAnswerSchema,
} from '../protocol/snapshots.ts';

/** `bytes`: as they are. `socket`: a websocket follows. `none`: no body. */
export type Body = v.GenericSchema | 'bytes' | 'text' | 'socket' | 'none';

export interface Operation {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** With its parameters in braces. */
  path: string;
  about: string;
  /** The least role that may ask; null: anybody, without a proof. `vm-…` commands need more than others. */
  role: Role | null;
  takes: Body;
  answers: Body;
  /** Parameters behind the question mark, and what each is. */
  query?: Record<string, string>;
}

type Rest = Partial<Pick<Operation, 'takes' | 'query'>>;

function operation(
  asked: `${Operation['method']} /${string}`,
  role: Role | null,
  about: string,
  answers: Body,
  { takes = 'none', query = {} }: Rest = {},
): Operation {
  const [method = '', path = ''] = asked.split(' ');
  return { method: method as Operation['method'], path, about, role, takes, answers, query };
}

const inCheckpoint = '/v1/vms/{vm}/checkpoints/{checkpoint}';
const pages = {
  space: 'a space of its machine: ram, or the name of a disk',
  indexes: 'numbers of pages, with commas',
};

export const operations: readonly Operation[] = [
  operation('GET /healthz', null, 'Whether the process lives.', 'text'),
  operation('GET /readyz', null, 'Whether guests can run here.', 'text'),
  operation('GET /metrics', 'view', 'Figures as Prometheus reads them.', 'text'),
  operation('GET /v1/version', null, 'Which protocol the node speaks, and its name.', versionAnswerSchema),
  operation('GET /v1/challenge', null, 'A challenge for one proof of the token.', challengeAnswerSchema),
  operation('GET /v1/openapi.json', 'view', 'This description.', v.looseObject({})),
  operation('POST /v1/session', 'view', 'Log in at the page: a cookie.', sessionAnswerSchema),
  operation('DELETE /v1/session', null, 'Log out: the cookie is taken back.', 'none'),
  operation('GET /v1/page', 'view', 'What the page shows, live.', 'socket'),
  operation('GET /v1/link', null, 'The link of another node, which proves the token on it.', 'socket'),
  operation('GET /v1/status', 'view', 'Nodes, VMs, networks, master.', clusterStatusSchema),
  operation('GET /v1/events', 'view', 'The event log.', eventsAnswerSchema, {
    query: { since: 'milliseconds since 1970', limit: 'at most so many, the newest' },
  }),
  operation(
    'GET /v1/figures',
    'view',
    'What the node says in numbers, of its host and its VMs.',
    nodeFiguresSchema,
  ),
  operation('POST /v1/commands', 'operate', 'Has a command carried out, once by its id.', commandDoneSchema, {
    takes: commandRequestSchema,
  }),
  operation('POST /v1/drill', 'admin', 'A fault drill: peers that are cut off.', drillRequestSchema, {
    takes: drillRequestSchema,
  }),
  operation('GET /v1/blobs/{sha256}', 'view', 'Whether a kernel or image is in the store.', blobDoneSchema),
  operation('PUT /v1/blobs/{sha256}', 'admin', 'Stores a kernel or image.', blobDoneSchema, {
    takes: 'bytes',
  }),
  operation('GET /v1/images', 'view', "Guest images that the node's host has.", imagesAnswerSchema),
  operation('POST /v1/images/{image}', 'admin', 'Puts one into the store.', imageChosenSchema),
  operation(
    'PUT /v1/disks/{sha256}',
    'admin',
    'Stores a raw disk image, for disks to lie on.',
    blobDoneSchema,
    { takes: 'bytes' },
  ),
  operation('POST /v1/firmware', 'admin', 'Puts firmware into the store.', firmwareChosenSchema, {
    takes: firmwareRequestSchema,
  }),
  operation('GET /v1/vms/{vm}/console', 'view', 'Its console.', 'socket'),
  operation('GET /v1/vms/{vm}/display', 'view', 'Its screen, keyboard and pointer.', 'socket'),
  operation('GET /v1/vms/{vm}/agent/{job}', 'operate', 'A command in its guest.', 'socket'),
  operation('GET /v1/vms/{vm}/debug', 'operate', 'A debugger at its machine.', 'socket'),
  operation(
    'GET /v1/vms/{vm}/screen',
    'view',
    'Its text screen, of the node that runs it.',
    screenAnswerSchema,
  ),
  operation(
    'GET /v1/vms/{vm}/standby',
    'view',
    'The machine that follows it, of the node that runs it.',
    standbyAnswerSchema,
  ),
  operation(
    'GET /v1/vms/{vm}/figures',
    'view',
    'Its figures of the last ten minutes, of a node that ran it.',
    vmFiguresSchema,
  ),
  operation('POST /v1/vms/{vm}/keys', 'operate', 'Presses keys together.', keysRequestSchema, {
    takes: keysRequestSchema,
  }),
  operation('POST /v1/vms/{vm}/power-button', 'operate', 'Presses its power button.', pressedAnswerSchema),
  operation('POST /v1/vms/{vm}/medium', 'operate', 'Changes the medium in a drive.', mediumRequestSchema, {
    takes: mediumRequestSchema,
  }),
  operation('POST /v1/vms/{vm}/fork', 'admin', 'A new VM that begins where this one is.', forkAnswerSchema, {
    takes: forkRequestSchema,
  }),
  operation('GET /v1/vms/{vm}/snapshots', 'view', 'Its snapshots, the oldest first.', snapshotsAnswerSchema),
  operation('POST /v1/vms/{vm}/snapshots', 'operate', 'Keeps what it is now by name.', snapshotSchema, {
    takes: snapshotRequestSchema,
  }),
  operation(
    'DELETE /v1/vms/{vm}/snapshots/{snapshot}',
    'operate',
    'Gives a snapshot up.',
    snapshotDroppedSchema,
  ),
  operation('POST /v1/vms/{vm}/revert', 'operate', 'Takes it back to a snapshot.', snapshotSchema, {
    takes: revertRequestSchema,
  }),
  operation(
    'GET /v1/vms/{vm}/checkpoints',
    'view',
    'Its checkpoints, the oldest first.',
    checkpointsAnswerSchema,
  ),
  operation(
    `GET ${inCheckpoint}/state`,
    'operate',
    'A checkpoint file without the RAM that can wait.',
    'bytes',
  ),
  operation(`GET ${inCheckpoint}/absent`, 'operate', 'The numbers of the pages that it leaves out.', 'bytes'),
  operation(`GET ${inCheckpoint}/pages`, 'operate', 'Pages of it.', 'bytes', { query: pages }),
  operation(
    `GET ${inCheckpoint}/machine`,
    'operate',
    'A checkpoint file of processors and devices.',
    'bytes',
  ),
  operation(`GET ${inCheckpoint}/map`, 'view', 'A byte for each page: what it is.', 'bytes', {
    query: { space: pages.space, before: 'the checkpoint that it is compared with' },
  }),
  operation(`GET ${inCheckpoint}/screen`, 'view', 'What its display showed.', v.unknown()),
  operation(`GET ${inCheckpoint}/log`, 'operate', 'What came in behind it.', 'bytes'),
];

const patterns = operations.map(({ method, path }) => ({
  method,
  path: new RegExp(`^${path.replaceAll('.', String.raw`\.`).replaceAll(/\{\w+\}/g, '[^/]+')}$`),
}));

/** Whether a request is one of the table. */
export const isOperation = (method: string | undefined, pathname: string): boolean =>
  patterns.some((each) => each.method === method && each.path.test(pathname));
