/** One request to a node, over a connection that may have been kept from the one before. */
import type * as v from 'valibot';
import { ClusterError, isClusterError } from '../errors.ts';
import { errorAnswerSchema } from '../protocol/api.ts';
import { bounded } from '../protocol/limits.ts';
import { checkTold } from '../protocol/open.ts';
import { protocolVersion, versionHeader, versionMismatch } from '../protocol/version.ts';

/** What a connection that its other end closes says, before anything of an answer came. */
const closed = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);

/** Several connections may have been kept, and all be closed at once. */
const maxClosed = 4;

/**
 * A connection that was kept for the next request may just be closed by the node: what does no harm twice is asked again, on the next one.
 * Where nobody listens any more that is refused at once.
 */
export async function despiteClosed<T>(ask: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries++)
    try {
      return await ask();
    } catch (error) {
      // Of our error the cause is what fetch threw, and its cause is what the connection said.
      const said = isClusterError(error, 'UNREACHABLE') && error.cause instanceof Error && error.cause.cause;
      const { code } = (said || {}) as { code?: unknown };
      if (tries === maxClosed || typeof code !== 'string' || !closed.has(code)) throw error;
    }
}

/** Throws `UNREACHABLE` when nobody answers, `PROTOCOL` for what is no answer, and whatever error the node answers with. */
export async function fetchJson<T extends v.GenericSchema>(
  schema: T,
  url: string,
  options: RequestInit,
  timeoutMs: number,
): Promise<v.InferOutput<T>> {
  let response: Response;
  let value: unknown;
  try {
    response = await fetch(url, { ...options, signal: AbortSignal.timeout(timeoutMs) });
    const version = response.headers.get(versionHeader) ?? '1';
    if (version !== String(protocolVersion))
      throw new ClusterError(
        'PROTOCOL',
        versionMismatch(`the node at ${new URL(url).host}`, bounded(version, 16)),
      );
    value = await response.json();
  } catch (error) {
    if (isClusterError(error)) throw error;
    throw new ClusterError('UNREACHABLE', `${new URL(url).host} does not answer`, { cause: error });
  }
  const what = `the answer of ${new URL(url).host} to ${new URL(url).pathname}`;
  if (response.ok) return checkTold(schema, value, what);
  const { error } = checkTold(errorAnswerSchema, value, what);
  throw new ClusterError(error.code, error.message, error.hint === undefined ? {} : { hint: error.hint });
}
