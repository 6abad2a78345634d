/** DNS messages as far as a forwarder reads them: RFC 1035, 4; negative answers RFC 2308; EDNS RFC 6891. */
import { copyOf, get16, get32, set16, set32 } from './bytes.ts';

export const dnsHeaderBytes = 12;
const Flag = {
  response: 0x8000,
  opcode: 0x7800,
  truncated: 0x0200,
  recursionAvailable: 0x0080,
  code: 0x000f,
} as const;
export const DnsCode = { noError: 0, serverFailure: 2, noSuchName: 3 } as const;
const RecordType = { startOfAuthority: 6, options: 41 } as const;
const maxNameBytes = 255;
const maxRecords = 256;

/** Where the one question of a query ends; undefined for what isn't a query with one question. */
export function questionEnd(message: Uint8Array): number | undefined {
  if (message.length < dnsHeaderBytes || get16(message, 4) !== 1) return undefined;
  let at = dnsHeaderBytes;
  for (;;) {
    const length = message[at];
    // A pointer has nothing to point to in the first name.
    if (length === undefined || length > 63 || at - dnsHeaderBytes > maxNameBytes) return undefined;
    at += length + 1;
    if (length === 0) break;
  }
  return at + 4 <= message.length ? at + 4 : undefined;
}

export function isQuery(message: Uint8Array): boolean {
  return message.length >= dnsHeaderBytes && (get16(message, 2) & (Flag.response | Flag.opcode)) === 0;
}

/** Names compare without regard to case (RFC 4343). */
export function sameQuestion(a: Uint8Array, b: Uint8Array, end: number): boolean {
  if (b.length < end) return false;
  for (let at = dnsHeaderBytes; at < end; at++) if (lowerCase(a[at]!) !== lowerCase(b[at]!)) return false;
  return true;
}

function lowerCase(byte: number): number {
  return byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte;
}

/** What answers of one query may be given to: the question, how it was asked (flags), and everything behind it (EDNS). */
export function cacheKeyOf(query: Uint8Array, end: number): string {
  const name = [...query.subarray(dnsHeaderBytes, end - 4)].map(lowerCase);
  return String.fromCharCode(
    ...query.subarray(2, 4),
    ...query.subarray(6, 12),
    ...name,
    ...query.subarray(end - 4),
  );
}

/**
 * For how many seconds an answer may be kept: the least of its records' times, or for a name or type that doesn't exist what the zone says
 * (RFC 2308, 5). 0 for failures, for answers that were cut, and for what can't be read.
 */
export function secondsToKeep(answer: Uint8Array, end: number): number {
  const flags = get16(answer, 2);
  const code = flags & Flag.code;
  if (flags & Flag.truncated || (code !== DnsCode.noError && code !== DnsCode.noSuchName)) return 0;
  const records = readRecords(answer, end);
  if (records === undefined) return 0;
  const answers = get16(answer, 6);
  if (answers === 0 && !records.some(({ type }) => type === RecordType.startOfAuthority)) return 0;
  let seconds = Infinity;
  for (const { type, ttlAt, dataAt, dataBytes } of records) {
    if (type === RecordType.options) continue;
    seconds = Math.min(seconds, get32(answer, ttlAt));
    if (type === RecordType.startOfAuthority && dataBytes >= 20)
      seconds = Math.min(seconds, get32(answer, dataAt + dataBytes - 4));
  }
  return Number.isFinite(seconds) ? seconds : 0;
}

/** Takes the seconds that an answer was kept off the times of its records. */
export function age(answer: Uint8Array, end: number, seconds: number): void {
  for (const { type, ttlAt } of readRecords(answer, end) ?? [])
    if (type !== RecordType.options) set32(answer, ttlAt, Math.max(get32(answer, ttlAt) - seconds, 0));
}

interface RecordPlace {
  type: number;
  ttlAt: number;
  dataAt: number;
  dataBytes: number;
}

/** All records behind the question; undefined when they aren't whole. */
function readRecords(message: Uint8Array, end: number): RecordPlace[] | undefined {
  const count = get16(message, 6) + get16(message, 8) + get16(message, 10);
  if (count > maxRecords) return undefined;
  const records: RecordPlace[] = [];
  let at = end;
  for (let n = 0; n < count; n++) {
    const nameEnd = skipName(message, at);
    if (nameEnd === undefined || nameEnd + 10 > message.length) return undefined;
    const dataAt = nameEnd + 10;
    const dataBytes = get16(message, nameEnd + 8);
    if (dataAt + dataBytes > message.length) return undefined;
    records.push({ type: get16(message, nameEnd), ttlAt: nameEnd + 4, dataAt, dataBytes });
    at = dataAt + dataBytes;
  }
  return records;
}

/** 4.1.4: a name ends with an empty label or with a pointer; where that leads needs not be known. */
function skipName(message: Uint8Array, from: number): number | undefined {
  let at = from;
  for (;;) {
    const length = message[at];
    if (length === undefined || at - from > maxNameBytes) return undefined;
    if (length === 0) return at + 1;
    if (length >= 0xc0) return at + 2;
    if (length > 63) return undefined;
    at += length + 1;
  }
}

/** The answer to a query that nobody could answer: SERVFAIL with the question. */
export function failure(query: Uint8Array, end: number): Uint8Array {
  const answer = copyOf(query.subarray(0, end));
  set16(
    answer,
    2,
    (get16(query, 2) & 0x0100) | Flag.response | Flag.recursionAvailable | DnsCode.serverFailure,
  );
  answer.fill(0, 6, dnsHeaderBytes);
  return answer;
}
