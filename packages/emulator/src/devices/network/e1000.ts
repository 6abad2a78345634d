/**
 * Intel 82540EM gigabit Ethernet controller: PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual, order number 317453,
 * revision 4.0. Rings of descriptors, checksums and segments left to the card (e1000-transmit.ts), EEPROM and PHY (e1000-eeprom.ts). Left
 * out: wake-up, VLAN filter, statistics (they read 0), delays of interrupts (each is due at once).
 *
 * All that lies in guest memory is taken as hostile: a ring is gone through by a bounded number of descriptors at a time.
 */
import { partOf, type AccessSize } from '../device.ts';
import type { PciPortRange } from '../pci/pci-function.ts';
import { CommandBit, configurationBytes, PciRegisters } from '../pci/pci-registers.ts';
import { bytes, defineState, i64, nullable, record, tuple, u32, type Infer } from '../schema.ts';
import {
  eepromContents,
  eepromPowerOn,
  eepromSchema,
  phyCommand,
  phyPowerOn,
  phyRegisterCount,
  phySchema,
  readEecd,
  writeEecd,
} from './e1000-eeprom.ts';
import {
  append,
  descriptorBytes,
  finishPacket,
  hasRoom,
  takeDescriptor,
  transmitPowerOn,
  transmitSchema,
} from './e1000-transmit.ts';
import {
  crcBytes,
  ethernetHeaderBytes,
  leastFrameBytes,
  PciNetworkCard,
  type NetworkCardOptions,
} from './network-card.ts';

const memoryBar = 0;
const portBar = 2;
export const e1000MemoryBytes = 0x2_0000;
export const e1000PortBytes = 0x40;
/** 13.4: offsets in BAR 0. */
// prettier-ignore
const Register = {
  control: 0x0000, status: 0x0008, eecd: 0x0010, mdic: 0x0020, cause: 0x00c0, causeSet: 0x00c8, maskSet: 0x00d0, maskClear: 0x00d8,
  receiveControl: 0x0100, transmitControl: 0x0400,
  receiveBase: 0x2800, receiveBaseHigh: 0x2804, receiveLength: 0x2808, receiveHead: 0x2810, receiveTail: 0x2818,
  transmitBase: 0x3800, transmitBaseHigh: 0x3804, transmitLength: 0x3808, transmitHead: 0x3810, transmitTail: 0x3818,
  multicast: 0x5200, addresses: 0x5400, vlanFilter: 0x5600,
} as const;
/** Registers that keep what is written, and do nothing here: flow control, delays, thresholds, LEDs, wake-up. */
// prettier-ignore
const kept = [
  0x0018, 0x0028, 0x002c, 0x0030, 0x0038, 0x00c4, 0x0170, 0x0178, 0x0410, 0x0e00, 0x1000, 0x2160, 0x2168, 0x2820, 0x2828, 0x282c, 0x3820, 0x3828,
  0x382c, 0x5000, 0x5800, 0x5808, 0x5820,
] as const;
const Control = { reset: 0x0400_0000, phyReset: 0x8000_0000 } as const;
/** Full duplex, link up, 1000 Mb/s. */
const linkStatus = 0x83;
const Cause = { transmitted: 0x01, queueEmpty: 0x02, received: 0x80 } as const;
const causeBits = 0x1_ffff;
const ReceiveControl = {
  enable: 0x02,
  unicast: 0x08,
  multicast: 0x10,
  long: 0x20,
  broadcast: 0x8000,
  sizeExtended: 0x0200_0000,
  stripCrc: 0x0400_0000,
} as const;
const transmitEnable = 0x02;
const addressValid = 0x8000_0000;
/** 3.2.3.1: of a received descriptor; checksums are left to the driver. */
const ReceiveStatus = { done: 1, endOfPacket: 2, ignoreChecksum: 4 } as const;
const maxDescriptorsAtOnce = 256;

const registers = new PciRegisters({
  vendor: 0x8086,
  device: 0x100e,
  revision: 3,
  classCode: 0x02_0000,
  subsystemVendor: 0x1af4,
  subsystem: 0x1100,
  command: {
    reset: 0,
    writable: CommandBit.io | CommandBit.memory | CommandBit.master | CommandBit.interruptDisable,
  },
  interruptPin: 1,
  bars: {
    [memoryBar]: { kind: 'memory', bytes: e1000MemoryBytes },
    [portBar]: { kind: 'io', bytes: e1000PortBytes },
  },
});

