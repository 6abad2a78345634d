/**
 * What a person who has proved the token carries from then on: a pass that says what it allows and until when, authenticated by the
 * cluster's token, so that each node knows it without asking another. It travels as a cookie that scripts can't read and other sites
 * can't send, and, where a page goes to another host when its node died, as a websocket subprotocol and as `Authorization: Revenant-Pass PASS`.
 * It counts for pages of one host alone, by the name by which the browser knows that: the one where the session was opened.
 */
import { mac, sameMac } from '../mac.ts';
import { passScheme, passSubprotocol, roles } from '../protocol/page.ts';
import type { Caller } from '../protocol/page.ts';

const cookie = 'revenant-session';
const lifeMs = 8 * 3600_000;

/** By what a pass is known: the cluster's token, and the host that the page is of which carries it. */
export interface PassOf {
  token: string;
  host: string;
}

function signed({ token, host }: PassOf, body: string): string {
  return `${body}.${mac(Buffer.from(token), 'page', body, host).toString('hex')}`;
}

/** A new pass; `nowMs`: milliseconds since 1970, as nodes of several hosts have to agree on its end. */
export function makePass(of: PassOf, { name, role }: Caller, nowMs: number): string {
  return signed(of, `${name}.${role}.${String(nowMs + lifeMs)}`);
}

/** Whose pass this is, and what it allows now; undefined for one that nobody made, was changed, or is over. */
export function callerOfPass(of: PassOf, pass: string, nowMs: number): Caller | undefined {
  const [name = '', roleText = '', untilText = ''] = pass.split('.');
  const expected = signed(of, `${name}.${roleText}.${untilText}`);
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

/** What of a request's headers may hold a pass. */
interface PassHeaders {
  cookie?: string | undefined;
  subprotocols?: string | undefined;
  authorization?: string | undefined;
}

/** A pass that a script shows, which no browser adds by itself: as authorization, or among the websocket subprotocols. */
export function shownPassOf({ authorization = '', subprotocols = '' }: PassHeaders): string | undefined {
  if (authorization.startsWith(passScheme)) return authorization.slice(passScheme.length);
  const offered = subprotocols.split(',').map((word) => word.trim());
  return offered.find((word) => word.startsWith(passSubprotocol))?.slice(passSubprotocol.length);
}

/** The pass in a request: one that is shown, or among its cookies. */
export function passOf(headers: PassHeaders): string | undefined {
  const shown = shownPassOf(headers);
  if (shown !== undefined) return shown;
  for (const pair of (headers.cookie ?? '').split(';')) {
    const [name, value] = pair.trim().split('=', 2);
    if (name === cookie && value !== undefined && value !== '') return value;
  }
  return undefined;
}
