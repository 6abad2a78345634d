/**
 * fw_cfg, the firmware configuration device of QEMU, by which SeaBIOS and kernels learn about a virtual machine.
 * Reference: QEMU documentation, "QEMU Firmware Configuration (fw_cfg) Device" (docs/specs/fw_cfg). Items are read-only.
 */
import { StatefulDevice, type AccessSize, type GuestMemory } from '../device.ts';
import { defineState, record, u16, u32, type Infer } from '../schema.ts';

const Port = { selector: 0x510, data: 0x511, dmaHigh: 0x514, dmaLow: 0x518 } as const;
// prettier-ignore
export const FwCfgItem = {
  signature: 0x00, id: 0x01, ramSize: 0x03, cpuCount: 0x05, kernelAddress: 0x07, kernelSize: 0x08, maxCpus: 0x0f,
  fileDirectory: 0x19, firstFile: 0x20,
} as const;
const Dma = { error: 1, read: 2, skip: 4, select: 8, write: 16 } as const;
const featureTraditional = 1;
const featureDma = 2;
/** What a read of the DMA address register gives: "QEMU CFG". */
const dmaSignature = [0x51454d55, 0x20434647] as const;
const maxTransferBytes = 0x100_0000;

const schema = record({ selector: u16, offset: u32, dmaHigh: u32 });
type State = Infer<typeof schema>;
const definition = defineState<State>({ name: 'fw-cfg', version: 1, schema });

export interface FwCfgOptions {
  memory: GuestMemory;
  /** Numbered items beside the standard ones. */
  items: ReadonlyMap<number, Uint8Array>;
  /** Named files, such as `etc/e820`. */
  files: ReadonlyMap<string, Uint8Array>;
}

/** Little-endian integer of `size` bytes, for items. */
export function littleEndian(value: number, size: 2 | 4 | 8): Uint8Array {
  const bytes = new Uint8Array(size);
  new DataView(bytes.buffer).setUint16(0, value & 0xffff, true);
  if (size > 2) new DataView(bytes.buffer).setUint32(0, value >>> 0, true);
  if (size > 4) new DataView(bytes.buffer).setUint32(4, Math.floor(value / 2 ** 32), true);
  return bytes;
}

export class FwCfg extends StatefulDevice<State> {
  readonly name = 'fw-cfg';
  readonly ports = [
    // The 16-bit selector covers the data port, which is a register of its own for bytes.
    { first: Port.selector, last: Port.data, width: 2 as const },
    { first: Port.dmaHigh, last: Port.dmaLow + 3, width: 4 as const },
  ];
  readonly #memory: GuestMemory;
  readonly #items = new Map<number, Uint8Array>();

  constructor({ memory, items, files }: FwCfgOptions) {
    super(definition, () => ({ selector: 0, offset: 0, dmaHigh: 0 }));
    this.#memory = memory;
    this.#items.set(FwCfgItem.signature, new TextEncoder().encode('QEMU'));
    this.#items.set(FwCfgItem.id, littleEndian(featureTraditional | featureDma, 4));
    for (const [key, bytes] of items) this.#items.set(key, bytes);
    this.#addFiles(files);
  }

  /** File directory: big-endian count, then { size, select, reserved, name[56] } each. */
  #addFiles(files: ReadonlyMap<string, Uint8Array>): void {
    const directory = new Uint8Array(4 + files.size * 64);
    const view = new DataView(directory.buffer);
    view.setUint32(0, files.size);
    let n = 0;
    for (const [name, bytes] of [...files].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const at = 4 + n * 64;
      view.setUint32(at, bytes.length);
      view.setUint16(at + 4, FwCfgItem.firstFile + n);
      directory.set(new TextEncoder().encode(name).subarray(0, 55), at + 8);
      this.#items.set(FwCfgItem.firstFile + n, bytes);
      n++;
    }
    this.#items.set(FwCfgItem.fileDirectory, directory);
  }

  #select(key: number): void {
    this.state.selector = key & 0xbfff; // bit 14 is the old write channel, bit 15 marks architecture-local items
    this.state.offset = 0;
  }

  #nextByte(): number {
    const byte = this.#items.get(this.state.selector)?.[this.state.offset] ?? 0;
    if (this.state.offset < 0xffff_ffff) this.state.offset++;
    return byte;
  }

  readPort(port: number, size: AccessSize): number {
    if (port === Port.selector) return size === 1 ? 0xff : 0xffff;
    if (port === Port.data) return this.#nextByte();
    if (size !== 4) return 0xffff_ffff;
    return swap32(dmaSignature[port >= Port.dmaLow ? 1 : 0]);
  }

  writePort(port: number, size: AccessSize, value: number): void {
    if (port === Port.selector && size === 2) this.#select(value);
    else if (port === Port.dmaHigh && size === 4) this.state.dmaHigh = swap32(value);
    else if (port === Port.dmaLow && size === 4) {
      const high = this.state.dmaHigh;
      this.state.dmaHigh = 0;
      if (high === 0) this.#transfer(swap32(value));
    }
  }

  /** FWCfgDmaAccess { control, length, address }, big-endian, at `descriptor`. */
  #transfer(descriptor: number): void {
    const request = new DataView(Uint8Array.from(this.#memory.read(descriptor, 16)).buffer);
    const control = request.getUint32(0);
    const length = Math.min(request.getUint32(4), maxTransferBytes);
    const addressHigh = request.getUint32(8);
    const address = request.getUint32(12);
    if (control & Dma.select) this.#select(control >>> 16);
    let failed = (control & Dma.write) !== 0;
    if (control & Dma.read && addressHigh === 0) this.#memory.write(address, this.#take(length));
    else if (control & Dma.read) failed = true;
    else if (control & Dma.skip) this.state.offset = Math.min(0xffff_ffff, this.state.offset + length);
    const result = new Uint8Array(4);
    new DataView(result.buffer).setUint32(0, failed ? Dma.error : 0);
    this.#memory.write(descriptor, result);
  }

  #take(length: number): Uint8Array {
    const out = new Uint8Array(length);
    const item = this.#items.get(this.state.selector);
    if (item !== undefined) out.set(item.subarray(this.state.offset, this.state.offset + length));
    this.state.offset = Math.min(0xffff_ffff, this.state.offset + length);
    return out;
  }
}

function swap32(value: number): number {
  return ((value << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24)) >>> 0;
}
