/**
 * The HTTP and websocket side of a node (docs/CLUSTER_PROTOCOL.md, "API"). With a token every request proves it by its headers, before
 * any of its body is read; without one the node listens on loopback only. Requests from web pages of other origins are refused.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import { isStorageError } from '@revenant/storage';
import { ClusterError, isClusterError, messageOf, type ClusterErrorCode } from '../errors.ts';
import { bounded, maxBodyBytes, maxConsoleBytes, maxFrameBytes } from '../protocol/limits.ts';
import {
  authHeader,
  authScheme,
  bodyHeader,
  onBehalfHeader,
  proofSubprotocol,
  protocolVersion,
  subprotocol,
  versionHeader,
  versionMismatch,
} from '../protocol/version.ts';
import { PageGateway } from '../page/gateway.ts';
import { hostOf } from '../protocol/address.ts';
import { pageSubprotocol, roles, type Caller } from '../protocol/page.ts';
import type { ClusterNode } from './cluster-node.ts';
import { builtPage, PageFiles } from './page-files.ts';
import { saidBodyHash } from './bodies.ts';
import { FigureHistory } from './figure-history.ts';
import { Callers } from './callers.ts';
import { Challenges } from './challenges.ts';
import { asClusterError } from './forks.ts';
import { attachJob } from './agent-socket.ts';
import { attachConsole } from './console-socket.ts';
import { attachDebugger } from './debug-socket.ts';
import { attachDisplay } from './display-socket.ts';
import { defaultLimits, type ApiLimits } from './api-limits.ts';
import { answerJson, type Answer } from './answers.ts';
import { answerProbe, whyNotReady } from './probes.ts';
import { route } from './routes.ts';
import { Sessions } from './sessions.ts';
import { Strangers } from './strangers.ts';

/** Who serves a websocket of a VM, by the last word of its path. */
const attachers: Readonly<Record<string, typeof attachJob>> = {
  console: attachConsole,
  display: attachDisplay,
  debug: attachDebugger,
};

const loopback = new Set(['127.0.0.1', '::1', 'localhost']);
const maxHeaderBytes = 8 << 10;
/** Of a body that nobody wants: read and dropped, so that its sender gets to read the refusal. */
const maxDiscardedBytes = 64 << 10;
const discardMs = 500;
/** A message of a console, and what is around its bytes. */
const maxConsoleFrame = maxConsoleBytes + 1024;
/** A message of a page: a command, or what is typed. */
const maxPageFrame = maxBodyBytes;

const statusOf: Partial<Record<ClusterErrorCode, number>> = {
  BAD_REQUEST: 400,
  PROTOCOL: 400,
  UNAUTHORIZED: 401,
  NOT_FOUND: 404,
  CONFLICT: 409,
  NO_CAPACITY: 409,
  BLOB_MISSING: 409,
  BUSY: 503,
  NO_MASTER: 503,
  TIMEOUT: 504,
};

/** Certificate and key as PEM, by which the node is known to others. */
export interface TlsFiles {
  cert: string;
  key: string;
}

export interface ApiOptions {
  /** `HOST:PORT` */
  listen: string;
  token?: string | undefined;
  /** Path of the people file. */
  people?: string | undefined;
  limits?: ApiLimits | undefined;
  tls?: TlsFiles | undefined;
}

const anybody: Caller = { name: '', role: 'view' };
const whoeverIsHere: Caller = { name: '', role: 'admin' };

