/**
 * Encryption at rest: AES-256-GCM (NIST SP 800-38D). Each object has a key of its own, derived from the master key and
 * the object's random salt (HKDF-SHA256, RFC 5869), so that counters serve as nonces and none is ever used twice.
 */
import { createCipheriv, createDecipheriv, hkdfSync } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { StorageError } from './errors.ts';

export const saltBytes = 16;
export const tagBytes = 16;
const keyBytes = 32;
const info = 'revenant checkpoint v1';

/** A master key: 32 bytes that only the owners of the guests know. */
export class CheckpointKey {
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    if (bytes.length !== keyBytes)
      throw new StorageError('BAD_ARGUMENT', `an encryption key has ${String(bytes.length)} bytes, not 32`, {
        hint: 'make one with: openssl rand -hex 32',
      });
    this.#bytes = new Uint8Array(bytes);
  }

  /** Tells whether two nodes have the same key, and nothing else about it. */
  get id(): string {
    return Buffer.from(hkdfSync('sha256', this.#bytes, new Uint8Array(0), `${info} id`, 8)).toString('hex');
  }

  /** The key of one object. */
  forObject(salt: Uint8Array): ObjectKey {
    return new ObjectKey(new Uint8Array(hkdfSync('sha256', this.#bytes, salt, info, keyBytes)));
  }
}

/** Parses 64 hexadecimal digits or base64 of 32 bytes. */
export function parseKey(text: string): CheckpointKey {
  const trimmed = text.trim();
  const hex = /^[0-9a-fA-F]{64}$/.test(trimmed);
  return new CheckpointKey(Buffer.from(trimmed, hex ? 'hex' : 'base64'));
}

/** The key from `REVENANT_KEY` or the file named by `REVENANT_KEY_FILE`; undefined when neither is set. */
export async function keyFromEnvironment(
  environment: Record<string, string | undefined> = process.env,
): Promise<CheckpointKey | undefined> {
  const text = environment['REVENANT_KEY'];
  if (text !== undefined && text !== '') return parseKey(text);
  const path = environment['REVENANT_KEY_FILE'];
  if (path === undefined || path === '') return undefined;
  return parseKey(await readFile(path, 'utf8'));
}

/** Seals and opens the numbered pieces of one object. */
export class ObjectKey {
  readonly #key: Uint8Array;

  constructor(key: Uint8Array) {
    this.#key = key;
  }

  /** Ciphertext followed by the tag. `piece` is the nonce: use each number once per object. */
  seal(piece: number, plain: Uint8Array, associated: string): Uint8Array {
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonceOf(piece));
    cipher.setAAD(Buffer.from(associated));
    const body = cipher.update(plain);
    return Buffer.concat([body, cipher.final(), cipher.getAuthTag()]);
  }

  /** Undoes `seal`; undefined when key, piece, associated text or bytes are not what was sealed. */
  open(piece: number, sealed: Uint8Array, associated: string): Uint8Array | undefined {
    if (sealed.length < tagBytes) return undefined;
    const at = sealed.length - tagBytes;
    const decipher = createDecipheriv('aes-256-gcm', this.#key, nonceOf(piece), { authTagLength: tagBytes });
    decipher.setAAD(Buffer.from(associated));
    decipher.setAuthTag(sealed.subarray(at));
    const body = decipher.update(sealed.subarray(0, at));
    try {
      return Buffer.concat([body, decipher.final()]);
    } catch {
      return undefined;
    }
  }
}

/** 96-bit nonce: the piece's number, little-endian. */
function nonceOf(piece: number): Uint8Array {
  const nonce = Buffer.alloc(12);
  nonce.writeUInt32LE(piece, 0);
  return nonce;
}
