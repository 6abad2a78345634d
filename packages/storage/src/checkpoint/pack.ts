// Packs: immutable objects of 1-4 MiB that hold pages (docs/CHECKPOINT_FORMAT.md, "Pack").
//
//   header(48): magic "RVPK", version u16, flags u16, page size u32, pages u32, index bytes u32, data bytes u32, 0 u64, salt(16)
//   index: per page { SHA-256(32), offset u32, length u32 (bit 31: stored raw) }, sealed when flag 1 is set
//   SHA-256(32) of header and index: the head's hash, which manifests repeat
//   data: the stored pages, each sealed by itself when flag 1 is set, so that a range can be read alone
//
// The manifest vouches for the head, the head for each page: nothing is believed that was not named from above.
import { hash } from 'node:crypto';
import { asBuffer, isRecord } from '../codec.ts';
import { SALT_BYTES, type CheckpointKey, type ObjectKey } from '../encryption.ts';
import { StorageError } from '../errors.ts';
import type { StorageHost } from '../host.ts';
import { MAX_PAGE_SIZE, MIN_PAGE_SIZE } from '../snapshot.ts';
import { isName } from './keys.ts';
import { PAGE_HASH_BYTES, STORED_RAW } from './page-codec.ts';

export const PACK_VERSION = 1;
const MAGIC = 'RVPK';
const HEADER_BYTES = 48;
const ENTRY_BYTES = 40;
const HASH_BYTES = 32;
const FLAG_SEALED = 2;
/** The piece number of the sealed index; pages use their slots. */
const INDEX_PIECE = 0xffff_ffff;
/** A pack is closed when its data reaches this. */
export const PACK_TARGET_BYTES = 2 << 20;
/** And at this many pages, so that the index stays small beside well compressed data. */
export const PACK_MAX_PAGES = 4096;

/** How a manifest names a pack. */
export interface PackRef {
  name: string;
  /** The VM whose pack it is: of a fork, one of those that it comes from. Absent: the manifest's own. */
  vm?: string;
  /** Size of the object. */
  bytes: number;
  /** Size of header, index and hash. */
  headBytes: number;
  headHash: Uint8Array;
  pages: number;
  pageSize: number;
}

/** More pages than any writer puts into one pack, with room for writers other than ours. */
const MAX_PAGES_READ = 65536;
/** A page more than a pack is closed at, and the head. */
const MAX_PACK_BYTES = 64 << 20;
const PACK_NAME = /^[A-Za-z0-9_=-][A-Za-z0-9._=-]{0,127}$/;

/** Whether a manifest's word about a pack is one that can be true; nothing is fetched or allocated by any other. */
export function isPackRef(value: unknown): value is PackRef {
  if (!isRecord(value)) return false;
  const { name, vm, bytes, headBytes, headHash, pages, pageSize } = value;
  const within = (count: unknown, low: number, high: number): boolean =>
    Number.isInteger(count) && Number(count) >= low && Number(count) <= high;
  return (
    typeof name === 'string' &&
    PACK_NAME.test(name) &&
    (vm === undefined || (typeof vm === 'string' && isName(vm))) &&
    within(bytes, HEADER_BYTES + HASH_BYTES, MAX_PACK_BYTES) &&
    within(headBytes, HEADER_BYTES + HASH_BYTES, Number(bytes)) &&
    headHash instanceof Uint8Array &&
    headHash.length === HASH_BYTES &&
    within(pages, 0, MAX_PAGES_READ) &&
    within(pageSize, MIN_PAGE_SIZE, MAX_PAGE_SIZE) &&
    (Number(pageSize) & (Number(pageSize) - 1)) === 0
  );
}

/** Its name among all packs that a VM's manifests can name: with the VM before it when that is another one. */
export const packPath = ({ vm, name }: Pick<PackRef, 'vm' | 'name'>): string =>
  vm === undefined ? name : `${vm}/${name}`;

/** Collects stored pages into one pack. */
export class PackBuilder {
  readonly pageSize: number;
  readonly #hashes: Uint8Array[] = [];
  readonly #lengths: number[] = [];
  readonly #pages: Uint8Array[] = [];
  #dataBytes = 0;

  constructor(pageSize: number) {
    this.pageSize = pageSize;
  }

  get pages(): number {
    return this.#lengths.length;
  }

  get full(): boolean {
    return this.#dataBytes >= PACK_TARGET_BYTES || this.pages >= PACK_MAX_PAGES;
  }

  /** Adds a stored page; returns its slot. */
  add(pageHash: Uint8Array, length: number, stored: Uint8Array): number {
    this.#hashes.push(pageHash);
    this.#lengths.push(length);
    this.#pages.push(stored);
    this.#dataBytes += stored.length;
    return this.#lengths.length - 1;
  }

