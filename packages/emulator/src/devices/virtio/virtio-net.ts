/**
 * Virtio network device: VIRTIO Version 1.2, section 5.1, over PCI (virtio-pci.ts). One pair of queues and the control queue.
 *
 * A frame leaves with its checksum complete; one that the driver left to the card to cut (TSO) leaves whole, up to 64 KiB, for whoever takes
 * it to cut. On the way in a large frame goes to a driver that takes such, with the header that says how it would be cut.
 */
import { fold, isChecksumRight, parseTransport, pseudoHeaderSum, sum16 } from './checksums.ts';
import { VirtioPciDevice, type VirtioCardOptions } from './virtio-pci.ts';
import { gather, scatter, sliceSegments, totalLength, type Chain } from './virtqueue.ts';

const deviceType = 1;
/** Network controller, Ethernet: PCI Code and ID Assignment 1.11, base class 02h. */
const classCode = 0x02_0000;
/** 5.1.3 */
// prettier-ignore
const Feature = {
  checksum: 0, guestChecksum: 1, mtu: 3, mac: 5, guestTso4: 7, hostTso4: 11, mergeBuffers: 15, status: 16, controlQueue: 17,
  guestAnnounce: 21,
} as const;
/** 5.1.2 */
const Queue = { receive: 0, transmit: 1, control: 2 } as const;
const queueSizes = [256, 256, 16] as const;
/** 5.1.4 */
const Config = { mac: 0, status: 6, pairs: 8, mtu: 10, bytes: 12 } as const;
const LinkStatus = { up: 1, announce: 2 } as const;
/** 5.1.6: struct virtio_net_hdr, with num_buffers as VERSION_1 has it always. */
const Header = {
  flags: 0,
  segmentation: 1,
  headerLength: 2,
  segmentSize: 4,
  checksumStart: 6,
  checksumOffset: 8,
  buffers: 10,
  bytes: 12,
} as const;
const HeaderFlag = { needsChecksum: 1, dataValid: 2 } as const;
const Segmentation = { none: 0, tcp4: 1 } as const;
/** 5.1.6.5 */
const Control = { announce: 3, acknowledge: 0, ok: 0, error: 1 } as const;

const ethernetHeaderBytes = 14;
/** RFC 9293, 3.1. */
const tcpChecksumAt = 16;
/** A TCP segment to be cut, in an IPv4 packet of 65,535 bytes. */
const maxFrameBytes = ethernetHeaderBytes + 0xffff;
/** About what a fast card takes; 2,500 instructions at the default rate. */
const latencyNs = 10_000n;

export interface VirtioNetOptions extends VirtioCardOptions {
  /** Six bytes. */
  mac: Uint8Array;
  mtu: number;
  /** Takes a frame that the guest sent. */
  transmit: (frame: Uint8Array) => void;
}

export class VirtioNet extends VirtioPciDevice {
  readonly #options: VirtioNetOptions;

  constructor(options: VirtioNetOptions) {
    const { mac: _mac, mtu: _mtu, transmit: _transmit, ...bus } = options;
    super({ ...bus, type: deviceType, classCode, queueSizes, latencyNs, features: Object.values(Feature) });
    this.#options = options;
  }

