/**
 * The name server of the segment: hands queries to the host's own, keeps answers for as long as they allow. The host's side gives each query
 * a number and a port of its own, and takes answers from its server only. Queries by TCP go to the host's server as connections (tcp-nat.ts).
 */
import { copyOf, get16, set16 } from '../wire/bytes.ts';
import {
  age,
  cacheKeyOf,
  dnsHeaderBytes,
  failure,
  isQuery,
  questionEnd,
  sameQuestion,
  secondsToKeep,
} from '../wire/dns.ts';
import { Protocol } from '../wire/ipv4.ts';
import { buildUdp } from '../wire/udp.ts';
import { sendPacket } from './link.ts';
import { makeRoom, takeNumber, wakeAt, type DnsQuery, type Turn } from './state.ts';

export const dnsPort = 53;
const patienceMs = 10_000;
/** RFC 8767, 4: nothing is kept for longer than this; RFC 2308 wants failures kept at most five minutes, here they aren't. */
const longestSeconds = 86_400;
/** What is asked or kept in one entry. */
const maxQueryBytes = 512;
const maxAnswerBytes = 4096;

export interface GuestEnd {
  address: number;
  port: number;
}

export function receiveDns(turn: Turn, guest: GuestEnd, data: Uint8Array): void {
  const { state, settings, nowMs } = turn;
  const end = questionEnd(data);
  if (!isQuery(data) || end === undefined || data.length > maxQueryBytes || !settings.outbound) return;
  const cacheKey = cacheKeyOf(data, end);
  const kept = state.dnsCache.get(cacheKey);
  if (kept !== undefined && kept.untilMs > nowMs) {
    const answer = copyOf(kept.answer);
    age(answer, end, Math.floor((nowMs - kept.keptMs) / 1000));
    reply(turn, { guest, query: data, end }, answer);
    return;
  }
  for (const query of state.queries.values()) {
    const same = query.guestAddress === guest.address && query.guestPort === guest.port;
    // The guest asks again while the answer is under way.
    if (same && get16(query.data, 0) === get16(data, 0) && sameQuestion(data, query.data, end)) return;
  }
  makeRoom(state.queries, settings.limits.dnsQueries);
  const query: DnsQuery = {
    query: takeNumber(state),
    guestAddress: guest.address,
    guestPort: guest.port,
    data: copyOf(data),
    cacheKey,
    untilMs: nowMs + patienceMs,
  };
  state.queries.set(query.query, query);
  wakeAt(state, query.untilMs);
  turn.effects.push({ kind: 'dnsQuery', query: query.query, data: query.data });
}

export function dnsAnswered(turn: Turn, number: number, answer: Uint8Array | undefined): void {
  const { state, settings, nowMs } = turn;
  const query = state.queries.get(number);
  if (query === undefined) return;
  state.queries.delete(number);
  const end = questionEnd(query.data)!;
  const guest = { address: query.guestAddress, port: query.guestPort };
  const place = { guest, query: query.data, end };
  const usable =
    answer !== undefined &&
    answer.length >= dnsHeaderBytes &&
    !isQuery(answer) &&
    get16(answer, 4) === 1 &&
    sameQuestion(query.data, answer, end);
  if (!usable) {
    reply(turn, place, failure(query.data, end));
    return;
  }
  const seconds = Math.min(secondsToKeep(answer, end), longestSeconds);
  if (seconds > 0 && query.cacheKey !== undefined && answer.length <= maxAnswerBytes) {
    state.dnsCache.delete(query.cacheKey);
    makeRoom(state.dnsCache, settings.limits.dnsCacheEntries);
    const entry = { answer: copyOf(answer), keptMs: nowMs, untilMs: nowMs + seconds * 1000 };
    state.dnsCache.set(query.cacheKey, entry);
  }
  reply(turn, place, copyOf(answer));
}

/** Sends an answer with the number of the query, and the question letter by letter as it was asked. */
function reply(
  turn: Turn,
  { guest, query, end }: { guest: GuestEnd; query: Uint8Array; end: number },
  answer: Uint8Array,
): void {
  set16(answer, 0, get16(query, 0));
  answer.set(query.subarray(dnsHeaderBytes, end), dnsHeaderBytes);
  const ends = { source: turn.settings.nameServer ?? turn.settings.address, destination: guest.address };
  const payload = buildUdp({ sourcePort: dnsPort, destinationPort: guest.port, data: answer }, ends);
  sendPacket(turn, { ...ends, protocol: Protocol.udp, payload });
}

export function runQueries(turn: Turn): void {
  for (const [number, { untilMs }] of turn.state.queries) {
    if (untilMs <= turn.nowMs) dnsAnswered(turn, number, undefined);
    else wakeAt(turn.state, untilMs);
  }
}