  /** The finished object. `name` is its full key. */
  build(
    name: string,
    options: { host: StorageHost; key?: CheckpointKey | undefined },
  ): { ref: Omit<PackRef, 'name'>; body: Uint8Array } {
    const salt = options.key === undefined ? new Uint8Array(SALT_BYTES) : options.host.random(SALT_BYTES);
    const key = options.key?.forObject(salt);
    const pages =
      key === undefined ? this.#pages : this.#pages.map((page, slot) => key.seal(slot, page, name));
    let index: Uint8Array = this.#index(pages);
    if (key !== undefined) index = key.seal(INDEX_PIECE, index, name);
    const dataBytes = pages.reduce((sum, page) => sum + page.length, 0);
    const header = Buffer.alloc(HEADER_BYTES);
    header.write(MAGIC, 0, 'latin1');
    header.writeUInt16LE(PACK_VERSION, 4);
    header.writeUInt16LE(key === undefined ? 0 : FLAG_SEALED, 6);
    header.writeUInt32LE(this.pageSize, 8);
    header.writeUInt32LE(this.pages, 12);
    header.writeUInt32LE(index.length, 16);
    header.writeUInt32LE(dataBytes, 20);
    header.set(salt, 32);
    const head = Buffer.concat([header, index]);
    const headHash = hash('sha256', head, 'buffer');
    const body = Buffer.concat([head, headHash, ...pages]);
    const headBytes = head.length + HASH_BYTES;
    const ref = { bytes: body.length, headBytes, headHash: new Uint8Array(headHash), pages: this.pages };
    return { ref: { ...ref, pageSize: this.pageSize }, body };
  }

  #index(pages: Uint8Array[]): Uint8Array {
    const index = Buffer.alloc(pages.length * ENTRY_BYTES);
    let offset = 0;
    for (const [slot, page] of pages.entries()) {
      index.set(this.#hashes[slot]!, slot * ENTRY_BYTES);
      index.writeUInt32LE(offset, slot * ENTRY_BYTES + 32);
      const raw = this.#lengths[slot]! & STORED_RAW;
      index.writeUInt32LE((page.length | raw) >>> 0, slot * ENTRY_BYTES + 36);
      offset += page.length;
    }
    return index;
  }
}

/** The head of a pack, checked. */
export interface PackHead {
  ref: PackRef;
  /** Per page 32 bytes. */
  hashes: Uint8Array;
  /** Per page, from the beginning of the object. */
  offsets: Uint32Array;
  /** Per page, as stored (sealed or not), with STORED_RAW. */
  lengths: Uint32Array;
  key: ObjectKey | undefined;
}

/**
 * Parses the head of a pack and checks it against the manifest's word.
 * @param bytes at least `ref.headBytes` bytes from the beginning of the object.
 * @throws StorageError `CHECKPOINT_DAMAGED`, `CHECKPOINT_NEWER`, `KEY_NEEDED`, `KEY_WRONG`
 */
export function parsePackHead(
  name: string,
  ref: PackRef,
  bytes: Uint8Array,
  masterKey: CheckpointKey | undefined,
): PackHead {
  const damaged = (why: string): StorageError => new StorageError('CHECKPOINT_DAMAGED', `${name}: ${why}`);
  if (bytes.length < ref.headBytes || ref.headBytes < HEADER_BYTES + HASH_BYTES)
    throw damaged('the pack is torn');
  const head = asBuffer(bytes).subarray(0, ref.headBytes - HASH_BYTES);
  if (!hash('sha256', head, 'buffer').equals(ref.headHash))
    throw damaged('the checksum of the pack does not match');
  if (head.toString('latin1', 0, 4) !== MAGIC) throw damaged('it is no pack');
  if (head.readUInt16LE(4) > PACK_VERSION)
    throw new StorageError('CHECKPOINT_NEWER', `${name}: written in format ${String(head.readUInt16LE(4))}`, {
      hint: 'use a newer Revenant',
    });
  const sealed = (head.readUInt16LE(6) & FLAG_SEALED) !== 0;
  if (sealed && masterKey === undefined)
    throw new StorageError('KEY_NEEDED', `${name}: it is encrypted and no key was given`, {
      hint: 'set REVENANT_KEY or REVENANT_KEY_FILE',
    });
  const key = sealed ? masterKey?.forObject(head.subarray(32, 32 + SALT_BYTES)) : undefined;
  const stored = head.subarray(HEADER_BYTES);
  const index = key === undefined ? stored : key.open(INDEX_PIECE, stored, name);
  if (index === undefined)
    throw new StorageError('KEY_WRONG', `${name}: it does not open with this key`, {
      hint: 'it was encrypted under another key',
    });
  if (index.length !== head.readUInt32LE(12) * ENTRY_BYTES) throw damaged('its index has a wrong length');
  const parsed = parseIndex(index, ref);
  if (parsed === undefined) throw damaged('its index is inconsistent');
  return { ref, key, ...parsed };
}

/** Undefined unless its pages lie one after another in the data: two slots that name the same bytes would multiply the work. */
function parseIndex(
  index: Uint8Array,
  ref: PackRef,
): Pick<PackHead, 'hashes' | 'offsets' | 'lengths'> | undefined {
  const count = index.length / ENTRY_BYTES;
  const view = asBuffer(index);
  const hashes = new Uint8Array(count * PAGE_HASH_BYTES);
  const offsets = new Uint32Array(count);
  const lengths = new Uint32Array(count);
  let end = ref.headBytes;
  for (let slot = 0; slot < count; slot++) {
    const at = slot * ENTRY_BYTES;
    hashes.set(view.subarray(at, at + PAGE_HASH_BYTES), slot * PAGE_HASH_BYTES);
    offsets[slot] = ref.headBytes + view.readUInt32LE(at + 32);
    lengths[slot] = view.readUInt32LE(at + 36);
    if (offsets[slot]! < end) return undefined;
    end = offsets[slot]! + (lengths[slot]! & ~STORED_RAW);
    if (end > ref.bytes) return undefined;
  }
  return { hashes, offsets, lengths };
}

/** The 32-byte hash of the page in a slot. */
export function slotHash(head: PackHead, slot: number): Uint8Array {
  return head.hashes.subarray(slot * PAGE_HASH_BYTES, (slot + 1) * PAGE_HASH_BYTES);
}
