/** What every `revenant checkpoint` command gets: its words, the opener, and how to print. */
import { parseArgs, type ParseArgsConfig } from 'node:util';
import type { CheckpointReader } from '@revenant/storage';
import { print, table } from '../cluster/output.ts';
import { CliError, ExitCode } from '../errors.ts';
import { Opener } from './target.ts';
import { Progress } from './progress.ts';

export { print, table };

/** One command of `revenant checkpoint`. */
export interface CheckpointCommand {
  summary: string;
  /** Without `revenant checkpoint`. */
  usage: string;
  /** Lines about options and examples. */
  details: string;
  options?: NonNullable<ParseArgsConfig['options']>;
  run(context: Context): Promise<number | undefined>;
}

type Values = Record<string, string | boolean | undefined>;

export class Context {
  readonly positionals: readonly string[];
  readonly opener: Opener;
  readonly json: boolean;
  readonly #values: Values;
  readonly #usage: string;

  constructor(command: CheckpointCommand, words: string[]) {
    const options = { store: { type: 'string' }, json: { type: 'boolean' }, ...command.options } as const;
    const { values, positionals } = parseArgs({ args: words, allowPositionals: true, options });
    this.positionals = positionals;
    this.#values = values as Values;
    this.#usage = command.usage;
    this.json = this.flag('json');
    this.opener = new Opener(this.text('store') ?? process.env['REVENANT_STORE']);
  }

  text(name: string): string | undefined {
    const value = this.#values[name];
    return typeof value === 'string' ? value : undefined;
  }

  flag(name: string): boolean {
    return this.#values[name] === true;
  }

  /** The n-th word behind the command; throws when it is missing. */
  word(n: number, what: string): string {
    const word = this.positionals[n];
    if (word === undefined)
      throw new CliError(ExitCode.usage, `${what} is missing`, `usage: revenant checkpoint ${this.#usage}`);
    return word;
  }

  /** Throws when there are more than `count` words. */
  atMost(count: number): void {
    const extra = this.positionals[count];
    if (extra !== undefined)
      throw new CliError(
        ExitCode.usage,
        `'${extra}' is one word too many`,
        `usage: revenant checkpoint ${this.#usage}`,
      );
  }

  /** Opens the checkpoint named by the n-th word. */
  checkpoint(n = 0): Promise<CheckpointReader> {
    return this.opener.checkpoint(this.word(n, 'a checkpoint'));
  }

  /** The number given by an option. */
  count(name: string, fallback: number): number {
    const text = this.text(name);
    if (text === undefined) return fallback;
    const value = parseNumber(text);
    if (value === undefined || value > 0xffff_ffffn)
      throw new CliError(ExitCode.usage, `--${name}: '${text}' is no number`, `for example --${name} 16`);
    return Number(value);
  }

  progress(what: string): Progress {
    return new Progress(what);
  }

  /** JSON with --json, else the text. */
  show(value: unknown, text: () => string): void {
    if (this.json) printJson(value);
    else print(text());
  }
}

/** JSON: integers beyond 2^53 as decimal text, bytes as hexadecimal text. */
export function printJson(value: unknown): void {
  print(JSON.stringify(value, jsonValue, 2));
}

function jsonValue(_key: string, item: unknown): unknown {
  if (typeof item === 'bigint')
    return item >= -(2n ** 53n) && item <= 2n ** 53n ? Number(item) : String(item);
  if (item instanceof Uint8Array) return Buffer.from(item).toString('hex');
  if (ArrayBuffer.isView(item)) return [...(item as unknown as Iterable<unknown>)];
  return item;
}

/** Decimal or 0x…; undefined when it is neither. */
export function parseNumber(text: string): bigint | undefined {
  return /^(0x[0-9a-f]+|\d+)$/i.test(text.replaceAll('_', '')) ? BigInt(text.replaceAll('_', '')) : undefined;
}

/** An address: 0x…, or hexadecimal digits with a letter or more than nine of them. */
export function parseAddress(text: string): bigint {
  const plain = text.replaceAll('_', '');
  const value = parseNumber(plain) ?? (/^[0-9a-f]+$/i.test(plain) ? BigInt(`0x${plain}`) : undefined);
  if (value === undefined || value >= 2n ** 64n)
    throw new CliError(ExitCode.usage, `'${text}' is no address`, 'write it as 0xffffffff81000000');
  return value;
}

/** `0x` and digits, at least `digits`. */
export function hex(value: bigint | number, digits = 1): string {
  return `0x${BigInt.asUintN(64, BigInt(value)).toString(16).padStart(digits, '0')}`;
}

/** `12.3 MiB` */
export function bytesText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  return `${unit === 0 ? String(value) : value.toFixed(1)} ${units[unit] ?? ''}`;
}

/** Names and values below each other, the values aligned. */
export function fields(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(0, ...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`.trimEnd()).join('\n');
}
