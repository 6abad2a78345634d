/** Message authentication codes of links and API: HMAC-SHA256 over parts, each preceded by its length. */
import { createHash, createHmac, timingSafeEqual, type KeyObject } from 'node:crypto';

export function mac(key: Uint8Array | KeyObject, ...parts: readonly (string | Uint8Array)[]): Buffer {
  const hmac = createHmac('sha256', key);
  for (const part of parts) {
    const bytes = typeof part === 'string' ? Buffer.from(part) : part;
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    hmac.update(length).update(bytes);
  }
  return hmac.digest();
}

export function sameMac(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** What a request says that it is, in its proof. */
export interface ProvenRequest {
  method: string;
  /** With its query. */
  path: string;
  /** SHA-256 of the body in hexadecimal: told in a header, so that the proof can be checked before any body is read. */
  bodyHash: string;
}

/** Proof of the token for one request, under a challenge that serves once. */
export function requestProof(
  token: string,
  challenge: string,
  { method, path, bodyHash }: ProvenRequest,
): string {
  return mac(Buffer.from(token), 'api', challenge, method, path, bodyHash).toString('hex');
}