export class ApiServer {
  readonly limits: ApiLimits;
  readonly strangers: Strangers;
  readonly #server: ReturnType<typeof createServer>;
  readonly #isSecure: boolean;
  readonly #callers: Callers;
  readonly #challenges: Challenges | undefined;
  readonly #sessions: Sessions;
  readonly #files = new PageFiles(builtPage, 'index.html');
  readonly #links = webSockets(maxFrameBytes);
  readonly #consoles = webSockets(maxConsoleFrame);
  readonly #pages = webSockets(maxPageFrame);
  /** Requests under way. */
  readonly #under = { requests: 0, uploads: 0 };
  readonly #refusals = new Refusals((reason) =>
    this.#node?.logger.warn({ event: 'request-refused', reason }, `request refused: ${reason}`),
  );
  #gateway: PageGateway | undefined;
  #node: ClusterNode | undefined;
  #history: FigureHistory | undefined;

  private constructor({ token, people, limits = defaultLimits, tls }: ApiOptions) {
    this.#callers = new Callers(token, people, (why) => this.#refusals.add(why));
    this.#sessions = new Sessions(this.#callers);
    this.limits = limits;
    this.strangers = new Strangers(limits);
    this.#challenges = token === undefined ? undefined : new Challenges(this.#callers);
    const bounds = { maxHeaderSize: maxHeaderBytes, connectionsCheckingInterval: 1000 };
    const answer = (request: IncomingMessage, response: ServerResponse): void =>
      void this.#answer(request, response);
    this.#isSecure = tls !== undefined;
    // Whoever does not finish the handshake of TLS has as long as a stranger has.
    this.#server =
      tls === undefined
        ? createServer(bounds, answer)
        : createSecureServer({ ...bounds, ...tls, handshakeTimeout: limits.strangerMs }, answer);
    this.#server.headersTimeout = 5000;
    // An upload over a slow line takes its time; one that stands still is given up sooner (bodyIdleMs).
    this.#server.requestTimeout = 600_000;
    this.#server.maxConnections = limits.connections;
    this.#server.on(tls === undefined ? 'connection' : 'secureConnection', (socket: Socket) =>
      this.strangers.meet(socket),
    );
    this.#server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) =>
      this.#upgrade(request, socket as Socket, head),
    );
    this.#server.on('clientError', (_error, socket) => socket.destroy());
  }

  /** @throws ClusterError `BAD_REQUEST` for an address that is not loopback without a token. */
  static async listen(options: ApiOptions): Promise<ApiServer> {
    const { listen, token } = options;
    const match = /^\[?([^\]]*)\]?:(\d+)$/.exec(listen);
    if (match === null)
      throw new ClusterError('BAD_REQUEST', `${listen} is no address`, { hint: 'write HOST:PORT' });
    const host = match[1]!;
    if (token === undefined && !loopback.has(host))
      throw new ClusterError('BAD_REQUEST', `${listen} can be reached from outside, and there is no token`, {
        hint: 'give --token-file FILE to every node, or listen on 127.0.0.1',
      });
    const api = new ApiServer(options);
    try {
      await new Promise<void>((resolve, reject) => {
        api.#server.once('error', reject);
        api.#server.listen(Number(match[2]), host, resolve);
      });
    } catch (error) {
      api.strangers.close();
      throw new ClusterError('BAD_REQUEST', `can't listen on ${listen}: ${messageOf(error)}`, {
        cause: error,
      });
    }
    return api;
  }

  get address(): string {
    const { address, port, family } = this.#server.address() as AddressInfo;
    const host = `${family === 'IPv6' ? `[${address}]` : address}:${String(port)}`;
    return this.#isSecure ? `https://${host}` : host;
  }

  serve(node: ClusterNode): void {
    this.#node = node;
    this.#history = new FigureHistory({ node: node.options.name, vms: () => node.vms.figures }, (error) =>
      node.failedInside(error),
    );
    this.#gateway = PageGateway.at(this.address, this.#callers.clusterToken, node.options.name);
  }

  async close(): Promise<void> {
    this.strangers.close();
    this.#history?.close();
    await this.#gateway?.close();
    for (const sockets of [this.#links, this.#consoles, this.#pages])
      for (const socket of sockets.clients) socket.terminate();
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
  }

  /** A page of another origin, or a name that was made to point here (DNS rebinding). */
  #foreign(request: IncomingMessage): string | undefined {
    const { origin, host } = request.headers;
    const isOwn = origin === undefined || isOf(origin, [host ?? '']);
    if (!isOwn && !this.#isOfPeer(request) && !this.#sessions.isShown(request))
      return `a request of the foreign origin ${origin}`;
    const name = (host ?? '').replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
    if (this.#challenges === undefined && !loopback.has(name)) return `a request for the host ${name}`;
    return undefined;
  }

  /** Asked by a page that another node of the cluster served, at the address by which the nodes know it. */
  #isOfPeer({ url = '', headers: { origin, host } }: IncomingMessage): boolean {
    if (origin === undefined || !url.startsWith('/v1/') || isOf(origin, [host ?? ''])) return false;
    return isOf(origin.replace(/\/\/(localhost|\[::1\]):/, '//127.0.0.1:'), this.#nodes.map(hostOf));
  }

  /**
   * Lets a page that another node served read the answer; true when that was all that was asked (fetch standard, "CORS-preflight request"). What a
   * browser asks before it sends a pass is without that pass: it is answered whoever asks, and lets nobody in.
   */
  #letPeerRead(request: IncomingMessage, response: ServerResponse): boolean {
    const { method, url = '', headers } = request;
    const isBefore = method === 'OPTIONS' && this.#challenges !== undefined && url.startsWith('/v1/');
    if (headers.origin === undefined) return false;
    if (!isBefore && !this.#isOfPeer(request) && !this.#sessions.isShown(request)) return false;
    response.setHeader('access-control-allow-origin', headers.origin);
    response.setHeader('vary', 'origin');
    if (method !== 'OPTIONS') return false;
    response.setHeader('access-control-allow-methods', 'GET, POST, PUT, DELETE');
    response.setHeader('access-control-allow-headers', `${authHeader}, ${bodyHeader}`);
    response.writeHead(204);
    response.end();
    return true;
  }

  /** Addresses of the nodes that this one knows: a page goes on with another one when the node that served it is gone. */
  get #nodes(): string[] {
    const known = [...(this.#node?.agent.peers.values() ?? [])].map(({ view }) => view?.address);
    return [this.address, ...known.filter((address) => address !== undefined)];
  }

  /** Who asks, and in which language: all from the headers. Throws ClusterError. */
  #admit(request: IncomingMessage, proof: string): Caller {
    const foreign = this.#foreign(request);
    if (foreign !== undefined) throw new ClusterError('UNAUTHORIZED', foreign);
    const version = request.headers[versionHeader];
    if (version !== undefined && version !== String(protocolVersion))
      throw new ClusterError('PROTOCOL', versionMismatch('the client', bounded(String(version), 16)));
    if (isQuestionOfStrangers(request)) return anybody;
    const { method = '', url: path = '' } = request;
    const proven =
      this.#challenges === undefined
        ? whoeverIsHere
        : path === '/metrics' && request.headers[authHeader]?.startsWith('Bearer ') === true
          ? this.#callers.bearer(request.headers[authHeader])
          : this.#challenges.proves(proof, { method, path, bodyHash: saidBodyHash(request) });
    // To log in takes a token, not a session that is there already.
    const caller = proven ?? (path === '/v1/session' ? undefined : this.#sessions.callerOf(request));
    if (caller === undefined) throw new ClusterError('UNAUTHORIZED', 'no valid proof of the token');
    this.strangers.know(request.socket);
    return onBehalf(request, caller);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.setHeader(versionHeader, String(protocolVersion));
    if (!this.strangers.mayAsk(request.socket)) response.shouldKeepAlive = false;
    try {
      if ((await this.#servePage(request, response)) || this.#letPeerRead(request, response)) return;
      const said = request.headers[authHeader] ?? '';
      const caller = this.#admit(request, said.startsWith(authScheme) ? said.slice(authScheme.length) : '');
      if (request.url === '/healthz' || request.url === '/readyz')
        return answerProbe(response, request.url === '/readyz' ? whyNotReady(this.#node) : undefined);
      if (request.url === '/v1/challenge')
        return answerJson(response, {
          challenge: this.#challenges?.give() ?? '',
          needed: this.#challenges !== undefined,
        });
      if (request.url === '/v1/session') return this.#session(request, response, caller);
      const [node, history] = [this.#node, this.#history];
      if (node === undefined || history === undefined)
        throw new ClusterError('NO_MASTER', 'the node is starting');
      if (request.url === '/v1/version')
        return answerJson(response, { protocol: protocolVersion, node: node.options.name });
      await this.#serve(node, { request, response, caller, limits: this.limits, history });
    } catch (error) {
      const known = isStorageError(error) ? asClusterError(error) : error;
      this.#refuse(
        request,
        response,
        isClusterError(known) ? known : new ClusterError('STORE', messageOf(known)),
      );
    }
  }

  /** Files of the page, which anybody may have. */
  async #servePage(request: IncomingMessage, response: ServerResponse): Promise<boolean> {
    if (this.#foreign(request) !== undefined) return false;
    this.strangers.grant(request.socket);
    return this.#files.serve(request, response);
  }

  #session(request: IncomingMessage, response: ServerResponse, caller: Caller): void {
    if (request.method === 'POST') this.#node?.audit.note(caller, 'logged in at the page');
    this.#sessions.answer(request, response, caller, this.#isSecure);
  }

  async #serve(node: ClusterNode, answer: Answer): Promise<void> {
    const kind = answer.request.method === 'PUT' ? 'uploads' : 'requests';
    if (this.#under[kind] >= this.limits[kind])
      throw new ClusterError('BUSY', `${String(this.limits[kind])} ${kind} are under way here`, {
        hint: 'try again, or another node',
      });
    this.#under[kind]++;
    try {
      await route(node, answer);
    } finally {
      this.#under[kind]--;
    }
  }

  #refuse(request: IncomingMessage, response: ServerResponse, error: ClusterError): void {
    if (error.code === 'UNAUTHORIZED' || error.code === 'PROTOCOL') this.#refusals.add(error.message);
    if (response.headersSent) return void response.destroy();
    const { code, message, hint } = error;
    // What is left of its body will not be read, so the connection ends with this answer.
    if (!request.complete) {
      response.shouldKeepAlive = false;
      discard(request);
    }
    const said = { code, message: bounded(message), ...(hint === undefined ? {} : { hint: bounded(hint) }) };
    answerJson(response, { error: said }, statusOf[code] ?? 500);
  }

  #upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    socket.on('error', () => undefined);
    try {
      this.#welcome(request, socket, head);
    } catch (error) {
      const known = isClusterError(error) ? error : new ClusterError('BAD_REQUEST', messageOf(error));
      this.#refusals.add(known.message);
      const body = JSON.stringify({ error: { code: known.code, message: bounded(known.message) } });
      const status = known.code === 'UNAUTHORIZED' ? '403 Forbidden' : '400 Bad Request';
      const headers = `${versionHeader}: ${String(protocolVersion)}\r\nContent-Type: application/json\r\n`;
      socket.end(
        `HTTP/1.1 ${status}\r\nConnection: close\r\n${headers}Content-Length: ${String(Buffer.byteLength(body))}\r\n\r\n${body}`,
      );
    }
  }

  #welcome(request: IncomingMessage, socket: Socket, head: Buffer): void {
    const url = URL.parse(request.url ?? '/', 'http://node');
    if (url === null) throw new ClusterError('BAD_REQUEST', 'a request for no path');
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((word) => word.trim());
    const proof = offered.find((word) => word.startsWith(proofSubprotocol))?.slice(proofSubprotocol.length);
    // Links prove themselves by a handshake of their own.
    const isLink = url.pathname === '/v1/link';
    if (isLink) {
      const foreign = this.#foreign(request);
      if (foreign !== undefined) throw new ClusterError('UNAUTHORIZED', foreign);
    } else if (url.pathname === '/v1/page') return this.#welcomePage(request, socket, head);
    const caller = isLink ? anybody : this.#admit(request, proof ?? '');
    const node = this.#node;
    if (node === undefined) throw new ClusterError('NO_MASTER', 'the node is starting');
    if (isLink) {
      const unwatch = this.strangers.watch(socket);
      const proven = (): void => {
        unwatch();
        this.strangers.know(socket);
      };
      return this.#links.handleUpgrade(request, socket, head, (accepted) =>
        node.links.accept(accepted, proven),
      );
    }
    const [, vm, what = 'agent', job = ''] =
      /^\/v1\/vms\/([^/]+)\/(?:(console|display|debug)|agent\/([0-9a-f]{16}))$/.exec(url.pathname) ?? [];
    if (vm === undefined) throw new ClusterError('NOT_FOUND', `there is no ${url.pathname}`);
    if (!offered.includes(subprotocol))
      throw new ClusterError('PROTOCOL', versionMismatch(`the ${what}`, bounded(offered[0] ?? '1', 16)));
    if (this.#consoles.clients.size >= this.limits.consoles)
      throw new ClusterError('BUSY', `${String(this.limits.consoles)} consoles and screens are open here`);
    const attach = attachers[what] ?? attachJob;
    this.#consoles.handleUpgrade(request, socket, head, (accepted) =>
      attach(node, vm, { socket: accepted, caller, job }),
    );
  }

  #welcomePage(request: IncomingMessage, socket: Socket, head: Buffer): void {
    const foreign = this.#foreign(request);
    if (foreign !== undefined) throw new ClusterError('UNAUTHORIZED', foreign);
    const caller = this.#sessions.callerOf(request);
    if (caller === undefined) throw new ClusterError('UNAUTHORIZED', 'a page without a session');
    this.strangers.know(socket);
    this.#pages.handleUpgrade(request, socket, head, (accepted) =>
      this.#gateway?.attach(accepted, caller, this.#sessions.newPass(request, caller)),
    );
  }
}

