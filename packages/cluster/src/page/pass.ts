/**
 * What a person who has proved the token carries from then on: a pass that says what it allows and until when, authenticated by the
 * cluster's token, so that each node knows it without asking another. It travels as a cookie that scripts can't read and other sites
 * can't send, and, where a page goes to another host when its node died, as a websocket subprotocol and as `Authorization: Revenant-Pass PASS`.
 */
import { mac, sameMac } from '../mac.ts';
import { passScheme, passSubprotocol, roles } from '../protocol/page.ts';
import type { Caller } from '../protocol/page.ts';

const cookie = 'revenant-session';
const lifeMs = 8 * 3600_000;

function signed(token: string, body: string): string {
  return `${body}.${mac(Buffer.from(token), 'page', body).toString('hex')}`;
}

/** A new pass; `nowMs`: milliseconds since 1970, as nodes of several hosts have to agree on its end. */
export function makePass(token: string, { name, role }: Caller, nowMs: number): string {
  return signed(token, `${name}.${role}.${String(nowMs + lifeMs)}`);
}

/** Whose pass this is, and what it allows now; undefined for one that nobody made, was changed, or is over. */
export function callerOfPass(token: string, pass: string, nowMs: number): Caller | undefined {
  const [name = '', roleText = '', untilText = ''] = pass.split('.');
  const expected = signed(token, `${name}.${roleText}.${untilText}`);
  if (!sameMac(Buffer.from(pass), Buffer.from(expected)) || !(nowMs < Number(untilText))) return undefined;
  const role = roles.find((each) => each === roleText);
  return role === undefined ? undefined : { name, role };
}

/** `Set-Cookie` that keeps a pass; without one it takes the cookie back. */
export function passCookie(pass: string | undefined, secure = false): string {
  const life = pass === undefined ? 0 : lifeMs / 1000;
  const attributes = `Path=/; HttpOnly; SameSite=Strict; Max-Age=${String(life)}${secure ? '; Secure' : ''}`;
  return `${cookie}=${pass ?? ''}; ${attributes}`;
}

/** The pass in a request: one that is shown, among its websocket subprotocols, or among its cookies. */
export function passOf(headers: {
  cookie?: string | undefined;
  subprotocols?: string | undefined;
  authorization?: string | undefined;
}): string | undefined {
  const { authorization = '' } = headers;
  if (authorization.startsWith(passScheme)) return authorization.slice(passScheme.length);
  for (const pair of (headers.cookie ?? '').split(';')) {
    const [name, value] = pair.trim().split('=', 2);
    if (name === cookie && value !== undefined && value !== '') return value;
  }
  const offered = (headers.subprotocols ?? '').split(',').map((word) => word.trim());
  return offered.find((word) => word.startsWith(passSubprotocol))?.slice(passSubprotocol.length);
}
