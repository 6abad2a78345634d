/**
 * The blocks of a checkpoint file (docs/CHECKPOINT_FORMAT.md, "Single file"), without a host: the same code reads them in a browser.
 *
 *   magic(8) version(u32) reserved(u32)  { tag(4) length(u32) body }*
 *   STAT  u32 decoded length + LZ4 of the MessagePack state    exactly one, first
 *   PAGE  u32 space, u32 count, u32 indexes[count], u32 length + LZ4 of the pages; any number, ascending per space
 *   DONE  SHA-256 of every byte before this body               exactly one, last
 *
 * All integers are little-endian. Zero pages are absent, but for spaces on a base image (version 2), of which the file holds
 * what differs from the image. Invariants: a file is read whole or refused; nothing is
 * allocated from a length that was not bounded first; the checksum covers everything.
 */
import { isName } from './checkpoint/keys.ts';
import {
  compressBlock,
  decodeStateBlock,
  decompressBlock,
  encodeState,
  isRecord,
  readU32,
  whyUnboundedState,
} from './codec.ts';
import { StorageError } from './errors.ts';
import {
  checkSnapshot,
  checkSpaceShape,
  isZeroPage,
  maxSpaces,
  type MachineSnapshot,
  type SpaceShape,
  type SpaceSnapshot,
} from './snapshot.ts';

/** 2 when a space lies on a base image, which version 1 does not know; else 1. */
export const checkpointFileVersion = 2;
/** In PNG's manner: a byte above 127, a name, a line-ending pair and an end-of-file mark that a bad transfer alters. */
export const checkpointFileMagic = new Uint8Array([0x89, 0x52, 0x56, 0x43, 0x4b, 0x0d, 0x0a, 0x1a]);
const headerBytes = 16;
const hashBytes = 32;
const blockHeaderBytes = 8;
/** Decoded bytes of pages in one PAGE block. */
const pageBlockBytes = 1 << 20;
const maxBlockBytes = 64 << 20;
const maxStateBytes = 256 << 20;

/** What a file says of where its machine comes from. For people; absent in files of older programs. */
export interface CheckpointOrigin {
  /** When the checkpoint was made, by its maker's clock, in milliseconds since 1970. */
  createdAtMs?: number;
  /** The VM that it was made of. */
  vmId?: string;
  /** The checkpoint of that VM, `EPOCH-SEQUENCE`. */
  checkpoint?: string;
}

type Tag = 'STAT' | 'PAGE' | 'DONE';

/** The longest body of each block: what it may hold, and what compression adds to what it can't compress. A page needs 4 more bytes, and has 512 at least. */
const mostBytes: Readonly<Partial<Record<string, number>>> = Object.assign(Object.create(null), {
  STAT: maxStateBytes + (maxStateBytes >> 7),
  PAGE: maxBlockBytes + (maxBlockBytes >> 6),
  DONE: hashBytes,
});

/** The pieces of a file, for writers that do not have the whole machine in memory. The SHA-256 of all of them follows `done`. */
export const checkpointFileBlocks = {
  header: (): Uint8Array => fileHeader(1),
  state: (
    state: Omit<MachineSnapshot, 'spaces'>,
    spaces: readonly SpaceShape[],
    origin: CheckpointOrigin = {},
  ): Uint8Array => block('STAT', encodeStateBody(state, spaces, origin)),
  *pages(ordinal: number, space: SpaceSnapshot): Generator<Uint8Array, void> {
    for (const body of pageBodies(ordinal, space)) yield block('PAGE', body);
  },
  done: (): Uint8Array => blockHeader('DONE', hashBytes),
};

/** The first bytes of a file. Version 2: some space lies on a base image. */
export function fileHeader(version: 1 | 2): Uint8Array {
  const header = new Uint8Array(headerBytes);
  header.set(checkpointFileMagic, 0);
  writeU32(header, 8, version);
  return header;
}

