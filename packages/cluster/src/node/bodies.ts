/** Bodies of requests, read only once the caller is known, and never more of them than their limit. */
import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type * as v from 'valibot';
import { ClusterError } from '../errors.ts';
import { maxBodyBytes } from '../protocol/limits.ts';
import { check } from '../protocol/schema.ts';
import { authHeader, bodyHeader } from '../protocol/version.ts';
import type { Answer } from './answers.ts';

const emptyBody = createHash('sha256').digest('hex');

export interface BodyLimits {
  bytes: number;
  idleMs: number;
}

/** What the request says its body is. */
export function saidBodyHash(request: IncomingMessage): string {
  const said = request.headers[bodyHeader];
  return typeof said === 'string' ? said : emptyBody;
}

/**
 * The body, piece by piece. Throws `BAD_REQUEST` when it is longer than `limit`, and at its end when it is not what the request said;
 * `TIMEOUT` when nothing comes for `idleMs`.
 */
export async function* readPieces(
  request: IncomingMessage,
  { bytes: limit, idleMs }: BodyLimits,
): AsyncGenerator<Buffer, void> {
  const tooLong = new ClusterError('BAD_REQUEST', `a body of more than ${String(limit)} bytes`);
  if (Number(request.headers['content-length'] ?? 0) > limit) throw tooLong;
  const hash = createHash('sha256');
  let sizeBytes = 0;
  const idle = (): void => {
    request.destroy(new ClusterError('TIMEOUT', 'the body of a request stopped coming'));
  };
  request.setTimeout(idleMs, idle);
  try {
    for await (const piece of request as AsyncIterable<Buffer>) {
      sizeBytes += piece.length;
      if (sizeBytes > limit) throw tooLong;
      hash.update(piece);
      yield piece;
    }
  } finally {
    request.setTimeout(0);
  }
  const isSaid = bodyHeader in request.headers || authHeader in request.headers;
  if (isSaid && hash.digest('hex') !== saidBodyHash(request))
    throw new ClusterError('BAD_REQUEST', 'the body does not have the hash that the request says', {
      hint: `${bodyHeader}: SHA-256 of the body in hexadecimal`,
    });
}

/** A small body whole. */
export async function readBody(request: IncomingMessage, limits: BodyLimits): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of readPieces(request, limits)) pieces.push(piece);
  return Buffer.concat(pieces);
}

export function parseJson(body: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(body).toString('utf8')) as unknown;
  } catch (error) {
    throw new ClusterError('BAD_REQUEST', 'the body is no JSON', { cause: error });
  }
}

/** A request's JSON, checked. Throws `BAD_REQUEST`. */
export async function bodyOf<T extends v.GenericSchema>(
  schema: T,
  { request, limits }: Pick<Answer, 'request' | 'limits'>,
): Promise<v.InferOutput<T>> {
  const body = await readBody(request, { bytes: maxBodyBytes, idleMs: limits.bodyIdleMs });
  return check(schema, parseJson(body), 'the request', 'BAD_REQUEST');
}
