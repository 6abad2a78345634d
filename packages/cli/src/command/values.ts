/** Numbers, sizes, ports, addresses and times as people type them: the one place that reads them. */
import { CliError, ExitCode } from '../errors.ts';
import type { Parser } from './options.ts';

function wrong(name: string, text: string, what: string, hint: string): CliError {
  return new CliError(ExitCode.usage, `${name}: '${text}' is no ${what}`, hint);
}

/** Decimal or 0x…, with `_` between digits if one likes; undefined when it is neither. */
export function parseNumber(text: string): bigint | undefined {
  const plain = text.replaceAll('_', '');
  return /^(0x[0-9a-f]+|\d+)$/i.test(plain) ? BigInt(plain) : undefined;
}

/** A whole number within bounds, decimal or 0x…. */
export function wholeNumber(from = 0, to: number = Number.MAX_SAFE_INTEGER): Parser<number> {
  return (text, name) => {
    const number = parseNumber(text);
    if (number !== undefined && number >= BigInt(from) && number <= BigInt(to)) return Number(number);
    const range = to === Number.MAX_SAFE_INTEGER ? `from ${from}` : `from ${from} to ${to}`;
    throw wrong(
      name,
      text,
      `whole number ${range}`,
      `for example ${name} ${Math.max(from, Math.min(to, 1))}`,
    );
  };
}

/** A number of things that may be beyond 2^53, such as instructions. */
export const count: Parser<bigint> = (text, name) => {
  const number = parseNumber(text);
  if (number === undefined)
    throw wrong(name, text, 'number', `give a whole number, for example ${name} 1000000`);
  return number;
};

const unitBytes: Readonly<Record<string, number>> = { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

/** `256M` as bytes. */
export const size: Parser<number> = (text, name) => {
  const [, digits = '', unit = ''] = /^(\d{1,9})([KMGT])(?:i?B)?$/i.exec(text) ?? [];
  const bytes = Number(digits) * (unitBytes[unit.toUpperCase()] ?? NaN);
  if (!(bytes > 0))
    throw wrong(name, text, 'size', `give a number with K, M, G or T, for example ${name} 256M`);
  return bytes;
};

/** An I/O port of the guest. */
export const ioPort: Parser<number> = (text, name) => {
  const number = parseNumber(text);
  if (number === undefined || number > 0xffffn)
    throw wrong(name, text, 'I/O port', `give a number up to 0xffff, for example ${name} 0xf4`);
  return Number(number);
};

/** An address: 0x…, decimal, or hexadecimal digits with a letter among them. */
export const address: Parser<bigint> = (text, name) => {
  const plain = text.replaceAll('_', '');
  const number = parseNumber(plain) ?? (/^[0-9a-f]+$/i.test(plain) ? BigInt(`0x${plain}`) : undefined);
  if (number === undefined || number >= 2n ** 64n)
    throw wrong(name, text, 'address', 'write it as 0xffffffff81000000');
  return number;
};

/** One of a few names. */
export function oneOf<const T extends string>(names: readonly T[]): Parser<T> {
  return (text, name) => {
    const found = names.find((each) => each === text);
    if (found === undefined)
      throw new CliError(ExitCode.usage, `${name}: there is no '${text}'`, `choose from ${names.join(', ')}`);
    return found;
  };
}

/** A number above 0, with a fraction if one likes. */
export const positive: Parser<number> = (text, name) => {
  const number = Number(text);
  if (!(number > 0 && number < Infinity))
    throw wrong(name, text, 'number above 0', `for example ${name} 1.5`);
  return number;
};

/** Several of a thing, with commas between them. */
export function commaSeparated<T>(each: Parser<T>): Parser<T[]> {
  return (text, name) =>
    text
      .split(',')
      .filter((word) => word !== '')
      .map((word) => each(word, name));
}

const unitMs: Readonly<Record<string, number>> = { s: 1e3, m: 6e4, h: 36e5, d: 864e5 };

/** `90s`, `15m`, `1h`, `1d`, in milliseconds. */
export const span: Parser<number> = (text, name) => {
  const [, digits, unit = ''] = /^(\d{1,5})([smhd])$/.exec(text) ?? [];
  const ms = Number(digits) * (unitMs[unit] ?? 0);
  if (!(ms > 0)) throw wrong(name, text, 'span of time', `for example ${name} 15m`);
  return ms;
};

/** `10m` (ago) or a date, as milliseconds since 1970. */
export function time(nowMs: () => number = Date.now): Parser<number> {
  return (text, name) => {
    const [, digits, unit = ''] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
    const at = digits === undefined ? Date.parse(text) : nowMs() - Number(digits) * (unitMs[unit] ?? 0);
    if (Number.isNaN(at))
      throw wrong(name, text, 'time', `for example ${name} 10m or ${name} 2026-01-31T12:00`);
    return at;
  };
}

/** `HOST:PORT` to listen on; an IPv6 address in brackets. */
export const listenAddress: Parser<{ host: string; port: number }> = (text, name) => {
  const [, bracketed, plain, digits = ''] = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || host === '' || Number(digits) > 65_535)
    throw wrong(name, text, 'address', `give HOST:PORT, for example ${name} 127.0.0.1:1234`);
  return { host, port: Number(digits) };
};
