/**
 * Challenges, under which a request proves the token. Nothing is kept of one that is given out: it carries its own time and code, so
 * that no flood of questions takes another's away. What is kept are those that served, until their time is over.
 */
import { randomBytes } from 'node:crypto';
import { mac, requestProof, sameMac, type ProvenRequest } from '../mac.ts';
import type { Caller } from '../protocol/page.ts';
import type { Callers } from './callers.ts';

export const challengeMs = 30_000;
/** Proven requests within `challengeMs`: beyond, none is taken. */
const maxServed = 1 << 16;

export class Challenges {
  readonly #callers: Callers;
  readonly #nowMs: () => number;
  /** Of this process: challenges of one before are worth nothing. */
  readonly #secret = randomBytes(32);
  /** Until when each that served must be remembered, oldest first. */
  readonly #served = new Map<string, number>();

  constructor(callers: Callers, nowMs: () => number = () => performance.now()) {
    this.#callers = callers;
    this.#nowMs = nowMs;
  }

  /** 8 bytes of time, 8 of chance, and their code, in hexadecimal. */
  give(): string {
    const head = Buffer.alloc(16);
    head.writeDoubleBE(this.#nowMs());
    randomBytes(8).copy(head, 8);
    return head.toString('hex') + this.#code(head);
  }

  /** Who proves a token of theirs by `CHALLENGE.PROOF`, for this request, for the first time; undefined when nobody does. */
  proves(text: string, request: ProvenRequest): Caller | undefined {
    const [, head, code, proof] = /^([0-9a-f]{32})([0-9a-f]{32})\.([0-9a-f]{64})$/.exec(text) ?? [];
    if (head === undefined || code === undefined || proof === undefined) return undefined;
    const bytes = Buffer.from(head, 'hex');
    if (!sameMac(Buffer.from(code), Buffer.from(this.#code(bytes)))) return undefined;
    const now = this.#nowMs();
    const until = bytes.readDoubleBE(0) + challengeMs;
    const challenge = head + code;
    if (now > until || this.#served.has(challenge)) return undefined;
    const caller = this.#callerOf(proof, challenge, request);
    if (caller === undefined) return undefined;
    for (const [old, end] of this.#served) {
      if (end >= now) break;
      this.#served.delete(old);
    }
    if (this.#served.size >= maxServed) return undefined;
    this.#served.set(challenge, now + challengeMs);
    return caller;
  }

  #callerOf(proof: string, challenge: string, request: ProvenRequest): Caller | undefined {
    for (const { token, caller } of this.#callers.tokens())
      if (sameMac(Buffer.from(proof), Buffer.from(requestProof(token, challenge, request)))) return caller;
    return undefined;
  }

  #code(head: Uint8Array): string {
    return mac(this.#secret, 'challenge', head).subarray(0, 16).toString('hex');
  }
}
