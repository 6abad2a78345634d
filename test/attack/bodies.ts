/**
 * Attacks on the API: bodies, paths and headers that nobody would send, from strangers and from a caller with the token. Whatever comes, a
 * node answers within its time, with a code that says whose fault it was, and never its own.
 */
import { readFileSync } from 'node:fs';
import { Agent, request as ask } from 'node:http';
import { join } from 'node:path';
import { ClusterError } from '@revenant/cluster';
import {
  authHeader,
  authScheme,
  bodyHeader,
  check,
  commandRequestSchema,
  decodePageReply,
  decodePageRequest,
  drillRequestSchema,
  encode,
  keysRequestSchema,
  versionHeader,
  type Command,
} from '@revenant/cluster/protocol';
import { requestProof, sha256 } from '../../packages/cluster/src/mac.ts';
import { parseJson } from '../../packages/cluster/src/node/bodies.ts';
import { Random } from '../../packages/simulation/src/random.ts';
import { Growth } from './growth.ts';
import { mutate, mutateValue, objectNames } from './mutants.ts';
import { answerMs } from '../../packages/cluster/src/testing/patience.ts';

const atOnce = 8;

export interface BodyFigures {
  bodies: number;
  accepted: number;
  slowestMs: number;
  /** How much more memory this process held, at the most, than as it began. */
  grownMiB: number;
}

/** Runs `bodies` mutants through what checks the bodies of each route and the messages of a page. Throws when one fails otherwise. */
export function fuzzBodies(commands: readonly Command[], bodies: number, seed: number): BodyFigures {
  const random = new Random(seed);
  const requests = commands.map((command) => ({ id: 'x', command }));
  const valid: unknown[] = [...requests, { cut: ['a'], deaf: ['b'] }, { keys: ['KeyA', 'Enter'] }];
  const pages = [...requests.map((request) => ({ type: 'command', ...request })), { type: 'hello' }];
  const schemas = [commandRequestSchema, drillRequestSchema, keysRequestSchema] as const;
  const figures = { bodies, accepted: 0, slowestMs: 0, grownMiB: 0 };
  const growth = new Growth();
  const taken = (run: () => unknown): void => {
    try {
      run();
      figures.accepted++;
    } catch (error) {
      if (!(error instanceof ClusterError)) throw error;
    }
  };
  for (let body = 0; body < bodies; body++) {
    const isPage = random.chance(0.2);
    const value = mutateValue(random.pick(isPage ? pages : valid), random);
    const text = isPage ? encode(value as never) : Buffer.from(JSON.stringify(value) ?? 'undefined');
    const bytes = random.chance(0.3) ? mutate(text, random) : text;
    const began = performance.now();
    try {
      if (isPage) for (const decoder of [decodePageRequest, decodePageReply]) taken(() => decoder(bytes));
      else
        for (const schema of schemas) taken(() => check(schema, parseJson(bytes), 'a body', 'BAD_REQUEST'));
    } catch (error) {
      const where = `seed ${String(seed)}, body ${String(body)}: ${Buffer.from(bytes).toString('hex')}`;
      throw new Error(where, { cause: error });
    }
    figures.slowestMs = Math.max(figures.slowestMs, performance.now() - began);
    growth.look(body);
  }
  return { ...figures, grownMiB: growth.mostMiB };
}

export interface ApiFigures {
  who: string;
  requests: number;
  /** How often each status was answered; 0: the connection ended without an answer. */
  statuses: Record<number, number>;
  slowestMs: number;
}

interface Sent {
  method: string;
  path: string;
  body: Buffer;
  headers: Record<string, string>;
}

const hash = 'ab'.repeat(32);
/** Of every route that there is (docs/openapi.json). */
const paths = Object.keys(
  (
    JSON.parse(readFileSync(join(import.meta.dirname, '../../docs/openapi.json'), 'utf8')) as {
      paths: Record<string, unknown>;
    }
  ).paths,
);
/** What stands in a path for what it names; `beside` is the VM of the node that is asked. */
const named = ['v', 'none', hash, '1-1', '9-9', '...', '%00', 'a%2F..%2Fb', ...objectNames];
const within = (path: string, random: Random): string =>
  path.replaceAll(/\{\w+\}/g, (field) =>
    field === '{vm}' && random.chance(0.5) ? 'beside' : random.pick(named),
  );
const more = [
  '/',
  '/metrics',
  '/index.html',
  '/run.html',
  '//',
  '/v1/',
  '/v1/../v1/status',
  '/%2e%2e/%2e%2e/etc/hostname',
  '/v1/blobs/x',
  '/v1/vms//keys',
];

