/**
 * Virtio block device: VIRTIO Version 1.2, section 5.2, over PCI (virtio-pci.ts). Requests: read, write, flush, get identity (5.2.6).
 * Everything the driver says is checked before a byte moves: what leaves the disk ends with IOERR, what can't be answered at all (no
 * header, no room for the status) breaks the device.
 */
import { sectorBytes, type BlockBackend } from '../block.ts';
import { VirtioPciDevice, type VirtioCardOptions } from './virtio-pci.ts';
import { gather, scatter, sliceSegments, totalLength, type Chain, type Segment } from './virtqueue.ts';

const deviceType = 2;
/** Mass storage, other: PCI Code and ID Assignment 1.11, base class 01h. */
const classCode = 0x01_8000;
/** 5.2.3 */
const Feature = {
  sizeMax: 1,
  segMax: 2,
  readOnly: 5,
  blockSize: 6,
  flush: 9,
  discard: 13,
  writeZeroes: 14,
} as const;
/** 5.2.4, packed little-endian. */
// prettier-ignore
const Config = {
  capacity: 0, sizeMax: 8, segMax: 12, blockSize: 20,
  maxDiscardSectors: 36, maxDiscardSegments: 40, discardAlignment: 44, maxZeroesSectors: 48, maxZeroesSegments: 52, zeroesMayUnmap: 56,
  bytes: 60,
} as const;
/** 5.2.6 */
const Request = { read: 0, write: 1, flush: 4, getIdentity: 8, discard: 11, writeZeroes: 13 } as const;
const Status = { ok: 0, ioError: 1, unsupported: 2 } as const;
const headerBytes = 16;
const identityBytes = 20;

const queueSize = 256;
/** Header and status take one descriptor each. */
const maxSegments = queueSize - 2;
const maxSegmentBytes = 0x1_0000;
/** Ranges of discard and write-zeroes: how many in one request, and of how many sectors each. */
const maxRanges = 16;
const maxRangeSectors = 1 << 20;
const rangeBytes = 16;
/** Flag of a range: the room may be given back. All others are reserved. */
const unmap = 1;
const sectorsPerPage = 8;
const maxDataBytes = maxSegments * maxSegmentBytes;
/** About what a fast solid-state disk takes; 12,500 instructions at the default rate. */
const latencyNs = 50_000n;

export interface VirtioBlkOptions extends VirtioCardOptions {
  /** At most 20 bytes of ASCII: what the guest sees as the disk's serial number. */
  identity: string;
  backend: BlockBackend;
  /** It takes discard and write-zeroes, for both of which what was there reads as zeros. */
  discards?: boolean;
}

export class VirtioBlk extends VirtioPciDevice {
  readonly #backend: BlockBackend;
  readonly #identity: Uint8Array;
  readonly #configuration: Uint8Array;
  readonly #discards: boolean;