/** A file's bytes, one after the other. */
export interface FileBytes {
  /** For messages. */
  name: string;
  read: (length: number) => Promise<Uint8Array>;
  /** SHA-256 of what `update` is given, in that order. */
  hash: { update(bytes: Uint8Array): unknown; digest(): Uint8Array | Promise<Uint8Array> };
  size: number;
}

/** Takes the blocks between header and checksum. What it throws means damage. */
export interface BlockTaker {
  /** @param at where the body is in the file */
  take(tag: string, body: Uint8Array, at: number): void;
  /** Called once the checksum has been found right. */
  result(): MachineSnapshot;
}

/** Reads a file to its end, and checks it. */
export async function decodeBlocks(
  { name, read, size, hash }: FileBytes,
  taker: BlockTaker,
): Promise<MachineSnapshot> {
  const damaged = (why: string, cause?: unknown): StorageError =>
    new StorageError('CHECKPOINT_FILE_DAMAGED', `${name}: damaged checkpoint: ${why}`, {
      cause,
      hint: 'restore from an intact copy',
    });
  const header = await read(headerBytes);
  checkHeader(name, header, damaged);
  hash.update(header);
  let left = size - header.length;
  for (;;) {
    const head = await read(blockHeaderBytes);
    if (head.length < blockHeaderBytes) throw damaged('it ends early');
    const tag = String.fromCharCode(...head.subarray(0, 4));
    const length = readU32(head, 4);
    left -= blockHeaderBytes + length;
    if (left < 0) throw damaged('it ends early');
    // Before its body is read: a file may claim, and a sparse one have, more than any machine.
    const most = mostBytes[tag];
    if (most === undefined) throw damaged(`unknown block ${JSON.stringify(tag)}`);
    if (length > most) throw damaged(`a block ${tag} has an impossible size`);
    hash.update(head);
    const body = await read(length);
    if (body.length < length) throw damaged('it ends early');
    if (tag === 'DONE') {
      if (left !== 0) throw damaged('bytes follow its end');
      if (!sameBytes(await hash.digest(), body)) throw damaged('its checksum does not match');
      return finish(taker, damaged);
    }
    hash.update(body);
    try {
      taker.take(tag, body, size - left - length);
    } catch (cause) {
      throw damaged(cause instanceof Error ? cause.message : 'a block does not decode', cause);
    }
  }
}

type Damaged = (why: string, cause?: unknown) => StorageError;

function checkHeader(name: string, header: Uint8Array, damaged: Damaged): void {
  if (!sameBytes(header.subarray(0, 8), checkpointFileMagic))
    throw new StorageError('CHECKPOINT_FILE_FOREIGN', `${name}: not a Revenant checkpoint file`);
  if (header.length < headerBytes) throw damaged('it ends early');
  const version = readU32(header, 8);
  if (version > checkpointFileVersion)
    throw new StorageError(
      'CHECKPOINT_FILE_NEWER',
      `${name}: checkpoint format ${String(version)} is newer than ${String(checkpointFileVersion)}, the newest this program reads`,
      { hint: 'use a newer Revenant' },
    );
  if (version === 0 || readU32(header, 12) !== 0) throw damaged('its header is inconsistent');
}

function finish(taker: BlockTaker, damaged: Damaged): MachineSnapshot {
  try {
    const snapshot = taker.result();
    checkSnapshot(snapshot);
    return snapshot;
  } catch (cause) {
    throw damaged(cause instanceof Error ? cause.message : 'its state is inconsistent', cause);
  }
}

/** A space as the file names it. */
export interface FileSpace extends SpaceShape {
  onBase?: boolean;
}

export interface SpacePieces extends FileSpace {
  pages: number;
  indexes: Uint32Array[];
  bytes: Uint8Array[];
}

/** Collects the blocks of one file. */
export class FileDecoder implements BlockTaker {
  origin: CheckpointOrigin = {};
  #state: Omit<MachineSnapshot, 'spaces'> | undefined;
  #spaces: SpacePieces[] = [];

