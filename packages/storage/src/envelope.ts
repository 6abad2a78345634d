/**
 * The envelope of every object but packs (docs/CHECKPOINT_FORMAT.md, "Envelope"):
 *
 *   magic(4) version(u16) flags(u16) decoded(u32) stored(u32) salt(16)  payload(stored)  SHA-256(32) of all before
 *
 * The payload is MessagePack, LZ4-compressed when flag 0 is set, sealed with AES-256-GCM when flag 1 is set. The object's
 * name is the associated text of the seal, so that no sealed object can be put in another's place.
 */
import { hash } from 'node:crypto';
import {
  asBuffer,
  compressBlock,
  decodeState,
  decodeStateBlock,
  decompressBlock,
  encodeState,
  whyUnboundedState,
} from './codec.ts';
import { saltBytes, type CheckpointKey } from './encryption.ts';
import { StorageError } from './errors.ts';
import type { StorageHost } from './host.ts';

export const envelopeVersion = 1;
/** The version of a body that names packs of other VMs: older readers would report these packs as missing. */
export const forkVersion = 2;
export const flagLz4 = 1;
export const flagSealed = 2;
const headerBytes = 32;
const hashBytes = 32;
/** Bodies of manifests, whose page maps may be large. */
export const maxBodyBytes = 1 << 30;
const maxDecodedBytes = 16 << 20;
/** Below this, compression saves nothing worth the call. */
const compressFromBytes = 256;

export interface EnvelopeOptions {
  /** Four characters that say what it is. */
  magic: string;
  /** The object's key, for messages and as the seal's associated text. */
  name: string;
  key?: CheckpointKey | undefined;
  /** Larger ones are refused. Default 16 MiB: records are far smaller. */
  maxDecodedBytes?: number;
}

/** Encodes a value into an envelope. */
export function sealEnvelope(
  value: unknown,
  options: EnvelopeOptions & { host: StorageHost; version?: number },
): Uint8Array {
  const encoded = encodeState(value);
  return sealBytes(encoded, {
    ...options,
    check: (storedBytes) => whyUnboundedState(encoded, storedBytes),
  });
}

/** Puts bytes into an envelope. `check` may refuse them, knowing how long they are as stored. */
export function sealBytes(
  encoded: Uint8Array,
  options: EnvelopeOptions & {
    host: StorageHost;
    version?: number;
    check?: (storedBytes: number) => string | undefined;
  },
): Uint8Array {
  let flags = 0;
  let payload = encoded;
  if (encoded.length >= compressFromBytes) {
    payload = compressBlock(encoded);
    flags |= flagLz4;
  }
  const tooLarge =
    encoded.length > (options.maxDecodedBytes ?? maxDecodedBytes) ? 'it is too large' : undefined;
  const why = tooLarge ?? options.check?.(payload.length);
  if (why !== undefined)
    throw new StorageError('SNAPSHOT_INVALID', `${options.name}: this state could not be read back: ${why}`);
  const header = Buffer.alloc(headerBytes);
  if (options.key !== undefined) {
    const salt = options.host.random(saltBytes);
    header.set(salt, 16);
    payload = options.key.forObject(salt).seal(0, payload, options.name);
    flags |= flagSealed;
  }
  header.write(options.magic, 0, 'latin1');
  header.writeUInt16LE(options.version ?? envelopeVersion, 4);
  header.writeUInt16LE(flags, 6);
  header.writeUInt32LE(encoded.length, 8);
  header.writeUInt32LE(payload.length, 12);
  const covered = Buffer.concat([header, payload]);
  return Buffer.concat([covered, hash('sha256', covered, 'buffer')]);
}

/** The checksum that an envelope ends with; undefined when there are too few bytes for one. */
export function envelopeHash(bytes: Uint8Array): Uint8Array | undefined {
  return bytes.length < headerBytes + hashBytes ? undefined : bytes.slice(bytes.length - hashBytes);
}