/** A node that asks as a client on behalf of somebody: it may do what they may, and it is noted under their name. */
function onBehalf(request: IncomingMessage, caller: Caller): Caller {
  const said = request.headers[onBehalfHeader];
  if (said === undefined || caller.name !== '') return caller;
  const [, roleText, name = ''] = /^(\w+)(?: ([A-Za-z0-9_-]{1,32}))?$/.exec(String(said)) ?? [];
  const role = roles.find((each) => each === roleText);
  if (role === undefined || roles.indexOf(role) > roles.indexOf(caller.role))
    throw new ClusterError('UNAUTHORIZED', `${onBehalfHeader}: no role that the caller has`);
  return { name, role };
}

/** Whether an origin is that of one of these hosts, each with its port. */
const isOf = (origin: string, hosts: readonly string[]): boolean =>
  hosts.some((host) => [`http://${host}`, `https://${host}`].includes(origin));

/** What anybody may ask; to take one's own session back is no secret either. */
const isQuestionOfStrangers = ({ url, method }: IncomingMessage): boolean =>
  method === 'GET'
    ? url === '/v1/challenge' || url === '/v1/version' || url === '/healthz' || url === '/readyz'
    : method === 'DELETE' && url === '/v1/session';

function webSockets(maxPayload: number): WebSocketServer {
  return new WebSocketServer({
    noServer: true,
    maxPayload,
    perMessageDeflate: false,
    // A proof or a pass may be offered beside them; those are never chosen.
    handleProtocols: (offered) => [subprotocol, pageSubprotocol].find((ours) => offered.has(ours)) ?? false,
  });
}

function discard(request: IncomingMessage): void {
  let left = maxDiscardedBytes;
  const end = (): void => void request.destroy();
  const timer = setTimeout(end, discardMs);
  request.on('error', () => undefined);
  request.on('close', () => clearTimeout(timer));
  request.on('data', (piece: Buffer) => {
    left -= piece.length;
    if (left < 0) end();
  });
}

/** Says at most once a second that requests were refused: a flood must not become a flood of lines. */
class Refusals {
  readonly #say: (reason: string) => void;
  #saidAt = -Infinity;
  #unsaid = 0;

  constructor(say: (reason: string) => void) {
    this.#say = say;
  }

  add(reason: string): void {
    if (performance.now() - this.#saidAt < 1000) {
      this.#unsaid++;
      return;
    }
    this.#say(
      this.#unsaid === 0 ? reason : `${reason} (and ${String(this.#unsaid)} more since the last line)`,
    );
    this.#saidAt = performance.now();
    this.#unsaid = 0;
  }
}
