// The HTTP and websocket API of a node (docs/CLUSTER_PROTOCOL.md, "API"). With a token every request answers a challenge that
// serves once; without one the node listens on loopback only. Requests from web pages of other origins are refused.
import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { pack } from 'msgpackr';
import { WebSocketServer, type WebSocket } from 'ws';
import { maxSerialBytes, screenLines, type MachineInput } from '@revenant/emulator';
import { vmsSeen } from '../decisions/state.ts';
import { ClusterError, isClusterError, messageOf, type ClusterErrorCode } from '../errors.ts';
import { requestProof, sameMac, sha256 } from '../mac.ts';
import {
  commandRequestSchema,
  drillRequestSchema,
  keysRequestSchema,
  type ClusterStatus,
} from '../protocol/api.ts';
import { MAX_BLOB_BYTES, MAX_BODY_BYTES, MAX_FRAME_BYTES } from '../protocol/limits.ts';
import { check } from '../protocol/schema.ts';
import { PROTOCOL_VERSION } from '../protocol/version.ts';
import { BLOBS_PREFIX } from '../stored/blobs.ts';
import { readEvents } from '../stored/event-log.ts';
import type { ClusterNode } from './cluster-node.ts';
import { PageGateway } from '../page/gateway.ts';
import { makePass, passCookie, passOf, roleOfPass } from '../page/pass.ts';
import { PAGE_SUBPROTOCOL, type Role } from '../protocol/page.ts';
import { metrics } from './metrics.ts';
import { builtPage, PageFiles } from './page-files.ts';

const CHALLENGE_MS = 30_000;
const MAX_CHALLENGES = 4096;
const LOOPBACK = new Set(['127.0.0.1', '::1', 'localhost']);

const STATUS: Partial<Record<ClusterErrorCode, number>> = {
  BAD_REQUEST: 400,
  UNAUTHORIZED: 401,
  NOT_FOUND: 404,
  CONFLICT: 409,
  NO_CAPACITY: 409,
  NO_MASTER: 503,
  TIMEOUT: 504,
};

