/**
 * Virtio entropy device: VIRTIO Version 1.2, section 5.4, over PCI (virtio-pci.ts). It fills the driver's buffers from a random source into
 * which the host's bytes come as inputs of the machine.
 */
import { VirtioPciDevice, type VirtioCardOptions } from './virtio-pci.ts';
import { scatter, sliceSegments, totalLength, type Chain } from './virtqueue.ts';

const deviceType = 4;
/** A device that fits no class: PCI Code and ID Assignment 1.11, base class ffh. */
const classCode = 0xff_0000;
const queueSize = 16;
/** 5.4.6.2: the device may give less than there is room for; drivers ask for 64 bytes or so. */
const maxBytes = 4096;
const latencyNs = 20_000n;

export interface VirtioRngOptions extends VirtioCardOptions {
  /** Gives so many random bytes. */
  draw: (length: number) => Uint8Array;
}

export class VirtioRng extends VirtioPciDevice {
  readonly #draw: VirtioRngOptions['draw'];

  constructor({ draw, ...card }: VirtioRngOptions) {
    super({ ...card, type: deviceType, classCode, queueSizes: [queueSize], latencyNs, features: [] });
    this.#draw = draw;
  }

  protected configuration(): Uint8Array {
    return new Uint8Array(0);
  }

  /** 5.4.6.1: buffers are the device's to write, and not empty. */
  protected perform({ readable, writable }: Chain): number | 'broken' {
    const room = totalLength(writable);
    if (readable.length > 0 || room === 0) return 'broken';
    const length = Math.min(room, maxBytes);
    scatter(this.memory, sliceSegments(writable, 0, length), this.#draw(length));
    return length;
  }
}