/** Length of the envelope that begins with these bytes, or undefined when they are too few or no envelope. */
export function envelopeLength(bytes: Uint8Array, magic: string): number | undefined {
  const buffer = asBuffer(bytes);
  if (buffer.length < headerBytes || buffer.toString('latin1', 0, 4) !== magic) return undefined;
  return headerBytes + buffer.readUInt32LE(12) + hashBytes;
}

/** True when the envelope says that it is encrypted. */
export function isSealed(bytes: Uint8Array): boolean {
  return bytes.length >= headerBytes && (asBuffer(bytes).readUInt16LE(6) & flagSealed) !== 0;
}

/**
 * Decodes an envelope.
 * @throws StorageError `CHECKPOINT_DAMAGED`, `CHECKPOINT_NEWER`, `KEY_NEEDED`, `KEY_WRONG`
 */
export function openEnvelope(bytes: Uint8Array, options: EnvelopeOptions): unknown {
  return open(bytes, options, (payload, unpacked) =>
    unpacked === undefined ? decodeState(payload) : decodeStateBlock(payload, unpacked),
  );
}

/** The bytes that `sealBytes` put into an envelope. Throws as `openEnvelope` does. */
export function openBytes(bytes: Uint8Array, options: EnvelopeOptions): Uint8Array {
  return open(bytes, options, (payload, unpacked) =>
    unpacked === undefined ? payload : decompressBlock(payload, unpacked),
  );
}

/** `decode`: of a payload, and how long it is when it is unpacked; undefined when it is not packed. */
function open<T>(
  bytes: Uint8Array,
  options: EnvelopeOptions,
  decode: (payload: Uint8Array, unpacked: number | undefined) => T,
): T {
  const { name } = options;
  const damaged = (why: string, cause?: unknown): StorageError =>
    new StorageError('CHECKPOINT_DAMAGED', `${name}: ${why}`, { cause });
  const length = envelopeLength(bytes, options.magic);
  if (length === undefined) throw damaged('it is torn or not what its name says');
  const buffer = asBuffer(bytes);
  if (buffer.length !== length) throw damaged('it is torn');
  const covered = buffer.subarray(0, length - hashBytes);
  if (!hash('sha256', covered, 'buffer').equals(buffer.subarray(length - hashBytes)))
    throw damaged('its checksum does not match');
  // After the checksum, which is at the same place in every version: a flipped bit must not look like a newer format.
  const version = buffer.readUInt16LE(4);
  if (version > forkVersion)
    throw new StorageError('CHECKPOINT_NEWER', `${name}: written in format ${String(version)}`, {
      hint: 'use a newer Revenant',
    });
  const payload = unseal(buffer, options);
  try {
    const decoded = buffer.readUInt32LE(8);
    if (decoded > (options.maxDecodedBytes ?? maxDecodedBytes)) throw damaged('it is too large');
    const compressed = (buffer.readUInt16LE(6) & flagLz4) !== 0;
    return decode(payload, compressed ? decoded : undefined);
  } catch (cause) {
    throw damaged(`its contents do not decode: ${cause instanceof Error ? cause.message : ''}`, cause);
  }
}

function unseal(buffer: Buffer, { key, name }: EnvelopeOptions): Uint8Array {
  const payload = buffer.subarray(headerBytes, buffer.length - hashBytes);
  if (!isSealed(buffer)) return payload;
  if (key === undefined)
    throw new StorageError('KEY_NEEDED', `${name}: it is encrypted and no key was given`, {
      hint: 'set REVENANT_KEY or REVENANT_KEY_FILE',
    });
  const opened = key.forObject(buffer.subarray(16, 16 + saltBytes)).open(0, payload, name);
  if (opened === undefined)
    throw new StorageError('KEY_WRONG', `${name}: it does not open with this key`, {
      hint: 'it was encrypted under another key, or someone changed it',
    });
  return opened;
}
