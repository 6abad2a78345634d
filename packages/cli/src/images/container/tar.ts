/** Reads whole tar archives: ustar, and the extensions of GNU tar and of POSIX (pax) for long names and large numbers. What breaks the format is refused. */
import { CliError, ExitCode } from '../../errors.ts';

const blockBytes = 512;
/** POSIX.1-2017, pax, "ustar Interchange Format": where the fields stand, and how long they are. */
const Field = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  sum: [148, 8],
  link: [157, 100],
  major: [329, 8],
  minor: [337, 8],
  prefix: [345, 155],
} as const satisfies Record<string, readonly [number, number]>;

const kinds = {
  '0': 'file',
  '\0': 'file',
  '7': 'file',
  '1': 'hard-link',
  '2': 'link',
  '3': 'character',
  '4': 'block',
  '5': 'folder',
  '6': 'pipe',
} as const;
export type TarKind = (typeof kinds)[keyof typeof kinds];

export interface TarEntry {
  path: string;
  kind: TarKind;
  mode: number;
  uid: number;
  gid: number;
  /** Of a link of either kind. */
  target: string;
  /** Of a device. */
  device: readonly [number, number];
  data: Uint8Array;
}

function bad(what: string): never {
  throw new CliError(
    ExitCode.badInput,
    `a layer of the image is no tar archive: ${what}`,
    'save the image again',
  );
}

function text(block: Buffer, [at, length]: readonly [number, number]): string {
  const field = block.subarray(at, at + length);
  const end = field.indexOf(0);
  return field.toString('utf8', 0, end < 0 ? length : end);
}

/** Octal digits, or (GNU) a big-endian number behind a byte of 80h. */
function number(block: Buffer, [at, length]: readonly [number, number]): number {
  if (block[at]! === 0x80) return Number(BigInt(`0x${block.toString('hex', at + 1, at + length)}`));
  const digits = text(block, [at, length]).trim();
  if (!/^[0-7]*$/.test(digits)) bad(`${JSON.stringify(digits)} is no number`);
  return digits === '' ? 0 : Number.parseInt(digits, 8);
}

function checkSum(block: Buffer): void {
  const [at, length] = Field.sum;
  let sum = 0;
  for (let n = 0; n < blockBytes; n++) sum += n >= at && n < at + length ? 0x20 : block[n]!;
  if (sum !== number(block, Field.sum)) bad('the checksum of a header differs');
}

/** `LENGTH KEY=VALUE\n`, one after the other. */
function readPax(data: Buffer): Record<string, string> {
  const found: Record<string, string> = {};
  for (let at = 0; at < data.length;) {
    const space = data.indexOf(0x20, at);
    const length = Number(data.toString('latin1', at, space));
    if (space < 0 || !Number.isInteger(length) || length <= 0 || at + length > data.length)
      bad('a broken extended header');
    const record = data.toString('utf8', space + 1, at + length - 1);
    const equals = record.indexOf('=');
    if (equals < 0) bad('a broken extended header');
    found[record.slice(0, equals)] = record.slice(equals + 1);
    at += length;
  }
  return found;
}

const paxNumber = (value: string | undefined, otherwise: number): number => {
  if (value === undefined) return otherwise;
  return /^\d+(\.\d+)?$/.test(value)
    ? Math.floor(Number(value))
    : bad(`${JSON.stringify(value.slice(0, 40))} is no number`);
};

/** All entries in order; data are views of `archive`. */
export function readTar(archive: Uint8Array): TarEntry[] {
  const bytes = Buffer.from(archive.buffer, archive.byteOffset, archive.length);
  const entries: TarEntry[] = [];
  let more: Record<string, string> = {};
  for (let at = 0; at + blockBytes <= bytes.length;) {
    const block = bytes.subarray(at, at + blockBytes);
    if (block.every((byte) => byte === 0)) break;
    checkSum(block);
    const type = String.fromCharCode(block[156]!);
    const size = paxNumber(more['size'], number(block, Field.size));
    const from = at + blockBytes;
    if (from + size > bytes.length) bad('it ends in the middle of a file');
    const data = bytes.subarray(from, from + size);
    at = from + Math.ceil(size / blockBytes) * blockBytes;
    if (type === 'x') more = { ...more, ...readPax(data) };
    else if (type === 'L') more = { ...more, path: text(data, [0, size]) };
    else if (type === 'K') more = { ...more, linkpath: text(data, [0, size]) };
    else if (type !== 'g') {
      entries.push(entryOf(block, data, more, type));
      more = {};
    }
  }
  return entries;
}

function entryOf(block: Buffer, data: Uint8Array, more: Record<string, string>, type: string): TarEntry {
  if (!Object.hasOwn(kinds, type)) bad(`it has an entry of type ${JSON.stringify(type)}`);
  const kind = kinds[type as keyof typeof kinds];
  const prefix = block.toString('latin1', 257, 262) === 'ustar' ? text(block, Field.prefix) : '';
  const name = text(block, Field.name);
  return {
    path:
      more['path'] ??
      (prefix === '' || block.toString('latin1', 257, 265) === 'ustar  \0' ? name : `${prefix}/${name}`),
    kind: kind === 'file' && (more['path'] ?? name).endsWith('/') ? 'folder' : kind,
    mode: number(block, Field.mode) & 0o7777,
    uid: paxNumber(more['uid'], number(block, Field.uid)),
    gid: paxNumber(more['gid'], number(block, Field.gid)),
    target: more['linkpath'] ?? text(block, Field.link),
    device:
      kind === 'character' || kind === 'block'
        ? [number(block, Field.major), number(block, Field.minor)]
        : [0, 0],
    data: kind === 'file' ? data : new Uint8Array(0),
  };
}