  constructor(options: VirtioBlkOptions) {
    const { backend, identity, discards = false, ...bus } = options;
    super({
      ...bus,
      type: deviceType,
      classCode,
      queueSizes: [queueSize],
      latencyNs,
      features: [
        Feature.sizeMax,
        Feature.segMax,
        Feature.blockSize,
        Feature.flush,
        ...(discards ? [Feature.discard, Feature.writeZeroes] : []),
        ...(backend.readOnly ? [Feature.readOnly] : []),
      ],
    });
    this.#backend = backend;
    this.#discards = discards;
    this.#identity = new Uint8Array(identityBytes);
    this.#identity.set(new TextEncoder().encode(identity).subarray(0, identityBytes));
    this.#configuration = new Uint8Array(Config.bytes);
    const view = new DataView(this.#configuration.buffer);
    view.setBigUint64(Config.capacity, BigInt(backend.bytes / sectorBytes), true);
    view.setUint32(Config.sizeMax, maxSegmentBytes, true);
    view.setUint32(Config.segMax, maxSegments, true);
    view.setUint32(Config.blockSize, sectorBytes, true);
    if (!discards) return;
    view.setUint32(Config.maxDiscardSectors, maxRangeSectors, true);
    view.setUint32(Config.maxDiscardSegments, maxRanges, true);
    view.setUint32(Config.discardAlignment, sectorsPerPage, true);
    view.setUint32(Config.maxZeroesSectors, maxRangeSectors, true);
    view.setUint32(Config.maxZeroesSegments, maxRanges, true);
    view.setUint8(Config.zeroesMayUnmap, 1);
  }

  protected configuration(): Uint8Array {
    return this.#configuration;
  }

  protected perform({ readable, writable }: Chain): number | 'broken' {
    const room = totalLength(writable);
    if (totalLength(readable) < headerBytes || room < 1) return 'broken';
    const header = gather(this.memory, sliceSegments(readable, 0, headerBytes), headerBytes);
    const view = new DataView(header.buffer);
    const type = view.getUint32(0, true);
    const sector = view.getBigUint64(8, true);
    const data = { out: totalLength(readable) - headerBytes, in: room - 1 };
    const { status, written } = this.#request({ type, sector, data, readable, writable });
    for (const { address } of sliceSegments(writable, room - 1, 1))
      this.memory.write(address, Uint8Array.of(status));
    return written + 1;
  }

  #request(request: {
    type: number;
    sector: bigint;
    data: { out: number; in: number };
    readable: Segment[];
    writable: Segment[];
  }): { status: number; written: number } {
    const { type, sector, data, readable, writable } = request;
    const done = { status: Status.ok, written: 0 };
    const failed = { status: Status.ioError, written: 0 };
    switch (type) {
      case Request.read: {
        const offset = this.#range(sector, data.in);
        if (offset === undefined || data.out > 0) return failed;
        this.#read(offset, sliceSegments(writable, 0, data.in));
        return { status: Status.ok, written: data.in };
      }
      case Request.write: {
        const offset = this.#range(sector, data.out);
        if (offset === undefined || this.#backend.readOnly) return failed;
        this.#write(offset, sliceSegments(readable, headerBytes, data.out), data.out);
        return done;
      }
      case Request.flush:
        this.#backend.flush();
        return done;
      case Request.getIdentity: {
        const size = Math.min(data.in, identityBytes);
        scatter(this.memory, sliceSegments(writable, 0, size), this.#identity);
        return { status: Status.ok, written: size };
      }
      case Request.discard:
      case Request.writeZeroes: {
        const mayUnmap = type === Request.writeZeroes ? unmap : 0;
        return {
          status: this.#discards
            ? this.#zero(sliceSegments(readable, headerBytes, data.out), data.out, mayUnmap)
            : Status.unsupported,
          written: 0,
        };
      }
      default:
        return { status: Status.unsupported, written: 0 };
    }
  }

  /** 5.2.6.2: all ranges are checked before the first is emptied. */
  #zero(segments: readonly Segment[], length: number, knownFlags: number): number {
    if (length === 0 || length % rangeBytes !== 0 || length > maxRanges * rangeBytes) return Status.ioError;
    const given = gather(this.memory, segments, length);
    const view = new DataView(given.buffer, given.byteOffset, length);
    const sectors = BigInt(this.#backend.bytes / sectorBytes);
    const ranges: { offset: number; bytes: number }[] = [];
    for (let at = 0; at < length; at += rangeBytes) {
      const first = view.getBigUint64(at, true);
      const count = view.getUint32(at + 8, true);
      if ((view.getUint32(at + 12, true) & ~knownFlags) !== 0) return Status.unsupported;
      if (count > maxRangeSectors || first + BigInt(count) > sectors) return Status.ioError;
      ranges.push({ offset: Number(first) * sectorBytes, bytes: count * sectorBytes });
    }
    if (this.#backend.readOnly) return Status.ioError;
    for (const { offset, bytes } of ranges) this.#backend.zero(offset, bytes);
    return Status.ok;
  }

  /** Byte offset of a transfer; undefined when it is not whole sectors inside of the disk, or larger than this device takes. */
  #range(sector: bigint, length: number): number | undefined {
    if (length % sectorBytes !== 0 || length > maxDataBytes) return undefined;
    const sectors = BigInt(this.#backend.bytes / sectorBytes);
    const end = sector + BigInt(length / sectorBytes);
    return end <= sectors ? Number(sector) * sectorBytes : undefined;
  }

  #read(offset: number, segments: readonly Segment[]): void {
    const bytes = new Uint8Array(totalLength(segments));
    this.#backend.read(offset, bytes);
    scatter(this.memory, segments, bytes);
  }

  #write(offset: number, segments: readonly Segment[], length: number): void {
    this.#backend.write(offset, gather(this.memory, segments, length));
  }
}
