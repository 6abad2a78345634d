/**
 * Packs: immutable objects of about 2 MiB that hold pages (docs/CHECKPOINT_FORMAT.md, "Pack").
 *
 *   header(48): magic "RVPK", version u16, flags u16, page size u32, pages u32, index bytes u32, data bytes u32, 0 u64, salt(16)
 *   index: per page { SHA-256(32), offset u32, length u32 (bit 31: stored raw) }, sealed when flag 2 is set
 *   SHA-256(32) of header and index: the head's hash, which manifests repeat
 *   data: the stored pages, each sealed by itself when flag 2 is set, so that a range can be read alone
 *
 * The manifest vouches for the head, the head for each page: nothing is believed that was not named from above.
 */
import { hash } from 'node:crypto';
import { asBuffer, isRecord } from '../codec.ts';
import { saltBytes, type CheckpointKey, type ObjectKey } from '../encryption.ts';
import { StorageError } from '../errors.ts';
import type { StorageHost } from '../host.ts';
import { insist } from '../insist.ts';
import { maxPageSize, minPageSize } from '../snapshot.ts';
import { isName } from './keys.ts';
import { pageHashBytes, storedRaw } from './page-codec.ts';

export const packVersion = 1;
const magic = 'RVPK';
const headerBytes = 48;
const entryBytes = 40;
const hashBytes = 32;
const flagSealed = 2;
/** The piece number of the sealed index; pages use their slots. */
const indexPiece = 0xffff_ffff;
/** A pack is closed when its data reaches this. */
export const packTargetBytes = 2 << 20;
/** And at this many pages, so that the index stays small beside well compressed data. */
export const packMaxPages = 4096;

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
const maxPagesRead = 65536;
/** A page more than a pack is closed at, and the head. */
const maxPackBytes = 64 << 20;
const packName = /^[A-Za-z0-9_=-][A-Za-z0-9._=-]{0,127}$/;

