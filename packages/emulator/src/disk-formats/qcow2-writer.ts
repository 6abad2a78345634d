/**
 * A new qcow2 image (version 3, clusters of 64 KiB), written from its start to its end as the disk's contents come: QEMU's "Qcow2 Image File Format".
 * Clusters that are zero take no room. The header is written last, so a file that was not finished is no image.
 */
import type { ImageFile } from './qcow2-header.ts';

const clusterBits = 16;
const clusterBytes = 1 << clusterBits;
const entryBytes = 8;
const entriesPerTable = clusterBytes / entryBytes;
/** Reference counts of 16 bits: so many a block. */
const refcountBytes = 2;
const refcountsPerBlock = clusterBytes / refcountBytes;
const refcountOrder = 4;
const headerBytes = 104;
const magic = 0x5146_49fb;
const version = 3;
/** QCOW_OFLAG_COPIED: its reference count is one. */
const copied = 1n << 63n;

const inClusters = (bytes: number): number => Math.ceil(bytes / clusterBytes);

/** Writes a new qcow2 image, cluster after cluster, without what is all zeros. */
export class Qcow2Writer {
  readonly #write: NonNullable<ImageFile['write']>;
  readonly #diskBytes: number;
  readonly #l1: BigUint64Array;
  /** The header's cluster is kept free. */
  #nextCluster = 1;
  #table = new BigUint64Array(entriesPerTable);
  #tableIndex = 0;
  #tableIsUsed = false;
  #lastCluster = -1;

  constructor(write: NonNullable<ImageFile['write']>, diskBytes: number) {
    this.#write = write;
    this.#diskBytes = diskBytes;
    this.#l1 = new BigUint64Array(Math.max(1, Math.ceil(inClusters(diskBytes) / entriesPerTable)));
  }

  /** Of each cluster that it takes. */
  static readonly clusterBytes = clusterBytes;

  /** A cluster of the disk, which are given in ascending order; those left out, and those that are zero, are zero. */
  cluster(index: number, data: Uint8Array): void {
    if (index <= this.#lastCluster || index * clusterBytes >= this.#diskBytes || data.length !== clusterBytes)
      throw new RangeError(`cluster ${String(index)} of ${String(data.length)} bytes comes out of turn`);
    this.#lastCluster = index;
    if (isZero(data)) return;
    const table = Math.floor(index / entriesPerTable);
    if (table !== this.#tableIndex) {
      this.#endTable();
      this.#tableIndex = table;
    }
    this.#table[index % entriesPerTable] = copied | BigInt(this.#append(data));
    this.#tableIsUsed = true;
  }

  #append(data: Uint8Array): number {
    const offset = this.#nextCluster * clusterBytes;
    this.#write(offset, data);
    this.#nextCluster += inClusters(data.length);
    return offset;
  }

  #endTable(): void {
    if (!this.#tableIsUsed) return;
    this.#l1[this.#tableIndex] = copied | BigInt(this.#append(bigEndian(this.#table)));
    this.#table = new BigUint64Array(entriesPerTable);
    this.#tableIsUsed = false;
  }

  /** Writes the tables, and the header. */
  finish(): void {
    this.#endTable();
    const l1Offset = this.#append(padded(bigEndian(this.#l1)));
    const { offset: tableOffset, clusters } = this.#writeRefcounts();
    const header = new Uint8Array(clusterBytes);
    const view = new DataView(header.buffer);
    view.setUint32(0, magic);
    view.setUint32(4, version);
    view.setUint32(20, clusterBits);
    view.setBigUint64(24, BigInt(this.#diskBytes));
    view.setUint32(36, this.#l1.length);
    view.setBigUint64(40, BigInt(l1Offset));
    view.setBigUint64(48, BigInt(tableOffset));
    view.setUint32(56, clusters);
    view.setUint32(96, refcountOrder);
    view.setUint32(100, headerBytes);
    this.#write(0, header);
  }

  /** Blocks and their table count themselves, so how many there are is found by going on until nothing is added. */
  #writeRefcounts(): { offset: number; clusters: number } {
    let [blocks, tables] = [1, 1];
    for (;;) {
      const total = this.#nextCluster + blocks + tables;
      const needed = Math.ceil(total / refcountsPerBlock);
      const neededTables = Math.ceil(needed / entriesPerTable);
      if (needed === blocks && neededTables === tables) break;
      [blocks, tables] = [needed, neededTables];
    }
    const used = this.#nextCluster + blocks + tables;
    const table = new BigUint64Array(tables * entriesPerTable);
    for (let block = 0; block < blocks; block++) {
      const bytes = new Uint8Array(clusterBytes);
      const count = Math.min(refcountsPerBlock, used - block * refcountsPerBlock);
      for (let n = 0; n < count; n++) bytes[n * refcountBytes + 1] = 1;
      table[block] = BigInt(this.#append(bytes));
    }
    return { offset: this.#append(bigEndian(table)), clusters: tables };
  }
}

function bigEndian(words: BigUint64Array): Uint8Array {
  const bytes = new Uint8Array(words.length * entryBytes);
  const view = new DataView(bytes.buffer);
  words.forEach((word, n) => {
    view.setBigUint64(n * entryBytes, word);
  });
  return bytes;
}

function padded(bytes: Uint8Array): Uint8Array {
  const whole = new Uint8Array(inClusters(bytes.length) * clusterBytes);
  whole.set(bytes);
  return whole;
}

function isZero(data: Uint8Array): boolean {
  const words = new BigUint64Array(data.buffer, data.byteOffset, data.length / entryBytes);
  return words.every((word) => word === 0n);
}