function makeRequest(commands: readonly Command[], random: Random): Sent {
  const valid: unknown[] = [
    ...commands.map((command) => ({ id: String(random.next()), command })),
    { cut: [], deaf: [] },
    { keys: ['KeyA'] },
  ];
  const method = random.pick(['GET', 'POST', 'POST', 'POST', 'PUT', 'DELETE', 'HEAD', 'OPTIONS', 'PATCH']);
  let path = random.chance(0.8) ? within(random.pick(paths), random) : random.pick(more);
  if (random.chance(0.2))
    path += random.pick([
      `/${random.pick(objectNames)}`,
      `?since=${random.pick(objectNames)}`,
      '?limit=99999999999999999999',
      '?limit=-1',
      '/%00',
      '%',
      '?'.repeat(500),
    ]);
  const value = mutateValue(random.pick(valid), random);
  const text = Buffer.from(JSON.stringify(value) ?? '');
  const body =
    method === 'GET' || method === 'HEAD'
      ? Buffer.alloc(0)
      : Buffer.from(random.chance(0.3) ? mutate(text, random) : text);
  const headers: Record<string, string> = {};
  if (random.chance(0.1)) headers[versionHeader] = random.pick(['0', '1', '99', 'constructor', '-1', '2.0']);
  if (random.chance(0.05)) headers['origin'] = random.pick(['http://foreign.example', 'null', '__proto__']);
  if (random.chance(0.05)) headers['content-type'] = 'x'.repeat(2000);
  if (random.chance(0.05)) headers['cookie'] = `revenant=${'00'.repeat(random.integer(0, 300))}; __proto__=1`;
  return { method, path, body, headers };
}

class Caller {
  readonly #host: string;
  readonly #port: number;
  readonly #token: string | undefined;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: atOnce });

  constructor(address: string, token: string | undefined) {
    const [host = '', port = ''] = address.split(':');
    if (host !== '127.0.0.1') throw new RangeError('attacks go to loopback only');
    this.#host = host;
    this.#port = Number(port);
    this.#token = token;
  }

  /** Its status; 0 when the connection ended without one. Throws when nothing came in time. */
  #send({ method, path, body, headers }: Sent): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const to = { host: this.#host, port: this.#port, agent: this.#agent, method, path };
      const length = body.length === 0 ? {} : { 'content-length': String(body.length) };
      const sent = ask({ ...to, headers: { ...headers, ...length } }, (response) => {
        const pieces: Buffer[] = [];
        response.on('data', (piece: Buffer) => pieces.push(piece));
        const end = (): void =>
          resolve({ status: response.statusCode ?? 0, text: Buffer.concat(pieces).toString() });
        response.on('end', end);
        response.on('error', end);
      });
      sent.setTimeout(answerMs, () => {
        reject(new Error(`${method} ${path} was not answered in ${String(answerMs)} ms`));
        sent.destroy();
      });
      sent.on('error', () => resolve({ status: 0, text: '' }));
      sent.end(body);
    });
  }

  async request(given: Sent): Promise<{ status: number; text: string }> {
    const token = this.#token;
    if (token === undefined) return this.#send(given);
    const asked = { method: 'GET', path: '/v1/challenge', body: Buffer.alloc(0), headers: {} };
    const { text } = await this.#send(asked);
    const { challenge = '' } = (text === '' ? {} : JSON.parse(text)) as { challenge?: string };
    const { method, path, body } = given;
    const bodyHash = sha256(body);
    const proof = requestProof(token, challenge, { method, path, bodyHash });
    const headers = { [bodyHeader]: bodyHash, [authHeader]: `${authScheme}${challenge}.${proof}` };
    return this.#send({ ...given, headers: { ...given.headers, ...headers } });
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** Sends `requests` of them to a node on loopback. Throws when one is not answered, or with a fault of the node's own. */
export async function fuzzApi(options: {
  address: string;
  /** Undefined: as a stranger. */
  token: string | undefined;
  commands: readonly Command[];
  requests: number;
  seed: number;
}): Promise<ApiFigures> {
  const { address, token, commands, requests, seed } = options;
  const random = new Random(seed);
  const who = token === undefined ? 'a stranger' : 'a caller with the token';
  const figures: ApiFigures = { who, requests, statuses: {}, slowestMs: 0 };
  const caller = new Caller(address, token);
  let left = requests;
  const one = async (): Promise<void> => {
    while (left-- > 0) {
      const sent = makeRequest(commands, random);
      const began = performance.now();
      const { status, text } = await caller.request(sent);
      figures.slowestMs = Math.max(figures.slowestMs, performance.now() - began);
      figures.statuses[status] = (figures.statuses[status] ?? 0) + 1;
      // 503 and 504: too much at once, or no master in time.
      if (status >= 500 && status !== 503 && status !== 504)
        throw new Error(
          `${who}: ${sent.method} ${sent.path} ${sent.body.toString('latin1')}: ${String(status)} ${text}`,
        );
    }
  };
  try {
    await Promise.all(Array.from({ length: atOnce }, one));
  } finally {
    caller.close();
  }
  return figures;
}
