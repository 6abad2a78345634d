/** Moments as a person names them: an instruction count, or a virtual time. */
import { parseTime } from '@revenant/debugger';
import { parseNumber } from '../command/values.ts';
import type { Parser } from '../command/options.ts';
import { CliError, ExitCode } from '../errors.ts';

export type When = { count: bigint } | { ns: bigint };

export const when: Parser<When> = (text, name) => {
  const ns = parseTime(text);
  if (ns !== undefined) return { ns };
  const count = parseNumber(text);
  if (count !== undefined) return { count };
  throw new CliError(
    ExitCode.usage,
    `${name}: '${text}' is no moment`,
    `give an instruction count or a virtual time, for example ${name} 2500000000 or ${name} 12.5s`,
  );
};

/** What is to be found. */
export type Wanted =
  /** What the guest's console says. */
  | { kind: 'serial'; text: string }
  /** An instruction at a linear address. */
  | { kind: 'pc'; address: bigint }
  /** A change of bytes at a linear or physical address. */
  | { kind: 'memory'; address: bigint; bytes: number; physical: boolean }
  /** Bytes anywhere in RAM. */
  | { kind: 'text'; bytes: Uint8Array };

const hint =
  "give 'serial:TEXT', 'pc:ADDRESS', 'memory:ADDRESS[/BYTES] changes', 'physical:ADDRESS[/BYTES] changes' or 'text:TEXT in ram'";
const maxWatched = 4096;

export const wanted: Parser<Wanted> = (text, name) => {
  const [, kind = '', rest = ''] = /^(serial|pc|memory|physical|text):(.+)$/s.exec(text) ?? [];
  const refuse = (): CliError =>
    new CliError(ExitCode.usage, `${name}: '${text}' is nothing to look for`, hint);
  if (kind === 'serial') return { kind, text: rest };
  if (kind === 'pc') {
    const address = parseNumber(rest);
    if (address === undefined) throw refuse();
    return { kind, address };
  }
  if (kind === 'text') {
    const sought = /^(.+?)(?: in ram)?$/s.exec(rest)?.[1] ?? rest;
    return { kind, bytes: Buffer.from(sought) };
  }
  const [, address = '', bytes = '1'] = /^(\w+)(?:\/(\d{1,4}))? changes$/.exec(rest) ?? [];
  const at = parseNumber(address);
  if (at === undefined || Number(bytes) < 1 || Number(bytes) > maxWatched) throw refuse();
  return { kind: 'memory', address: at, bytes: Number(bytes), physical: kind === 'physical' };
};
