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
const Feature = { sizeMax: 1, segMax: 2, readOnly: 5, blockSize: 6, flush: 9 } as const;
/** 5.2.4, packed little-endian. */
const Config = { capacity: 0, sizeMax: 8, segMax: 12, blockSize: 20, bytes: 60 } as const;
/** 5.2.6 */
const Request = { read: 0, write: 1, flush: 4, getIdentity: 8 } as const;
const Status = { ok: 0, ioError: 1, unsupported: 2 } as const;
const headerBytes = 16;
const identityBytes = 20;

const queueSize = 256;
/** Header and status take one descriptor each. */
const maxSegments = queueSize - 2;
const maxSegmentBytes = 0x1_0000;
const maxDataBytes = maxSegments * maxSegmentBytes;
/** About what a fast solid-state disk takes; 12,500 instructions at the default rate. */
const latencyNs = 50_000n;

export interface VirtioBlkOptions extends VirtioCardOptions {
  /** At most 20 bytes of ASCII: what the guest sees as the disk's serial number. */
  identity: string;
  backend: BlockBackend;
}

export class VirtioBlk extends VirtioPciDevice {
  readonly #backend: BlockBackend;
  readonly #identity: Uint8Array;
  readonly #configuration: Uint8Array;

  constructor(options: VirtioBlkOptions) {
    const { backend, identity, ...bus } = options;
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
        ...(backend.readOnly ? [Feature.readOnly] : []),
      ],
    });
    this.#backend = backend;
    this.#identity = new Uint8Array(identityBytes);
    this.#identity.set(new TextEncoder().encode(identity).subarray(0, identityBytes));
    this.#configuration = new Uint8Array(Config.bytes);
    const view = new DataView(this.#configuration.buffer);
    view.setBigUint64(Config.capacity, BigInt(backend.bytes / sectorBytes), true);
    view.setUint32(Config.sizeMax, maxSegmentBytes, true);
    view.setUint32(Config.segMax, maxSegments, true);
    view.setUint32(Config.blockSize, sectorBytes, true);
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
      default:
        return { status: Status.unsupported, written: 0 };
    }
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