  take(tag: string, body: Uint8Array): void {
    if (tag === 'STAT') this.#takeState(body);
    else if (tag === 'PAGE') this.#takePages(body);
    else throw new Error(`unknown block ${JSON.stringify(tag)}`);
  }

  #takeState(body: Uint8Array): void {
    if (this.#state !== undefined) throw new Error('two STAT blocks');
    const { state, spaces, origin } = decodeStateBody(body);
    this.#state = state;
    this.origin = origin;
    this.#spaces = spaces.map((shape) => ({ ...shape, pages: 0, indexes: [], bytes: [] }));
  }

  #takePages(body: Uint8Array): void {
    const { ordinal, indexes, pages } = pageBlock(body, this.#spaces);
    const space = this.#spaces[ordinal]!;
    checkOrder(space, indexes);
    space.bytes.push(decompressBlock(pages, indexes.length * space.pageSize));
    space.indexes.push(indexes);
    space.pages += indexes.length;
  }

  result(): MachineSnapshot {
    if (this.#state === undefined) throw new Error('no STAT block');
    return { ...this.#state, spaces: this.#spaces.map(joinPieces) };
  }
}

/** Throws unless pages go on ascending within their space: no file makes a reader decode more than the machine that it describes has. */
export function checkOrder(space: SpacePieces, indexes: Uint32Array): void {
  let before = space.indexes.at(-1)?.at(-1) ?? -1;
  for (const page of indexes) {
    if (page <= before || page >= space.pageCount) throw new Error('pages are out of order');
    before = page;
  }
}

/** What the body of a STAT block holds. Throws for one that no writer makes. */
export function decodeStateBody(body: Uint8Array): {
  state: Omit<MachineSnapshot, 'spaces'>;
  spaces: FileSpace[];
  origin: CheckpointOrigin;
} {
  const length = body.length >= 4 ? readU32(body, 0) : 0;
  if (length > maxStateBytes) throw new Error('its state is too large');
  return parseState(decodeStateBlock(body, length));
}

/** The body of a PAGE block: which pages of which space, and their compressed contents. Throws for one that no writer makes. */
export function pageBlock(
  body: Uint8Array,
  spaces: readonly SpaceShape[],
): { ordinal: number; indexes: Uint32Array; pages: Uint8Array } {
  const ordinal = body.length >= 8 ? readU32(body, 0) : -1;
  const space = spaces[ordinal];
  if (space === undefined) throw new Error('a page block of an unknown space');
  const count = readU32(body, 4);
  const pagesAt = 8 + count * 4;
  if (count * space.pageSize > maxBlockBytes || pagesAt > body.length)
    throw new Error('a page block has an impossible size');
  const indexes = new Uint32Array(count);
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  for (let i = 0; i < count; i++) indexes[i] = view.getUint32(8 + i * 4, true);
  return { ordinal, indexes, pages: body.subarray(pagesAt) };
}

export function joinPieces(space: SpacePieces): SpaceSnapshot {
  const { name, pageSize, pageCount, onBase } = space;
  const indexes = new Uint32Array(space.pages);
  const bytes = new Uint8Array(space.pages * pageSize);
  let at = 0;
  for (const [i, piece] of space.indexes.entries()) {
    indexes.set(piece, at);
    bytes.set(space.bytes[i]!, at * pageSize);
    at += piece.length;
  }
  return { name, pageSize, pageCount, full: true, ...(onBase === true ? { onBase } : {}), indexes, bytes };
}

function encodeStateBody(
  state: Omit<MachineSnapshot, 'spaces'>,
  shapes: readonly FileSpace[],
  origin: CheckpointOrigin,
): Uint8Array {
  const { description, cpus, devices, instructions, virtualTimeNs } = state;
  const spaces = shapes.map(({ name, pageSize, pageCount, onBase }) =>
    onBase === true ? { name, pageSize, pageCount, onBase } : { name, pageSize, pageCount },
  );
  const said = Object.keys(origin).length > 0 ? { origin } : {};
  const encoded = encodeState({ description, cpus, devices, instructions, virtualTimeNs, spaces, ...said });
  if (encoded.length > maxStateBytes)
    throw new StorageError(
      'SNAPSHOT_INVALID',
      `the device state of ${String(encoded.length)} bytes is too large`,
    );
  const block = compressBlock(encoded);
  const why = whyUnboundedState(encoded, block.length);
  if (why !== undefined)
    throw new StorageError('SNAPSHOT_INVALID', `the device state could not be read back: ${why}`);
  return block;
}

function parseState(value: unknown): {
  state: Omit<MachineSnapshot, 'spaces'>;
  spaces: FileSpace[];
  origin: CheckpointOrigin;
} {
  if (!isRecord(value)) throw new Error('its state is not a map');
  const { description, cpus, devices, spaces } = value;
  if (!Array.isArray(cpus) || !isRecord(devices) || !Array.isArray(spaces) || spaces.length > maxSpaces)
    throw new Error('its state lacks a field');
  if (!spaces.every(isRecord)) throw new Error('its state lacks a field');
  const shapes = spaces as unknown[] as FileSpace[];
  for (const shape of shapes) checkSpaceShape(shape);
  const state = {
    description,
    cpus: cpus as unknown[],
    devices: devices as MachineSnapshot['devices'],
    instructions: count(value['instructions']),
    virtualTimeNs: count(value['virtualTimeNs']),
  };
  return { state, spaces: shapes, origin: parseOrigin(value['origin']) };
}

/** Fields that this program does not understand are left out: they are only shown to people. */
function parseOrigin(value: unknown): CheckpointOrigin {
  if (!isRecord(value)) return {};
  const { createdAtMs, vmId, checkpoint } = value;
  return {
    ...(Number.isSafeInteger(createdAtMs) ? { createdAtMs: Number(createdAtMs) } : {}),
    ...(typeof vmId === 'string' && isName(vmId) ? { vmId } : {}),
    ...(typeof checkpoint === 'string' && /^\d{1,10}-\d{1,10}$/.test(checkpoint) ? { checkpoint } : {}),
  };
}

function count(value: unknown): bigint {
  if (typeof value !== 'bigint' && !Number.isSafeInteger(value))
    throw new Error('a count of its state is none');
  return BigInt(value as bigint | number);
}

function* pageBodies(ordinal: number, space: SpaceSnapshot): Generator<Uint8Array, void> {
  const { pageSize } = space;
  const page = (i: number): Uint8Array => space.bytes.subarray(i * pageSize, (i + 1) * pageSize);
  const perBlock = Math.max(1, pageBlockBytes / pageSize);
  let chosen: number[] = [];
  const flush = (): Uint8Array => {
    const head = new Uint8Array(8 + chosen.length * 4);
    writeU32(head, 0, ordinal);
    writeU32(head, 4, chosen.length);
    const raw = new Uint8Array(chosen.length * pageSize);
    for (const [slot, i] of chosen.entries()) {
      writeU32(head, 8 + slot * 4, space.indexes[i]!);
      raw.set(page(i), slot * pageSize);
    }
    chosen = [];
    return joined(head, compressBlock(raw));
  };
  for (let i = 0; i < space.indexes.length; i++) {
    if (space.onBase !== true && isZeroPage(page(i))) continue;
    chosen.push(i);
    if (chosen.length === perBlock) yield flush();
  }
  if (chosen.length > 0) yield flush();
}

function blockHeader(tag: Tag, length: number): Uint8Array {
  const head = new Uint8Array(blockHeaderBytes);
  head.set(Array.from(tag, (letter) => letter.charCodeAt(0)));
  writeU32(head, 4, length);
  return head;
}

function block(tag: Tag, body: Uint8Array): Uint8Array {
  return joined(blockHeader(tag, body.length), body);
}

function writeU32(bytes: Uint8Array, at: number, value: number): void {
  new DataView(bytes.buffer, bytes.byteOffset, bytes.length).setUint32(at, value, true);
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const whole = new Uint8Array(a.length + b.length);
  whole.set(a);
  whole.set(b, a.length);
  return whole;
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