const ringSchema = record({ base: u32, baseHigh: u32, length: u32, head: u32, tail: u32 });
type Ring = Infer<typeof ringSchema>;
const schema = record({
  space: bytes(configurationBytes),
  /** IOADDR. */
  ioAddress: u32,
  control: u32,
  mdic: u32,
  cause: u32,
  mask: u32,
  receiveControl: u32,
  transmitControl: u32,
  receive: ringSchema,
  transmit: ringSchema,
  kept: tuple(u32, kept.length),
  multicast: tuple(u32, 128),
  addresses: tuple(u32, 32),
  vlanFilter: tuple(u32, 128),
  eeprom: eepromSchema,
  phy: phySchema,
  packet: transmitSchema,
  /** When the descriptors that were given will be gone through. */
  dueAtNs: nullable(i64),
});
type State = Infer<typeof schema>;

const newRing = (): Ring => ({ base: 0, baseHigh: 0, length: 0, head: 0, tail: 0 });

/** 14.2: what a reset by software does, too. */
function chipPowerOn(mac: Uint8Array): Omit<State, 'space' | 'ioAddress'> {
  const addresses = Array<number>(32).fill(0);
  const view = new DataView(mac.buffer, mac.byteOffset, 6);
  addresses[0] = view.getUint32(0, true);
  addresses[1] = (view.getUint16(4, true) | addressValid) >>> 0;
  return {
    control: 0,
    mdic: 0,
    cause: 0,
    mask: 0,
    receiveControl: 0,
    transmitControl: 0,
    receive: newRing(),
    transmit: newRing(),
    kept: kept.map(() => 0),
    multicast: Array<number>(128).fill(0),
    addresses,
    vlanFilter: Array<number>(128).fill(0),
    eeprom: eepromPowerOn(),
    phy: phyPowerOn(),
    packet: transmitPowerOn(),
    dueAtNs: null,
  };
}

export class E1000 extends PciNetworkCard<State> {
  readonly #eeprom: Uint16Array;

  constructor(options: NetworkCardOptions) {
    const { name, mac } = options;
    super(
      defineState<State>({ name, version: 1, schema }),
      { registers, memoryBar, portBar },
      options,
      (space) => ({ space, ioAddress: 0, ...chipPowerOn(mac) }),
    );
    this.#eeprom = eepromContents(mac);
  }

  // --- PCI ---

  /** 13.4: registers are read and written whole. */
  readBar(offset: number, size: AccessSize): number {
    return partOf(this.#read(offset & ~3), offset, size);
  }

  writeBar(offset: number, size: AccessSize, value: number): void {
    if (size === 4 && offset % 4 === 0) this.#write(offset, value);
  }

  /** 13.3: IOADDR and IODATA, by which the registers are reached too. */
  portRanges(): readonly PciPortRange[] {
    const first = registers.barAddress(this.state.space, portBar);
    if (first === undefined) return [];
    const isInside = (): boolean => this.state.ioAddress < e1000MemoryBytes;
    return [
      {
        first,
        length: e1000PortBytes,
        read: (offset, size) => {
          if (offset === 0 && size === 4) return this.state.ioAddress;
          return offset === 4 && isInside() ? this.readBar(this.state.ioAddress & ~3, size) : 0;
        },
        write: (offset, size, value) => {
          if (size !== 4) return;
          if (offset === 0) this.state.ioAddress = value;
          else if (offset === 4 && isInside()) this.writeBar(this.state.ioAddress & ~3, 4, value);
        },
      },
    ];
  }

  // --- registers ---

  #ring(offset: number): { ring: Ring; field: keyof Ring } | undefined {
    const ring = offset >= Register.transmitBase ? this.state.transmit : this.state.receive;
    const at = offset - (offset >= Register.transmitBase ? Register.transmitBase : Register.receiveBase);
    const field = ({ 0: 'base', 4: 'baseHigh', 8: 'length', 0x10: 'head', 0x18: 'tail' } as const)[at];
    return field === undefined ? undefined : { ring, field };
  }

