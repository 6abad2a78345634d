/** Options of `revenant run`, checked. */
import { parseArgs } from 'node:util';
import { cpuModels, type CpuModelName } from '@revenant/emulator';
import { CliError, ExitCode } from '../errors.ts';
import { parseDisk, type DiskOption } from './disks.ts';

export interface RunOptions {
  image?: string;
  kernel?: string;
  initrd?: string;
  append?: string;
  bootSector?: string;
  rom?: string;
  memoryBytes?: number;
  cpu?: CpuModelName;
  /** `stdio`, `none`, or the path of a file. */
  serial: { kind: 'stdio' | 'none' } | { kind: 'file'; path: string };
  maxInstructions?: bigint;
  save?: string;
  /** A checkpoint file, or `VM[@SEQUENCE]` in `store`. */
  restore?: string;
  /** URL. */
  store?: string;
  /** Files first, then empty disks. */
  disks?: DiskOption[];
  debugExitPort?: number;
  debugConsole?: { port: number; path: string };
  engine: 'interpreter' | 'translator';
}

function usage(message: string, hint: string): CliError {
  return new CliError(ExitCode.usage, message, hint);
}

const unitBytes: Record<string, number> = { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };

/** `256M` as bytes. */
export function parseSize(text: string): number {
  const match = /^(\d+)([KMG])$/i.exec(text);
  if (match === null)
    throw usage(`'${text}' is no size`, 'give a number with K, M or G, for example --memory 256M');
  return Number(match[1]) * (unitBytes[(match[2] ?? '').toUpperCase()] ?? 1);
}

function parsePort(option: string, text: string): number {
  const port = /^(0x[0-9a-f]+|\d+)$/i.test(text) ? Number(text) : NaN;
  if (!(port >= 0 && port <= 0xffff))
    throw usage(
      `--${option}: '${text}' is no port`,
      `give a number up to 0xffff, for example --${option} 0xf4`,
    );
  return port;
}

function parseSerial(text: string): RunOptions['serial'] {
  if (text === 'stdio' || text === 'none') return { kind: text };
  if (text.startsWith('file:') && text.length > 5) return { kind: 'file', path: text.slice(5) };
  throw usage(`--serial: '${text}' is no place for the serial port`, 'give stdio, none or file:PATH');
}

function parseDebugConsole(text: string): { port: number; path: string } {
  const at = text.indexOf('=');
  if (at < 1 || at === text.length - 1)
    throw usage(`--debug-console: '${text}' is not PORT=FILE`, 'for example --debug-console 0x402=debug.log');
  return { port: parsePort('debug-console', text.slice(0, at)), path: text.slice(at + 1) };
}

function parseCount(text: string): bigint {
  if (!/^\d+$/.test(text))
    throw usage(
      `--max-instructions: '${text}' is no number`,
      'give a whole number, for example --max-instructions 1000000',
    );
  return BigInt(text);
}

function oneOf<T extends string>(option: string, names: readonly T[], text: string): T {
  const found = names.find((name) => name === text);
  if (found === undefined)
    throw usage(`--${option}: there is no '${text}'`, `choose from ${names.join(', ')}`);
  return found;
}

const strings = [
  'kernel', 'initrd', 'append', 'boot-sector', 'rom', 'memory', 'cpu', 'serial', 'max-instructions', 'save', 'restore', 'store', 'debug-exit', 'debug-console', 'engine',
] as const; // prettier-ignore

/** A disk that writes to its file is in no checkpoint. */
function checkDisks({ disks = [], save }: RunOptions): void {
  if (save === undefined || !disks.some((disk) => 'mode' in disk && disk.mode === 'rw')) return;
  throw usage(
    '--save: a checkpoint would lack the disk that writes to its file',
    'leave rw out: then the changes go into the checkpoint',
  );
}

/** Parses the words behind `revenant run`; throws CliError (or parseArgs' own error) for what makes no sense. */
export function parseRunOptions(words: string[]): RunOptions {
  const options = {
    ...Object.fromEntries(strings.map((name) => [name, { type: 'string' as const }])),
    disk: { type: 'string' as const, multiple: true as const },
    'disk-size': { type: 'string' as const, multiple: true as const },
  };
  const { values, positionals } = parseArgs({ args: words, allowPositionals: true, options });
  const text = (name: (typeof strings)[number]): string | undefined =>
    (values as Record<string, string | undefined>)[name];
  if (positionals.length > 1)
    throw usage(`'${positionals[1] ?? ''}' is one image too many`, 'name one image');
  const result: RunOptions = {
    serial: parseSerial(text('serial') ?? 'stdio'),
    engine: oneOf('engine', ['interpreter', 'translator'], text('engine') ?? 'translator'),
  };
  const set = <K extends keyof RunOptions>(key: K, value: RunOptions[K] | undefined): void => {
    if (value !== undefined) result[key] = value;
  };
  const given = <T>(name: (typeof strings)[number], parse: (value: string) => T): T | undefined => {
    const value = text(name);
    return value === undefined ? undefined : parse(value);
  };
  set('image', positionals[0]);
  set('kernel', text('kernel'));
  set('initrd', text('initrd'));
  set('append', text('append'));
  set('bootSector', text('boot-sector'));
  set('rom', text('rom'));
  set('save', text('save'));
  set('restore', text('restore'));
  set('store', text('store'));
  set('memoryBytes', given('memory', parseSize));
  set(
    'cpu',
    given('cpu', (name) => oneOf('cpu', cpuModels, name)),
  );
  set('maxInstructions', given('max-instructions', parseCount));
  set(
    'debugExitPort',
    given('debug-exit', (port) => parsePort('debug-exit', port)),
  );
  set('debugConsole', given('debug-console', parseDebugConsole));
  const disks = [
    ...(values.disk ?? []).map(parseDisk),
    ...(values['disk-size'] ?? []).map((size) => ({ emptyBytes: parseSize(size) })),
  ];
  if (disks.length > 0) result.disks = disks;
  checkDisks(result);
  if (result.store !== undefined && result.restore === undefined)
    throw usage(
      '--store: nothing is restored from it',
      'name a checkpoint with --restore VM or --restore VM@SEQUENCE',
    );
  const sources = [result.image, result.kernel, result.bootSector, result.rom, result.restore].filter(
    (source) => source !== undefined,
  );
  if (sources.length === 0)
    throw usage(
      'nothing to run',
      'name an image (revenant images lists them), or give --kernel, --boot-sector, --rom or --restore',
    );
  if (sources.length > 1)
    throw usage('more than one thing to run', 'give one of IMAGE, --kernel, --boot-sector, --rom, --restore');
  return result;
}
