/**
 * Virtio traditional memory balloon device: VIRTIO Version 1.2, section 5.5, over PCI (virtio-pci.ts). The host says how many pages the
 * guest is to do without; the driver takes so many and names them, and each is emptied, so that no checkpoint has to hold it. A page that
 * the guest takes back is empty memory to it.
 */
import type { AccessSize } from '../device.ts';
import { VirtioPciDevice, type VirtioCardOptions } from './virtio-pci.ts';
import { gather, totalLength, type Chain } from './virtqueue.ts';

const deviceType = 5;
/** A device that fits no class: PCI Code and ID Assignment 1.11, base class ffh. */
const classCode = 0xff_0000;
/** 5.5.3: without MUST_TELL_HOST, as a page may be used again at once. */
const Feature = { deflateOnOom: 2 } as const;
/** 5.5.2 */
const Queue = { inflate: 0, deflate: 1 } as const;
const queueSizes = [128, 128] as const;
/** 5.5.4: num_pages and actual. */
const Config = { target: 0, actual: 4, bytes: 8 } as const;
/** 5.5.6: the device's pages, whatever the processor's are. */
const pageBytes = 4096;
/** Linux names 256 pages at once. */
const maxPages = 1024;
const latencyNs = 50_000n;
/** `registers`: what the host wants, and what the driver says. */
const Register = { target: 0, actual: 1 } as const;

export interface VirtioBalloonOptions extends VirtioCardOptions {
  /** Pages of memory that the guest has. */
  memoryPages: number;
}

export class VirtioBalloon extends VirtioPciDevice {
  readonly #memoryPages: number;

  constructor({ memoryPages, ...card }: VirtioBalloonOptions) {
    super({
      ...card,
      type: deviceType,
      classCode,
      queueSizes,
      latencyNs,
      features: [Feature.deflateOnOom],
      registers: [0, 0],
    });
    this.#memoryPages = memoryPages;
  }

  protected configuration(): Uint8Array {
    const bytes = new Uint8Array(Config.bytes);
    const view = new DataView(bytes.buffer);
    view.setUint32(Config.target, this.state.registers[Register.target] ?? 0, true);
    view.setUint32(Config.actual, this.state.registers[Register.actual] ?? 0, true);
    return bytes;
  }

  /** The guest is to do without so many pages. */
  setTarget(pages: number): void {
    this.state.registers[Register.target] = Math.min(pages, this.#memoryPages);
    this.configurationChanged();
  }

  /** Pages that the driver says it gave. */
  get actualPages(): number {
    return this.state.registers[Register.actual] ?? 0;
  }

  protected override writeDeviceConfiguration(offset: number, size: AccessSize, value: number): void {
    if (offset === Config.actual && size === 4) this.state.registers[Register.actual] = value;
  }

  /** The host's wish stays, for the next driver. */
  protected override driverReset(): void {
    this.state.registers[Register.actual] = 0;
  }

  /** 5.5.6: the driver names pages that it gives, or takes back, by their numbers. */
  protected perform({ readable, writable }: Chain, queue: number): number | 'broken' {
    const length = totalLength(readable);
    if (writable.length > 0 || length % 4 !== 0 || length > maxPages * 4) return 'broken';
    if (queue === Queue.deflate) return 0;
    const bytes = gather(this.memory, readable, length);
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    for (let at = 0; at < length; at += 4) {
      const page = view.getUint32(at, true);
      if (page < this.#memoryPages) this.#empty(page * pageBytes);
    }
    return 0;
  }

  /** A page that is empty already is not written: it would count as changed. */
  #empty(address: number): void {
    if (this.memory.read(address, pageBytes).some((byte) => byte !== 0))
      this.memory.write(address, new Uint8Array(pageBytes));
  }
}