/** Whether a manifest's word about a pack is one that can be true; nothing is fetched or allocated by any other. */
export function isPackRef(value: unknown): value is PackRef {
  if (!isRecord(value)) return false;
  const { name, vm, bytes, headBytes, headHash, pages, pageSize } = value;
  const within = (count: unknown, low: number, high: number): boolean =>
    Number.isInteger(count) && Number(count) >= low && Number(count) <= high;
  return (
    typeof name === 'string' &&
    packName.test(name) &&
    (vm === undefined || (typeof vm === 'string' && isName(vm))) &&
    within(bytes, headerBytes + hashBytes, maxPackBytes) &&
    within(headBytes, headerBytes + hashBytes, Number(bytes)) &&
    headHash instanceof Uint8Array &&
    headHash.length === hashBytes &&
    within(pages, 0, maxPagesRead) &&
    within(pageSize, minPageSize, maxPageSize) &&
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
    return this.#dataBytes >= packTargetBytes || this.pages >= packMaxPages;
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
    const salt = options.key === undefined ? new Uint8Array(saltBytes) : options.host.random(saltBytes);
    const key = options.key?.forObject(salt);
    const pages =
      key === undefined ? this.#pages : this.#pages.map((page, slot) => key.seal(slot, page, name));
    let index: Uint8Array = this.#index(pages);
    if (key !== undefined) index = key.seal(indexPiece, index, name);
    const dataBytes = pages.reduce((sum, page) => sum + page.length, 0);
    const header = Buffer.alloc(headerBytes);
    header.write(magic, 0, 'latin1');
    header.writeUInt16LE(packVersion, 4);
    header.writeUInt16LE(key === undefined ? 0 : flagSealed, 6);
    header.writeUInt32LE(this.pageSize, 8);
    header.writeUInt32LE(this.pages, 12);
    header.writeUInt32LE(index.length, 16);
    header.writeUInt32LE(dataBytes, 20);
    header.set(salt, 32);
    const head = Buffer.concat([header, index]);
    const headHash = hash('sha256', head, 'buffer');
    const body = Buffer.concat([head, headHash, ...pages]);
    const headBytes = head.length + hashBytes;
    const ref = { bytes: body.length, headBytes, headHash: new Uint8Array(headHash), pages: this.pages };
    const whole = { ...ref, pageSize: this.pageSize };
    // Who reads takes no other word about a pack, and no pack but the one that it tells of.
    insist(isPackRef({ name: 'pack', ...whole }), `${name} is no pack that could be read`);
    insist(body.length === headBytes + dataBytes, `${name} is as long as its parts`);
    return { ref: whole, body };
  }

  #index(pages: Uint8Array[]): Uint8Array {
    const index = Buffer.alloc(pages.length * entryBytes);
    let offset = 0;
    for (const [slot, page] of pages.entries()) {
      index.set(this.#hashes[slot]!, slot * entryBytes);
      index.writeUInt32LE(offset, slot * entryBytes + 32);
      const raw = this.#lengths[slot]! & storedRaw;
      index.writeUInt32LE((page.length | raw) >>> 0, slot * entryBytes + 36);
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
  /** Per page, as stored (sealed or not), with storedRaw. */
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
  if (bytes.length < ref.headBytes || ref.headBytes < headerBytes + hashBytes)
    throw damaged('the pack is torn');
  const head = asBuffer(bytes).subarray(0, ref.headBytes - hashBytes);
  if (!hash('sha256', head, 'buffer').equals(ref.headHash))
    throw damaged('the checksum of the pack does not match');
  if (head.toString('latin1', 0, 4) !== magic) throw damaged('it is no pack');
  if (head.readUInt16LE(4) > packVersion)
    throw new StorageError('CHECKPOINT_NEWER', `${name}: written in format ${String(head.readUInt16LE(4))}`, {
      hint: 'use a newer Revenant',
    });
  const sealed = (head.readUInt16LE(6) & flagSealed) !== 0;
  if (sealed && masterKey === undefined)
    throw new StorageError('KEY_NEEDED', `${name}: it is encrypted and no key was given`, {
      hint: 'set REVENANT_KEY or REVENANT_KEY_FILE',
    });
  const key = sealed ? masterKey?.forObject(head.subarray(32, 32 + saltBytes)) : undefined;
  const stored = head.subarray(headerBytes);
  const index = key === undefined ? stored : key.open(indexPiece, stored, name);
  if (index === undefined)
    throw new StorageError('KEY_WRONG', `${name}: it does not open with this key`, {
      hint: 'it was encrypted under another key',
    });
  if (index.length !== head.readUInt32LE(12) * entryBytes) throw damaged('its index has a wrong length');
  const parsed = parseIndex(index, ref);
  if (parsed === undefined) throw damaged('its index is inconsistent');
  return { ref, key, ...parsed };
}

/** Undefined unless its pages lie one after another in the data: two slots that name the same bytes would multiply the work. */
function parseIndex(
  index: Uint8Array,
  ref: PackRef,
): Pick<PackHead, 'hashes' | 'offsets' | 'lengths'> | undefined {
  const count = index.length / entryBytes;
  const view = asBuffer(index);
  const hashes = new Uint8Array(count * pageHashBytes);
  const offsets = new Uint32Array(count);
  const lengths = new Uint32Array(count);
  let end = ref.headBytes;
  for (let slot = 0; slot < count; slot++) {
    const at = slot * entryBytes;
    hashes.set(view.subarray(at, at + pageHashBytes), slot * pageHashBytes);
    offsets[slot] = ref.headBytes + view.readUInt32LE(at + 32);
    lengths[slot] = view.readUInt32LE(at + 36);
    if (offsets[slot]! < end) return undefined;
    end = offsets[slot]! + (lengths[slot]! & ~storedRaw);
    if (end > ref.bytes) return undefined;
  }
  return { hashes, offsets, lengths };
}

/** The 32-byte hash of the page in a slot. */
export function slotHash(head: PackHead, slot: number): Uint8Array {
  return head.hashes.subarray(slot * pageHashBytes, (slot + 1) * pageHashBytes);
}