  protected configuration(): Uint8Array {
    const bytes = new Uint8Array(Config.bytes);
    const view = new DataView(bytes.buffer);
    bytes.set(this.#options.mac.subarray(0, 6), Config.mac);
    view.setUint16(Config.status, LinkStatus.up | this.state.configurationStatus, true);
    view.setUint16(Config.pairs, 1, true);
    view.setUint16(Config.mtu, this.#options.mtu, true);
    return bytes;
  }

  protected override servesQueue(queue: number): boolean {
    return queue !== Queue.receive;
  }

  /** The largest frame that the driver takes now; 0 while there is none. */
  get frameBytes(): number {
    if (!this.live) return 0;
    return this.accepted(Feature.guestTso4) ? maxFrameBytes : this.#options.mtu + ethernetHeaderBytes;
  }

  /** 5.1.5, GUEST_ANNOUNCE: the driver is to tell the segment where it is. */
  announce(): void {
    if (!this.live || !this.accepted(Feature.guestAnnounce)) return;
    this.state.configurationStatus |= LinkStatus.announce;
    this.configurationChanged();
  }

  protected perform(chain: Chain, queue: number): number | 'broken' {
    if (queue === Queue.control) return this.#control(chain);
    // 5.1.6.2: a driver that puts a writable buffer there, or no whole header, is none that could go on.
    const length = totalLength(chain.readable);
    if (chain.writable.length > 0 || length < Header.bytes) return 'broken';
    const bytes = length - Header.bytes;
    if (bytes >= ethernetHeaderBytes && bytes <= maxFrameBytes) {
      const whole = gather(this.memory, chain.readable, length);
      const frame = this.#complete(whole.subarray(0, Header.bytes), whole.subarray(Header.bytes));
      if (frame !== undefined) this.#options.transmit(frame);
    }
    return 0;
  }

  /** 5.1.6.2.1: completes the checksum; undefined for a frame that asks for what wasn't agreed on, which is dropped. */
  #complete(header: Uint8Array, frame: Uint8Array): Uint8Array | undefined {
    const view = new DataView(header.buffer, header.byteOffset, Header.bytes);
    const segmentation = view.getUint8(Header.segmentation);
    const large = frame.length > this.#options.mtu + ethernetHeaderBytes;
    if (segmentation !== Segmentation.none) {
      if (segmentation !== Segmentation.tcp4 || !this.accepted(Feature.hostTso4)) return undefined;
    } else if (large) return undefined;
    if (!(view.getUint8(Header.flags) & HeaderFlag.needsChecksum))
      return segmentation === Segmentation.none ? frame : undefined;
    const start = view.getUint16(Header.checksumStart, true);
    const at = start + view.getUint16(Header.checksumOffset, true);
    if (!this.accepted(Feature.checksum) || start < ethernetHeaderBytes || at + 2 > frame.length)
      return undefined;
    const sum = ~fold(sum16(frame, start, frame.length)) & 0xffff;
    // A UDP checksum of zero would mean that there is none (RFC 768): all ones is the same sum.
    const value = sum === 0 ? 0xffff : sum;
    frame[at] = value >> 8;
    frame[at + 1] = value & 0xff;
    return frame;
  }

  /** A frame arrives. 0 when the driver has no buffers for it yet; undefined when it is done with, delivered or dropped. */
  receive(frame: Uint8Array): 0 | undefined {
    if (frame.length < ethernetHeaderBytes || frame.length > this.frameBytes) return undefined;
    const front = this.#front(frame);
    if (front === undefined) return undefined;
    const rest = frame.subarray(front.length - Header.bytes);
    const bytes = front.length + rest.length;
    const merges = this.accepted(Feature.mergeBuffers);
    const chains = this.takeBuffers(Queue.receive, { bytes, most: merges ? Infinity : 1 });
    if (chains === undefined) return 0;
    if (chains === 'never') return undefined;
    front[Header.buffers] = chains.length & 0xff;
    front[Header.buffers + 1] = chains.length >> 8;
    let from = 0;
    const used = chains.map(({ head, writable }) => {
      const written = Math.min(totalLength(writable), bytes - from);
      const ofFront = Math.min(Math.max(front.length - from, 0), written);
      if (ofFront > 0) scatter(this.memory, writable, front.subarray(from, from + ofFront));
      from += ofFront;
      const ofRest = written - ofFront;
      const room = ofFront === 0 ? writable : sliceSegments(writable, ofFront, ofRest);
      const at = from - front.length;
      scatter(this.memory, room, rest.subarray(at, at + ofRest));
      from += ofRest;
      return { head, written };
    });
    this.giveBuffers(Queue.receive, used);
    return undefined;
  }

  /**
   * 5.1.6.4.1: the header of a frame on its way in, and behind it what of the frame the driver is to get otherwise than it came. Undefined
   * for a frame that it can't get.
   */
  #front(frame: Uint8Array): Uint8Array | undefined {
    const transport = parseTransport(frame);
    const right = (): boolean => transport !== undefined && isChecksumRight(frame, transport);
    if (frame.length <= this.#options.mtu + ethernetHeaderBytes) {
      const front = new Uint8Array(Header.bytes);
      if (this.accepted(Feature.guestChecksum) && right()) front[Header.flags] = HeaderFlag.dataValid;
      return front;
    }
    if (transport?.protocol !== 'tcp' || !right()) return undefined;
    const { transportAt, dataAt } = transport;
    const front = new Uint8Array(Header.bytes + dataAt);
    const view = new DataView(front.buffer);
    view.setUint8(Header.flags, HeaderFlag.needsChecksum);
    view.setUint8(Header.segmentation, Segmentation.tcp4);
    view.setUint16(Header.headerLength, dataAt, true);
    view.setUint16(Header.segmentSize, this.#options.mtu + ethernetHeaderBytes - dataAt, true);
    view.setUint16(Header.checksumStart, transportAt, true);
    view.setUint16(Header.checksumOffset, tcpChecksumAt, true);
    front.set(frame.subarray(0, dataAt), Header.bytes);
    // The checksum field holds the sum over the pseudo-header.
    view.setUint16(Header.bytes + transportAt + tcpChecksumAt, fold(pseudoHeaderSum(frame, transport)));
    return front;
  }

  /** 5.1.6.5: class, command, data; the answer is one byte. */
  #control({ readable, writable }: Chain): number | 'broken' {
    if (totalLength(readable) < 2 || totalLength(writable) < 1) return 'broken';
    const command = gather(this.memory, readable, 2);
    const known = command[0] === Control.announce && command[1] === Control.acknowledge;
    if (known) this.state.configurationStatus &= ~LinkStatus.announce;
    scatter(this.memory, sliceSegments(writable, 0, 1), Uint8Array.of(known ? Control.ok : Control.error));
    return 1;
  }

  protected override checkState(state: VirtioNet['state']): void {
    super.checkState(state);
    if (state.configurationStatus & ~LinkStatus.announce)
      this.refuseState('unknown bits in its configuration');
  }
}
