/** Log-in: the token is used here once, to prove that one has it (docs/CLUSTER_PROTOCOL.md, "API"); the node answers with a session cookie. */
import {
  challengeAnswerSchema,
  checkTold,
  errorAnswerSchema,
  sessionAnswerSchema,
  type Role,
} from '@revenant/cluster/protocol';

const emptyBodyHash = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
const path = '/v1/session';
const encoder = new TextEncoder();

function hex(bytes: ArrayBuffer): string {
  return Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** HMAC-SHA256 over parts, each preceded by its length as 32 bits, as nodes compute it. */
async function proofOf(token: string, parts: readonly string[]): Promise<string> {
  const key = await crypto.subtle.importKey(
    'raw',
    encoder.encode(token),
    { name: 'HMAC', hash: 'SHA-256' },
    false,
    ['sign'],
  );
  const encoded = parts.map((part) => encoder.encode(part));
  const message = new Uint8Array(encoded.reduce((sum, part) => sum + part.length + 4, 0));
  const view = new DataView(message.buffer);
  let at = 0;
  for (const part of encoded) {
    view.setUint32(at, part.length);
    message.set(part, at + 4);
    at += part.length + 4;
  }
  return hex(await crypto.subtle.sign('HMAC', key, message));
}

async function challenge(): Promise<{ challenge: string; needed: boolean }> {
  const response = await fetch('/v1/challenge');
  return checkTold(challengeAnswerSchema, await response.json(), 'the challenge');
}

/** Whether a token is needed here at all. */
export async function isTokenNeeded(): Promise<boolean> {
  return (await challenge()).needed;
}

/**
 * Opens a session; what it may do.
 * @throws Error in words for people
 */
export async function logIn(token: string): Promise<Role> {
  const { challenge: fresh } = await challenge();
  const proof = await proofOf(token.trim(), ['api', fresh, 'POST', path, emptyBodyHash]);
  const response = await fetch(path, {
    method: 'POST',
    headers: { authorization: `Revenant ${fresh}.${proof}`, 'revenant-body': emptyBodyHash },
  });
  const answer: unknown = await response.json();
  if (response.ok) return checkTold(sessionAnswerSchema, answer, 'the session').role;
  throw new Error(checkTold(errorAnswerSchema, answer, 'the answer').error.message);
}

export async function logOut(): Promise<void> {
  await fetch(path, { method: 'DELETE' });
}