export class ApiServer {
  readonly #server: Server;
  readonly #token: string | undefined;
  readonly #sockets = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_FRAME_BYTES,
    perMessageDeflate: false,
    // A page offers its pass beside it; that is never chosen.
    handleProtocols: (offered) => (offered.has(PAGE_SUBPROTOCOL) ? PAGE_SUBPROTOCOL : false),
  });
  readonly #challenges = new Map<string, number>();
  readonly #page = new PageFiles(builtPage, 'index.html');
  #gateway: PageGateway | undefined;
  #node: ClusterNode | undefined;

  private constructor(token: string | undefined) {
    this.#token = token;
    this.#server = createServer((request, response) => void this.#answer(request, response));
    // Slow-loris: a client gets seconds, not minutes.
    this.#server.headersTimeout = 5000;
    this.#server.requestTimeout = 60_000;
    this.#server.maxConnections = 1024;
    this.#server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) =>
      this.#upgrade(request, socket, head),
    );
    this.#server.on('clientError', (_error, socket) => socket.destroy());
  }

  /** @throws ClusterError `BAD_REQUEST` for an address that is not loopback without a token. */
  static async listen(listen: string, token: string | undefined): Promise<ApiServer> {
    const match = /^\[?([^\]]*)\]?:(\d+)$/.exec(listen);
    if (match === null)
      throw new ClusterError('BAD_REQUEST', `${listen} is no address`, { hint: 'write HOST:PORT' });
    const host = match[1]!;
    if (token === undefined && !LOOPBACK.has(host))
      throw new ClusterError('BAD_REQUEST', `${listen} can be reached from outside, and there is no token`, {
        hint: 'give --token-file FILE to every node, or listen on 127.0.0.1',
      });
    const api = new ApiServer(token);
    await new Promise<void>((resolve, reject) => {
      api.#server.once('error', reject);
      api.#server.listen(Number(match[2]), host, resolve);
    });
    return api;
  }

  get address(): string {
    const { address, port, family } = this.#server.address() as AddressInfo;
    return family === 'IPv6' ? `[${address}]:${String(port)}` : `${address}:${String(port)}`;
  }

  serve(node: ClusterNode): void {
    this.#node = node;
    this.#gateway = PageGateway.at(this.address, this.#token, node.agent.id);
  }

  async close(): Promise<void> {
    await this.#gateway?.close();
    for (const socket of this.#sockets.clients) socket.terminate();
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
  }

  /** A page of another origin, or a name that was made to point here (DNS rebinding). */
  #foreign(request: IncomingMessage): string | undefined {
    const { origin, host } = request.headers;
    const own = [host ?? '', ...(request.url === '/v1/page' ? this.#nodes : [])];
    if (
      origin !== undefined &&
      !own.some((name) => origin === `http://${name}` || origin === `https://${name}`)
    )
      return `a request of the foreign origin ${origin}`;
    const name = (host ?? '').replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
    if (this.#token === undefined && !LOOPBACK.has(name)) return `a request for the host ${name}`;
    return undefined;
  }

  #authorized(request: IncomingMessage, proofText: string | undefined, body: Uint8Array): boolean {
    if (this.#token === undefined) return true;
    const [challenge, proof] = (proofText ?? '').split('.');
    if (challenge === undefined || proof === undefined) return false;
    const madeAt = this.#challenges.get(challenge);
    this.#challenges.delete(challenge);
    if (madeAt === undefined || performance.now() - madeAt > CHALLENGE_MS) return false;
    const path = (request.url ?? '').split('?')[0]!;
    const bodyHash = sha256(body);
    const expected = requestProof(this.#token, challenge, { method: request.method ?? '', path, bodyHash });
    return sameMac(Buffer.from(proof), Buffer.from(expected));
  }

  /** What the session of a page may do; without a token everybody at this host may do everything. */
  #role({ headers }: IncomingMessage): Role | undefined {
    if (this.#token === undefined) return 'admin';
    const pass = passOf({ cookie: headers.cookie, subprotocols: headers['sec-websocket-protocol'] });
    return pass === undefined ? undefined : roleOfPass(this.#token, pass, Date.now());
  }

  #newPass(role: Role): string | null {
    return this.#token === undefined ? null : makePass(this.#token, role, Date.now());
  }

  /** Addresses of the nodes that this one knows: a page goes on with another one when the node that served it is gone. */
  get #nodes(): string[] {
    const known = [...(this.#node?.agent.peers.values() ?? [])].map(({ view }) => view?.address);
    return [this.address, ...known.filter((address) => address !== undefined)];
  }

  #challenge(): string {
    const challenge = randomBytes(16).toString('hex');
    this.#challenges.set(challenge, performance.now());
    for (const old of this.#challenges.keys()) {
      if (this.#challenges.size <= MAX_CHALLENGES) break;
      this.#challenges.delete(old);
    }
    return challenge;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const foreign = this.#foreign(request);
      if (foreign !== undefined) throw new ClusterError('UNAUTHORIZED', foreign);
      const path = (request.url ?? '').split('?')[0]!;
      if (path === '/v1/challenge')
        return json(response, 200, { challenge: this.#challenge(), needed: this.#token !== undefined });
      if (await this.#page.serve(request, response)) return;
      if (path === '/v1/session' && request.method === 'DELETE') {
        response.setHeader('set-cookie', passCookie(undefined));
        return json(response, 200, {});
      }
      const body = await readBody(request, path.startsWith('/v1/blobs/') ? MAX_BLOB_BYTES : MAX_BODY_BYTES);
      const proof = request.headers.authorization?.replace(/^Revenant /, '');
      const byPage = path.startsWith('/v1/blobs/') && this.#role(request) === 'admin';
      if (!byPage && !this.#authorized(request, proof, body))
        throw new ClusterError('UNAUTHORIZED', 'no valid proof of the token');
      if (path === '/v1/session' && request.method === 'POST') {
        response.setHeader('set-cookie', passCookie(this.#newPass('admin') ?? undefined));
        return json(response, 200, { role: 'admin' satisfies Role });
      }
      if (this.#node === undefined) throw new ClusterError('NO_MASTER', 'the node is starting');
      await route(this.#node, request, response, body);
    } catch (error) {
      const known = isClusterError(error) ? error : new ClusterError('STORE', messageOf(error));
      if (known.code === 'UNAUTHORIZED')
        this.#node?.logger.warn({ event: 'request-refused', reason: known.message });
      if (response.headersSent) return void response.destroy();
      const { code, message, hint } = known;
      json(response, STATUS[code] ?? 500, { error: { code, message, hint } });
    }
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const refuse = (why: string): void => {
      this.#node?.logger.warn({ event: 'request-refused', reason: why });
      socket.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n');
    };
    socket.on('error', () => undefined);
    const foreign = this.#foreign(request);
    if (foreign !== undefined) return refuse(foreign);
    const node = this.#node;
    if (node === undefined) return refuse('the node is starting');
    const url = URL.parse(request.url ?? '/', 'http://node');
    if (url === null) return refuse('a request for no path');
    // Links prove themselves by a handshake of their own.
    if (url.pathname === '/v1/link')
      return this.#sockets.handleUpgrade(request, socket, head, (accepted) => node.links.accept(accepted));
    if (url.pathname === '/v1/page') {
      const role = this.#role(request);
      if (role === undefined) return refuse('a page without a session');
      return this.#sockets.handleUpgrade(request, socket, head, (accepted) =>
        this.#gateway?.attach(accepted, role, this.#newPass(role)),
      );
    }
    const vm = /^\/v1\/vms\/([^/]+)\/console$/.exec(url.pathname)?.[1];
    if (vm === undefined) return refuse(`there is no ${url.pathname}`);
    if (!this.#authorized(request, url.searchParams.get('proof') ?? undefined, new Uint8Array(0)))
      return refuse('no valid proof of the token');
    this.#sockets.handleUpgrade(request, socket, head, (accepted) => attachConsole(node, vm, accepted));
  }
}

const MAX_CONSOLE_BACKLOG = 4 << 20;

/** Binary frames: to the client msgpack `{epoch, at, bytes}`, from the client plain bytes. */
function attachConsole(node: ClusterNode, vmId: string, socket: WebSocket): void {
  const end = node.consoles.listen(vmId, ({ epoch, at, bytes }) => {
    if (socket.bufferedAmount > MAX_CONSOLE_BACKLOG) return socket.terminate();
    socket.send(pack({ epoch, at, bytes }));
  });
  socket.on('error', () => undefined);
  socket.on('close', end);
  socket.on('message', (data) => {
    if (!Buffer.isBuffer(data)) return socket.close(4404, 'it does not run here');
    if (data.length === 0) return;
    void typed(node, vmId, data).then((refusal) => {
      if (refusal !== undefined) socket.close(...refusal);
    });
  });
}

/** Gives bytes to a VM's console. Why they were not taken: a code to close the socket with, and words. */
async function typed(
  node: ClusterNode,
  vmId: string,
  bytes: Uint8Array,
): Promise<[number, string] | undefined> {
  const inputs: MachineInput[] = [];
  for (let at = 0; at < bytes.length; at += maxSerialBytes)
    inputs.push({ kind: 'serial', port: 0, bytes: bytes.subarray(at, at + maxSerialBytes) });
  const results = await node.vms.input(vmId, inputs);
  if (results === undefined) return [4404, 'it does not run here'];
  return results.includes('full')
    ? [4429, 'the guest does not read what was typed; some of it is lost']
    : undefined;
}

async function route(
  node: ClusterNode,
  request: IncomingMessage,
  response: ServerResponse,
  body: Uint8Array,
): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://node');
  const asked = `${request.method ?? ''} ${url.pathname}`;
  const blob = /^PUT \/v1\/blobs\/([0-9a-f]{64})$/.exec(asked)?.[1];
  if (blob !== undefined) return putBlob(node, blob, body, response);
  const guest = /^(GET|POST) \/v1\/vms\/([^/]+)\/(screen|keys|power-button)$/.exec(asked);
  if (guest !== null) return askGuest(node, guest[2]!, `${guest[1]!} ${guest[3]!}`, body, response);
  switch (asked) {
    case 'GET /v1/status':
      return json(response, 200, status(node));
    case 'GET /v1/events': {
      const sinceMs = Number(url.searchParams.get('since') ?? 0);
      const limit = Number(url.searchParams.get('limit') ?? 1000);
      await node.events.flush();
      return json(response, 200, { events: await readEvents(node.store, { sinceMs, limit }) });
    }
    case 'POST /v1/commands': {
      const { id, command } = check(commandRequestSchema, parseBody(body), 'the request', 'BAD_REQUEST');
      await node.command(command, id);
      return json(response, 200, { id });
    }
    case 'POST /v1/drill': {
      if (node.options.drills !== true)
        throw new ClusterError('UNAUTHORIZED', 'drills are not allowed here', {
          hint: 'start the node with --drills',
        });
      const { cut, deaf } = check(drillRequestSchema, parseBody(body), 'the request', 'BAD_REQUEST');
      node.links.cut.clear();
      node.links.deaf.clear();
      for (const peer of cut) node.links.cut.add(peer);
      for (const peer of deaf) node.links.deaf.add(peer);
      return json(response, 200, { cut, deaf });
    }
    case 'GET /metrics':
      response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' });
      response.end(metrics(node));
      return;
    default:
      throw new ClusterError('NOT_FOUND', `there is no ${asked}`);
  }
}

/** What only the node that runs a VM can answer. */
async function askGuest(
  node: ClusterNode,
  vmId: string,
  asked: string,
  body: Uint8Array,
  response: ServerResponse,
): Promise<void> {
  if (!node.vms.figures.some((running) => running.vmId === vmId))
    throw new ClusterError('NOT_FOUND', `${vmId} does not run on ${node.options.name}`);
  if (asked === 'GET screen') {
    const screen = await node.vms.screen(vmId);
    if (screen === undefined) throw new ClusterError('CONFLICT', `${vmId} has no text screen`);
    return json(response, 200, { ...screen, cells: [...screen.cells], lines: screenLines(screen) });
  }
  if (asked === 'POST power-button') {
    const [result] = (await node.vms.input(vmId, [{ kind: 'powerButton' }])) ?? [];
    if (result !== 'taken') throw new ClusterError('CONFLICT', `${vmId} has no power button`);
    return json(response, 200, { id: vmId });
  }
  if (asked !== 'POST keys') throw new ClusterError('NOT_FOUND', `there is no ${asked}`);
  const { keys } = check(keysRequestSchema, parseBody(body), 'the request', 'BAD_REQUEST');
  if ((await node.vms.press(vmId, keys)) !== true)
    throw new ClusterError('BAD_REQUEST', `no such keys on ${vmId}: ${keys.join(' ')}`, {
      hint: 'names as in KeyboardEvent.code: KeyA, Digit1, Enter, ControlLeft, F2',
    });
  json(response, 200, { keys });
}

async function putBlob(
  node: ClusterNode,
  hash: string,
  body: Uint8Array,
  response: ServerResponse,
): Promise<void> {
  if (sha256(body) !== hash) throw new ClusterError('BAD_REQUEST', 'the bytes do not have this hash');
  await node.store.put(BLOBS_PREFIX + hash, body);
  json(response, 200, { hash });
}

function parseBody(body: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(body).toString('utf8')) as unknown;
  } catch (error) {
    throw new ClusterError('BAD_REQUEST', 'the body is no JSON', { cause: error });
  }
}

/** What this node knows of the cluster. */
export function status(node: ClusterNode): ClusterStatus {
  const { agent, address } = node;
  const self = {
    id: agent.id,
    state: agent.list.maintenance.includes(agent.id) ? ('maintenance' as const) : ('alive' as const),
    reason: 'answers',
    incarnation: agent.incarnation,
    address,
    view: agent.view,
  };
  const peers = [...agent.peers.values()].map((peer) => ({
    id: peer.id,
    state: peer.state,
    reason: peer.reason,
    incarnation: peer.incarnation,
    ...(peer.view === undefined ? {} : { address: peer.view.address, view: peer.view }),
  }));
  return {
    version: PROTOCOL_VERSION,
    node: agent.id,
    phase: agent.phase,
    term: agent.list.term,
    master: agent.list.master?.node ?? null,
    nodes: [self, ...peers],
    vms: vmsSeen(agent, node.now()),
    maintenance: agent.list.maintenance,
    heartbeatStores: node.heartbeatStores.states,
  };
}

async function readBody(request: IncomingMessage, limit: number): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > limit) throw new ClusterError('BAD_REQUEST', `a body of more than ${String(limit)} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function json(response: ServerResponse, code: number, value: unknown): void {
  response.writeHead(code, { 'content-type': 'application/json' });
  response.end(
    JSON.stringify(value, (_key, item: unknown) => (typeof item === 'bigint' ? Number(item) : item)),
  );
}
