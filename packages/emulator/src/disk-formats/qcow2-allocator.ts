/**
 * Clusters of a qcow2 image and their refcounts: QEMU's "Qcow2 Image File Format" (docs/interop/qcow2), "Host cluster management". New clusters come
 * at the end of the file. A cluster is counted before anything names it, so that a file whose writer was killed has lost room at most.
 */
import { damaged, unsupported } from './errors.ts';
import type { ImageFile, Qcow2Header } from './qcow2-header.ts';

const maxTableBytes = 32 * 2 ** 20;
const autoclearAt = 88;
const tableAt = 48;

export class Qcow2Allocator {
  readonly #file: ImageFile;
  readonly #header: Qcow2Header;
  readonly #write: (offset: number, data: Uint8Array) => void;
  #table: BigUint64Array;
  #tableOffset: number;
  /** End of the file, in whole clusters. */
  #end: number;
  /** The refcount block that was used last. */
  #block: { offset: number; bytes: Uint8Array } | undefined;

  constructor(file: ImageFile, header: Qcow2Header) {
    const { write } = file;
    if (write === undefined) throw new TypeError('the image was opened for reading');
    this.#write = write.bind(file);
    this.#file = file;
    this.#header = header;
    this.#tableOffset = header.refcountTableOffset;
    const raw = new Uint8Array(header.refcountTableClusters * header.clusterBytes);
    file.read(this.#tableOffset, raw);
    const view = new DataView(raw.buffer);
    this.#table = BigUint64Array.from({ length: raw.length / 8 }, (_, n) => view.getBigUint64(n * 8));
    this.#end = Math.ceil(file.bytes / header.clusterBytes) * header.clusterBytes;
    // What others keep about the contents (bitmaps) is stale from now on, which these bits say.
    if (header.version >= 3) this.write(autoclearAt, new Uint8Array(8));
  }

  write(offset: number, data: Uint8Array): void {
    this.#write(offset, data);
  }

  /** Neighbouring clusters at the end of the file, each counted once. Returns the offset of the first. */
  allocate(count: number): number {
    const { clusterBytes } = this.#header;
    const at = this.#end;
    this.#end += count * clusterBytes;
    for (let n = 0; n < count; n++) this.#setCount(at + n * clusterBytes, 1);
    return at;
  }

  /** One name less for the cluster that holds this place. Where nobody counted it, the image is damaged. */
  release(at: number): void {
    const before = this.#count(at);
    if (before === 0) throw damaged('a cluster that is in use is not counted');
    this.#setCount(at, before - 1);
  }

  get #perBlock(): number {
    return (this.#header.clusterBytes * 8) / this.#header.refcountBits;
  }

  #load(offset: number): Uint8Array {
    const { clusterBytes } = this.#header;
    if (this.#block?.offset === offset) return this.#block.bytes;
    if (offset % clusterBytes !== 0 || offset >= this.#end)
      throw damaged('a refcount block lies outside of the file');
    const bytes = new Uint8Array(clusterBytes);
    this.#file.read(offset, bytes);
    this.#block = { offset, bytes };
    return bytes;
  }

  #place(at: number): { index: number; within: number } {
    const cluster = Math.floor(at / this.#header.clusterBytes);
    return { index: Math.floor(cluster / this.#perBlock), within: cluster % this.#perBlock };
  }

  #count(at: number): number {
    const { index, within } = this.#place(at);
    const offset = Number((this.#table[index] ?? 0n) & 0xffff_ffff_ffff_fe00n);
    return offset === 0 ? 0 : readCount(this.#load(offset), within, this.#header.refcountBits);
  }

  #setCount(at: number, count: number): void {
    const { index, within } = this.#place(at);
    const offset = this.#blockFor(index);
    const bytes = this.#load(offset);
    const { refcountBits } = this.#header;
    if (refcountBits < 32 && count >= 2 ** refcountBits)
      throw unsupported('a cluster has too many snapshots', 'delete some of them');
    writeCount(bytes, within, refcountBits, count);
    const first = Math.floor((within * refcountBits) / 8);
    this.write(offset + first, bytes.slice(first, first + Math.max(1, refcountBits / 8)));
  }

  /** The refcount block of this number, made if it is not there: it counts itself, or its neighbour does. */
  #blockFor(index: number): number {
    if (index >= this.#table.length) this.#growTable(index);
    const known = Number((this.#table[index] ?? 0n) & 0xffff_ffff_ffff_fe00n);
    if (known !== 0) return known;
    const { clusterBytes } = this.#header;
    const offset = this.#end;
    this.#end += clusterBytes;
    const bytes = new Uint8Array(clusterBytes);
    this.write(offset, bytes);
    this.#block = { offset, bytes };
    this.#table[index] = BigInt(offset);
    this.#writeTable(index, 1);
    this.#setCount(offset, 1);
    return offset;
  }

  #writeTable(first: number, count: number): void {
    const raw = new Uint8Array(count * 8);
    const view = new DataView(raw.buffer);
    for (let n = 0; n < count; n++) view.setBigUint64(n * 8, this.#table[first + n] ?? 0n);
    this.write(this.#tableOffset + first * 8, raw);
  }

  /** A table of twice the size (or what `index` needs) elsewhere; the old one's clusters are free then. */
  #growTable(index: number): void {
    const { clusterBytes } = this.#header;
    const clusters = Math.ceil((Math.max(index + 1, this.#table.length * 2) * 8) / clusterBytes);
    if (clusters * clusterBytes > maxTableBytes)
      throw unsupported('the image can not grow any more', 'qemu-img convert it to one with larger clusters');
    const old = { offset: this.#tableOffset, bytes: this.#table.length * 8 };
    const grown = new BigUint64Array((clusters * clusterBytes) / 8);
    grown.set(this.#table);
    this.#table = grown;
    this.#tableOffset = this.#end;
    this.#end += clusters * clusterBytes;
    this.#writeTable(0, grown.length);
    for (let n = 0; n < clusters; n++) this.#setCount(this.#tableOffset + n * clusterBytes, 1);
    const field = new Uint8Array(12);
    new DataView(field.buffer).setBigUint64(0, BigInt(this.#tableOffset));
    new DataView(field.buffer).setUint32(8, clusters);
    this.write(tableAt, field);
    for (let at = old.offset; at < old.offset + old.bytes; at += clusterBytes) this.release(at);
  }
}

/** Counts of less than a byte lie from the lowest bit on, wider ones big-endian. */
function readCount(block: Uint8Array, n: number, bits: number): number {
  if (bits < 8) return ((block[Math.floor((n * bits) / 8)] ?? 0) >> ((n * bits) % 8)) & (2 ** bits - 1);
  let value = 0;
  for (let at = 0; at < bits / 8; at++) value = value * 256 + (block[(n * bits) / 8 + at] ?? 0);
  return value;
}

function writeCount(block: Uint8Array, n: number, bits: number, count: number): void {
  if (bits < 8) {
    const at = Math.floor((n * bits) / 8);
    const shift = (n * bits) % 8;
    block[at] = ((block[at] ?? 0) & ~((2 ** bits - 1) << shift)) | (count << shift);
    return;
  }
  const bytes = bits / 8;
  for (let at = 0; at < bytes; at++)
    block[n * bytes + at] = Math.floor(count / 256 ** (bytes - 1 - at)) % 256;
}
