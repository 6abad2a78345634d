/**
 * Files of a `file:` store: their names, headers and bodies, and what the file system's errors mean (docs/CHECKPOINT_FORMAT.md,
 * "Directory stores").
 */
import type { Dirent, Stats } from 'node:fs';
import { join } from 'node:path';
import { StoreError, type StoreErrorCode, type StoreOutcome } from '../errors.ts';
import type { FileSystem, OpenFile } from './file-system.ts';
import type { ObjectVersion } from './object-store.ts';

const magic = 0x424f5652; // "RVOB"
export const headerBytes = 48;
export const nonceBytes = 16;
export const temporaryFolder = '.tmp';
/** Files that only take room: on a full disk one of them makes way for a record, so that leases and collection go on. */
export const reserve = '.reserve';

export interface Header {
  length: number;
  nonce: Buffer;
  predecessor: Buffer;
}

/** Object names, and folder names with a slash, in the byte order of the keys that they stand for; and if versioned. */
export function keysIn(entries: Dirent[]): [string, boolean][] {
  const names = new Map<string, boolean>();
  for (const entry of entries) {
    const { name } = entry;
    // No part of a key begins with a dot: ours (temporaryFolder), and what NFS leaves of a file that is removed while it is open.
    if (name.startsWith('.') || name === temporaryFolder || name === reserve) continue;
    if (name.endsWith('~v')) names.set(name.slice(0, -2), true);
    else if (name.endsWith('~')) names.set(name.slice(0, -1), names.get(name.slice(0, -1)) ?? false);
    else if (!entry.isFile()) names.set(`${name}/`, false);
  }
  return [...names].sort(([a], [b]) => (a < b ? -1 : 1));
}

export function versionOf(slot: number, nonce: Buffer): ObjectVersion {
  return `${String(slot)}.${nonce.toString('hex')}`;
}

export function slotPath(path: string, slot: number): string {
  return slot === 1 ? `${path}~` : join(`${path}~v`, `v${String(slot).padStart(6, '0')}`);
}

/** Slot numbers in a version folder, ascending; none when there is no such folder. */
export async function slotsOf(files: FileSystem, folder: string): Promise<number[]> {
  const names = await entriesOf(files, folder);
  return names
    .map((entry) => Number(/^v(\d+)$/.exec(entry.name)?.[1] ?? 0))
    .filter((slot) => slot > 0)
    .sort((a, b) => a - b);
}

export async function entriesOf(files: FileSystem, folder: string): Promise<Dirent[]> {
  try {
    return await files.readdir(folder);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  }
}

export function encode(body: Uint8Array, nonce: Buffer, predecessor: Buffer): Uint8Array {
  const bytes = Buffer.allocUnsafe(headerBytes + body.length);
  bytes.fill(0, 0, headerBytes);
  bytes.writeUInt32LE(magic, 0);
  bytes.writeUInt32LE(1, 4);
  bytes.writeUInt32LE(body.length, 8);
  nonce.copy(bytes, 16);
  predecessor.copy(bytes, 32);
  bytes.set(body, headerBytes);
  return bytes;
}

export async function readObject(
  files: FileSystem,
  key: string,
  path: string,
  start: number,
  length: number,
): Promise<{ bytes: Uint8Array; header: Header } | undefined> {
  let file: OpenFile;
  try {
    file = await files.open(path, 'r');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const header = parseHeader(key, await readAt(file, 0, headerBytes));
    // Before it is believed: it decides how much is read.
    if (header.length !== (await file.stat()).size - headerBytes) throw torn(key);
    const wanted = Math.max(0, Math.min(length, header.length - start));
    const bytes = await readAt(file, headerBytes + start, wanted);
    if (bytes.length < wanted) throw torn(key);
    return { bytes, header };
  } finally {
    await file.close();
  }
}

async function readAt(file: OpenFile, position: number, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(length);
  let at = 0;
  while (at < length) {
    const { bytesRead } = await file.read(bytes, at, length - at, position + at);
    if (bytesRead === 0) break;
    at += bytesRead;
  }
  return bytes.subarray(0, at);
}

function parseHeader(key: string, bytes: Buffer): Header {
  if (bytes.length < headerBytes || bytes.readUInt32LE(0) !== magic) throw torn(key);
  return {
    length: bytes.readUInt32LE(8),
    nonce: bytes.subarray(16, 32),
    predecessor: bytes.subarray(32, 48),
  };
}

export async function sizeOf(files: FileSystem, path: string): Promise<number | undefined> {
  const found = await statOrNone(files, path);
  return found && Math.max(0, found.size - headerBytes);
}

export async function statOrNone(files: FileSystem, path: string): Promise<Stats | undefined> {
  try {
    return await files.lstat(path);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

export async function isWritable(files: FileSystem, path: string): Promise<boolean> {
  try {
    await files.writable(path);
    return true;
  } catch {
    return false;
  }
}

function torn(key: string): StoreError {
  return new StoreError('DAMAGED', `${key}: the stored object is torn`, { retryable: false });
}

export function lostTrack(key: string): StoreError {
  return new StoreError('UNAVAILABLE', `${key}: cannot tell whether the swap held`, { outcome: 'unknown' });
}

export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}

const storeCodes: Record<string, StoreErrorCode> = {
  ENOSPC: 'FULL',
  EDQUOT: 'FULL',
  EFBIG: 'FULL',
  EACCES: 'ACCESS_DENIED',
  EPERM: 'ACCESS_DENIED',
  EROFS: 'ACCESS_DENIED',
  ETIMEDOUT: 'TIMEOUT',
  EIO: 'UNAVAILABLE',
  ESTALE: 'UNAVAILABLE',
  EMFILE: 'UNAVAILABLE',
  ENFILE: 'UNAVAILABLE',
  EAGAIN: 'UNAVAILABLE',
};

const hints: Partial<Record<StoreErrorCode, string>> = {
  ACCESS_DENIED:
    'who runs this must be allowed to read and write there: check owner and mode, and that it is not mounted read-only',
  FULL: 'free some space there',
};

export function storeError(key: string, error: unknown, outcome: StoreOutcome): StoreError {
  if (error instanceof StoreError) return error;
  const code = storeCodes[codeOf(error) ?? ''] ?? 'FAILED';
  const reason = error instanceof Error ? error.message : String(error);
  const hint = hints[code];
  return new StoreError(code, `${key}: ${reason}`, { outcome, cause: error, ...(hint && { hint }) });
}

export async function guard<T>(key: string, outcome: StoreOutcome, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw storeError(key, error, outcome);
  }
}