  /** Registers that only keep numbers: the list and the index of one. */
  #table(offset: number): { words: number[]; index: number } | undefined {
    const { state } = this;
    const tables = [
      [Register.multicast, state.multicast],
      [Register.addresses, state.addresses],
      [Register.vlanFilter, state.vlanFilter],
    ] as const;
    for (const [first, words] of tables)
      if (offset >= first && offset < first + words.length * 4)
        return { words, index: (offset - first) >> 2 };
    const index = kept.findIndex((one) => one === offset);
    return index < 0 ? undefined : { words: state.kept, index };
  }

  #read(offset: number): number {
    const { state } = this;
    switch (offset) {
      case Register.control:
        return state.control;
      case Register.status:
        return linkStatus;
      case Register.eecd:
        return readEecd(state.eeprom, this.#eeprom);
      case Register.mdic:
        return state.mdic;
      case Register.cause:
        return this.#takeCause();
      case Register.maskSet:
        return state.mask;
      case Register.receiveControl:
        return state.receiveControl;
      case Register.transmitControl:
        return state.transmitControl;
      default: {
        const ring = this.#ring(offset);
        if (ring !== undefined) return ring.ring[ring.field];
        const table = this.#table(offset);
        return table?.words[table.index] ?? 0;
      }
    }
  }

  /** 13.4.17: reading clears. */
  #takeCause(): number {
    const { cause } = this.state;
    this.state.cause = 0;
    this.drive();
    return cause;
  }

  #write(offset: number, value: number): void {
    const { state } = this;
    switch (offset) {
      case Register.control:
        if (value & Control.reset) this.resetChip(chipPowerOn(this.options.mac));
        else state.control = (value & ~Control.phyReset) >>> 0;
        return;
      case Register.eecd:
        writeEecd(state.eeprom, value);
        return;
      case Register.mdic:
        state.mdic = phyCommand(state.phy, value);
        return;
      case Register.cause:
        state.cause = (state.cause & ~value) >>> 0;
        break;
      case Register.causeSet:
        state.cause |= value & causeBits;
        break;
      case Register.maskSet:
        state.mask |= value & causeBits;
        break;
      case Register.maskClear:
        state.mask &= ~value;
        break;
      case Register.receiveControl:
        state.receiveControl = value;
        return;
      case Register.transmitControl:
        state.transmitControl = value;
        this.#schedule();
        return;
      default:
        this.#writeTable(offset, value);
        return;
    }
    this.drive();
  }

  #writeTable(offset: number, value: number): void {
    const at = this.#ring(offset);
    if (at !== undefined) {
      const masks = {
        base: 0xffff_fff0,
        baseHigh: 0xffff_ffff,
        length: 0xf_ff80,
        head: 0xffff,
        tail: 0xffff,
      };
      at.ring[at.field] = (value & masks[at.field]) >>> 0;
      if (offset === Register.transmitTail) this.#schedule();
      return;
    }
    const table = this.#table(offset);
    if (table !== undefined) table.words[table.index] = value;
  }

  // --- out ---

  #schedule(): void {
    const { state } = this;
    const { head, tail, length } = state.transmit;
    // Heads and tails beyond the ring are nothing that could be gone through.
    if (Math.max(head, tail) >= length / descriptorBytes || head === tail) return;
    if (state.transmitControl & transmitEnable) this.sendSoon();
  }

  protected override sendAll(): void {
    const { transmit: ring } = this.state;
    const count = ring.length / descriptorBytes;
    for (let n = 0; n < maxDescriptorsAtOnce && ring.head !== ring.tail && ring.head < count; n++) {
      this.#transmitOne(addressOf(ring));
      ring.head = (ring.head + 1) % count;
    }
    this.#schedule();
    this.#raise(Cause.transmitted | (ring.head === ring.tail ? Cause.queueEmpty : 0));
  }

  #transmitOne(at: number): void {
    const { memory, transmit, mtu } = this.options;
    const { packet } = this.state;
    const descriptor = memory.read(at, descriptorBytes).slice();
    const { data, endOfPacket, reportStatus } = takeDescriptor(packet, descriptor);
    if (data !== undefined && data.length > 0 && hasRoom(packet, data.length))
      append(packet, memory.read(data.address, data.length));
    if (endOfPacket) {
      const frame = finishPacket(packet, mtu);
      if (frame !== undefined) transmit(frame);
    }
    if (reportStatus) memory.write(at + 12, Uint8Array.of((descriptor[12] ?? 0) | ReceiveStatus.done));
  }

  // --- in ---

  /** The largest frame that the driver takes now; 0 while it takes none. */
  get frameBytes(): number {
    return this.state.receiveControl & ReceiveControl.enable ? this.options.mtu + ethernetHeaderBytes : 0;
  }

  /** A frame arrives. 0 when there are no descriptors for it yet; undefined when it is done with, delivered or dropped. */
  receive(frame: Uint8Array): 0 | undefined {
    const { state } = this;
    if (frame.length < ethernetHeaderBytes || frame.length > this.frameBytes || !this.#isForUs(frame))
      return undefined;
    const whole = new Uint8Array(
      Math.max(frame.length, leastFrameBytes) +
        (state.receiveControl & ReceiveControl.stripCrc ? 0 : crcBytes),
    );
    whole.set(frame);
    const { receive: ring } = state;
    const count = ring.length / descriptorBytes;
    const room = this.#bufferBytes();
    const needed = Math.ceil(whole.length / room);
    if (ring.head >= count || ring.tail >= count || needed >= count) return undefined;
    if ((ring.tail - ring.head + count) % count < needed) return 0;
    for (let from = 0; from < whole.length; from += room)
      this.#fill(ring, whole.subarray(from, from + room), from + room >= whole.length);
    this.#raise(Cause.received);
    return undefined;
  }

  #fill(ring: Ring, data: Uint8Array, isLast: boolean): void {
    const { memory } = this.options;
    const at = addressOf(ring);
    const view = new DataView(memory.read(at, 8).slice().buffer);
    memory.write(view.getUint32(4, true) * 2 ** 32 + view.getUint32(0, true), data);
    const status =
      ReceiveStatus.done | ReceiveStatus.ignoreChecksum | (isLast ? ReceiveStatus.endOfPacket : 0);
    memory.write(at + 8, Uint8Array.of(data.length & 0xff, data.length >> 8, 0, 0, status, 0, 0, 0));
    ring.head = (ring.head + 1) % (ring.length / descriptorBytes);
  }

  /** 13.4.22: BSIZE and BSEX. */
  #bufferBytes(): number {
    const { receiveControl } = this.state;
    const bytes = 2048 >> ((receiveControl >>> 16) & 3);
    return receiveControl & ReceiveControl.sizeExtended && bytes < 2048 ? bytes * 16 : bytes;
  }

  /** 3.2.1: packet address filtering. */
  #isForUs(frame: Uint8Array): boolean {
    const { receiveControl, addresses, multicast } = this.state;
    const high = (frame[4] ?? 0) | ((frame[5] ?? 0) << 8);
    const low = new DataView(frame.buffer, frame.byteOffset).getUint32(0, true);
    if (low === 0xffff_ffff && high === 0xffff) return (receiveControl & ReceiveControl.broadcast) !== 0;
    const isGroup = ((frame[0] ?? 0) & 1) !== 0;
    if (receiveControl & (isGroup ? ReceiveControl.multicast : ReceiveControl.unicast)) return true;
    for (let n = 0; n < addresses.length; n += 2)
      if (addresses[n] === low && addresses[n + 1] === (high | addressValid) >>> 0) return true;
    // 13.4.22, MO: which twelve of the last sixteen bits choose from the table.
    const hash = (high >> [4, 3, 2, 0][(receiveControl >>> 12) & 3]!) & 0xfff;
    return isGroup && (((multicast[hash >> 5] ?? 0) >>> (hash & 31)) & 1) === 1;
  }

  // --- interrupts ---

  #raise(cause: number): void {
    this.state.cause |= cause;
    this.drive();
  }

  protected override get interrupts(): boolean {
    return (this.state.cause & this.state.mask) !== 0;
  }

  protected override checkState(state: State): void {
    super.checkState(state);
    if (state.phy.length !== phyRegisterCount) this.refuseState('the PHY has 32 registers');
  }
}

/** Of the descriptor at the head. */
function addressOf({ base, baseHigh, head }: Ring): number {
  return baseHigh * 2 ** 32 + base + head * descriptorBytes;
}
