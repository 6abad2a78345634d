/**
 * Realtek RTL8139 fast Ethernet controller: RTL8139C(L) data sheet, revision 1.4. Four buffers to send from, one ring to receive into, an
 * EEPROM 93C46 behind its register, and a link that is always up at 100 Mb/s. Left out: wake-up, the timer, early receive.
 */
import type { AccessSize } from '../device.ts';
import type { PciPortRange } from '../pci/pci-function.ts';
import { CommandBit, configurationBytes, PciRegisters } from '../pci/pci-registers.ts';
import { bytes, defineState, i64, nullable, record, tuple, u16, u32, u8, type Infer } from '../schema.ts';
import {
  crcBytes,
  ethernetHeaderBytes,
  leastFrameBytes,
  PciNetworkCard,
  type NetworkCardOptions,
} from './network-card.ts';

const portBar = 0;
const memoryBar = 1;
export const rtl8139Bytes = 0x100;
/** 6: offsets of registers. */
// prettier-ignore
const Register = {
  address: 0x00, multicast: 0x08, sendStatus: 0x10, sendAddress: 0x20, ring: 0x30, command: 0x37, readPointer: 0x38, writePointer: 0x3a,
  mask: 0x3c, status: 0x3e, sendConfiguration: 0x40, receiveConfiguration: 0x44, missed: 0x4c, eeprom: 0x50, media: 0x58, modeControl: 0x62,
  modeStatus: 0x64, advertised: 0x66, partner: 0x68,
} as const;
/** 6.4, of the command register. */
const Command = { empty: 0x01, send: 0x04, receive: 0x08, reset: 0x10 } as const;
/** 6.7 */
const Interrupt = { received: 0x0001, sent: 0x0004 } as const;
/** 6.3: of a buffer to send. */
const Send = { sizeMask: 0x1fff, own: 0x2000, done: 0x8000 } as const;
/** 6.9 */
const Receive = { all: 0x01, ours: 0x02, multicast: 0x04, broadcast: 0x08, noWrap: 0x80 } as const;
/** 6.6, the version: an RTL8139C. */
const version = 0x7400_0000;
const versionMask = 0x7cc0_0000;
/** 5.1 of a received packet's header: it is good; its address is ours, a group's or everybody's. */
const PacketStatus = { good: 0x0001, broadcast: 0x2000, ours: 0x4000, multicast: 0x8000 } as const;
/** 6.14 */
const Eeprom = { dataOut: 0x01, dataIn: 0x02, clock: 0x04, select: 0x08, writable: 0xce } as const;
const eepromSignature = 0x8129;
const eepromCommandBits = 9;
const readOpcode = 6;

const headerBytes = 4;
/** The driver's pointer is behind by so much. */
const pointerLag = 16;
const leastRingBytes = 0x2000;
const bufferCount = 4;

const registers = new PciRegisters({
  vendor: 0x10ec,
  device: 0x8139,
  revision: 0x10,
  classCode: 0x02_0000,
  subsystemVendor: 0x1af4,
  subsystem: 0x1100,
  command: {
    reset: 0,
    writable: CommandBit.io | CommandBit.memory | CommandBit.master | CommandBit.interruptDisable,
  },
  interruptPin: 1,
  bars: {
    [portBar]: { kind: 'io', bytes: rtl8139Bytes },
    [memoryBar]: { kind: 'memory', bytes: rtl8139Bytes },
  },
});

const schema = record({
  space: bytes(configurationBytes),
  address: bytes(6),
  multicast: bytes(8),
  sendStatus: tuple(u32, bufferCount),
  sendAddress: tuple(u32, bufferCount),
  ring: u32,
  command: u8,
  /** As the driver wrote it, and where the next packet goes. */
  readPointer: u16,
  writePointer: u16,
  mask: u16,
  status: u16,
  sendConfiguration: u32,
  receiveConfiguration: u32,
  missed: u32,
  eeprom: u8,
  /** Bits of a command from its start bit on, how many, and how many bits of the answer were shown. */
  eepromCommand: u16,
  eepromBits: u8,
  eepromShown: u8,
  modeControl: u16,
  advertised: u16,
  /** Bits of the buffers that wait to be sent, and when they will be. */
  waiting: u8,
  dueAtNs: nullable(i64),
});
type State = Infer<typeof schema>;

/** 6.4, RST: what a reset by software clears, too. */
function chipPowerOn(mac: Uint8Array): Omit<State, 'space'> {
  return {
    address: mac.slice(0, 6),
    multicast: new Uint8Array(8),
    sendStatus: Array<number>(bufferCount).fill(Send.own),
    sendAddress: Array<number>(bufferCount).fill(0),
    ring: 0,
    command: Command.empty,
    readPointer: 0xfff0,
    writePointer: 0,
    mask: 0,
    status: 0,
    sendConfiguration: version,
    receiveConfiguration: 0,
    missed: 0,
    eeprom: 0,
    eepromCommand: 0,
    eepromBits: 0,
    eepromShown: 0,
    modeControl: 0x3100,
    advertised: 0x05e1,
    waiting: 0,
    dueAtNs: null,
  };
}

export class Rtl8139 extends PciNetworkCard<State> {
  constructor(options: NetworkCardOptions) {
    const { name, mac } = options;
    super(
      defineState<State>({ name, version: 1, schema }),
      { registers, memoryBar, portBar },
      options,
      (space) => ({ space, ...chipPowerOn(mac) }),
    );
  }

  portRanges(): readonly PciPortRange[] {
    const first = registers.barAddress(this.state.space, portBar);
    if (first === undefined) return [];
    const read: PciPortRange['read'] = (offset, size) => this.readBar(offset, size);
    const write: PciPortRange['write'] = (offset, size, value) => {
      this.writeBar(offset, size, value);
    };
    return [{ first, length: rtl8139Bytes, read, write }];
  }

  // --- registers ---

  /** Registers may be read by any part of them. */
  readBar(offset: number, size: AccessSize): number {
    let value = 0;
    for (let n = 0; n < size; n++) value |= this.#readByte(offset + n) << (n * 8);
    return value >>> 0;
  }

  #readByte(offset: number): number {
    const { state } = this;
    const part = (word: number): number => (word >>> ((offset & 3) * 8)) & 0xff;
    const half = (word: number): number => (word >>> ((offset & 1) * 8)) & 0xff;
    if (offset < Register.address + 6) return state.address[offset] ?? 0;
    if (offset >= Register.multicast && offset < Register.multicast + 8)
      return state.multicast[offset - Register.multicast] ?? 0;
    if (offset >= Register.sendStatus && offset < Register.sendAddress)
      return part(state.sendStatus[(offset - Register.sendStatus) >> 2] ?? 0);
    if (offset >= Register.sendAddress && offset < Register.ring)
      return part(state.sendAddress[(offset - Register.sendAddress) >> 2] ?? 0);
    if (offset === Register.command) return state.command | (this.#isEmpty ? Command.empty : 0);
    if (offset === Register.eeprom) return state.eeprom | this.#eepromOut();
    switch (offset & ~3) {
      case Register.ring:
        return part(state.ring);
      case Register.sendConfiguration:
        return part(state.sendConfiguration);
      case Register.receiveConfiguration:
        return part(state.receiveConfiguration);
      case Register.missed:
        return part(state.missed);
      default:
        return half(this.#readHalf(offset & ~1));
    }
  }

  #readHalf(offset: number): number {
    const { state } = this;
    const autonegotiated = 0x782d;
    switch (offset) {
      case Register.readPointer:
        return state.readPointer;
      case Register.writePointer:
        return state.writePointer;
      case Register.mask:
        return state.mask;
      case Register.status:
        return state.status;
      case Register.modeControl:
        return state.modeControl;
      case Register.modeStatus:
        return autonegotiated;
      case Register.advertised:
        return state.advertised;
      case Register.partner:
        return 0x45e1;
      default: // the media status is 0: the link is up at 100 Mb/s
        return 0;
    }
  }

  writeBar(offset: number, size: AccessSize, value: number): void {
    const { state } = this;
    const bytes = [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff).slice(0, size);
    if (offset < Register.multicast + 8) {
      for (const [n, byte] of bytes.entries()) this.#writeAddress(offset + n, byte);
      return;
    }
    if (offset >= Register.sendStatus && offset < Register.ring) {
      if (size === 4 && offset % 4 === 0) this.#writeSend(offset, value);
      return;
    }
    switch (offset) {
      case Register.ring:
        if (size === 4) state.ring = value;
        return;
      case Register.command:
        this.#writeCommand(value);
        return;
      case Register.readPointer:
        if (size === 2) state.readPointer = value;
        return;
      case Register.mask:
        if (size >= 2) state.mask = value & 0xffff;
        if (size === 4) state.status &= ~(value >>> 16);
        break;
      case Register.status:
        state.status &= ~value & 0xffff;
        break;
      case Register.sendConfiguration:
        if (size === 4) state.sendConfiguration = ((value & ~versionMask) | version) >>> 0;
        return;
      case Register.receiveConfiguration:
        if (size === 4) state.receiveConfiguration = value;
        return;
      case Register.missed:
        state.missed = 0;
        return;
      case Register.eeprom:
        this.#writeEeprom(value & 0xff);
        return;
      case Register.modeControl:
        // Bits 15 and 9, reset and restart of the negotiation, end at once.
        if (size === 2) state.modeControl = value & 0x7dff;
        return;
      case Register.advertised:
        if (size === 2) state.advertised = value;
        return;
      default: // others do nothing here
        return;
    }
    this.drive();
  }

  #writeAddress(offset: number, byte: number): void {
    if (offset < 6) this.state.address[offset] = byte;
    else if (offset >= Register.multicast && offset < Register.multicast + 8)
      this.state.multicast[offset - Register.multicast] = byte;
  }

  #writeCommand(value: number): void {
    if (value & Command.reset) {
      this.resetChip(chipPowerOn(this.options.mac));
      return;
    }
    this.state.command = value & (Command.send | Command.receive);
    this.#schedule();
  }

  // --- EEPROM ---

  /** 93C46: a start bit, an opcode of two bits, six bits of address; then sixteen bits come out, behind a zero. */
  #writeEeprom(value: number): void {
    const { state } = this;
    const before = state.eeprom;
    state.eeprom = value & Eeprom.writable;
    if (!(value & Eeprom.select)) {
      Object.assign(state, { eepromCommand: 0, eepromBits: 0, eepromShown: 0 });
      return;
    }
    const rises = (value & Eeprom.clock) !== 0 && (before & Eeprom.clock) === 0;
    if (!rises) return;
    if (state.eepromBits === eepromCommandBits) {
      state.eepromShown = Math.min(state.eepromShown + 1, 17);
      return;
    }
    const bit = value & Eeprom.dataIn ? 1 : 0;
    // Zeros before the start bit count for nothing.
    if (state.eepromBits === 0 && bit === 0) return;
    state.eepromCommand = (state.eepromCommand << 1) | bit;
    state.eepromBits++;
  }

  #eepromOut(): number {
    const { eepromCommand, eepromBits, eepromShown } = this.state;
    if (eepromBits < eepromCommandBits || eepromCommand >> 6 !== readOpcode) return Eeprom.dataOut;
    if (eepromShown === 0 || eepromShown > 16) return 0;
    return (this.#eepromWord(eepromCommand & 0x3f) >> (16 - eepromShown)) & 1 ? Eeprom.dataOut : 0;
  }

  #eepromWord(at: number): number {
    const { mac } = this.options;
    if (at === 0) return eepromSignature;
    const n = (at - 7) * 2;
    return at >= 7 && at <= 9 ? (mac[n] ?? 0) | ((mac[n + 1] ?? 0) << 8) : 0;
  }

  // --- out ---

  /** 6.3: a size hands the buffer over. */
  #writeSend(offset: number, value: number): void {
    const { state } = this;
    const buffer = (offset >> 2) & 3;
    if (offset >= Register.sendAddress) {
      state.sendAddress[buffer] = value;
      return;
    }
    state.sendStatus[buffer] = (value & 0x3f_3fff) >>> 0;
    if (value & Send.own) return;
    state.waiting |= 1 << buffer;
    this.#schedule();
  }

  #schedule(): void {
    const { command, waiting } = this.state;
    if (command & Command.send && waiting !== 0) this.sendSoon();
  }

  protected override sendAll(): void {
    const { state } = this;
    const { memory, mtu, transmit } = this.options;
    for (let buffer = 0; buffer < bufferCount; buffer++) {
      if (!(state.waiting & (1 << buffer))) continue;
      const status = state.sendStatus[buffer] ?? 0;
      const length = status & Send.sizeMask;
      if (length >= ethernetHeaderBytes && length <= mtu + ethernetHeaderBytes + crcBytes)
        transmit(memory.read(state.sendAddress[buffer] ?? 0, length).slice());
      state.sendStatus[buffer] = (status | Send.own | Send.done) >>> 0;
    }
    state.waiting = 0;
    this.#raise(Interrupt.sent);
  }

  // --- in ---

  get #ringBytes(): number {
    return leastRingBytes << ((this.state.receiveConfiguration >>> 11) & 3);
  }

  get #isEmpty(): boolean {
    return (this.state.readPointer + pointerLag - this.state.writePointer) % this.#ringBytes === 0;
  }

  /** The largest frame that the driver takes now; 0 while it takes none. */
  get frameBytes(): number {
    return this.state.command & Command.receive ? this.options.mtu + ethernetHeaderBytes : 0;
  }

  /** A frame arrives. 0 when the ring has no room for it yet; undefined when it is done with, delivered or dropped. */
  receive(frame: Uint8Array): 0 | undefined {
    const { state } = this;
    const status = this.#packetStatus(frame);
    if (frame.length < ethernetHeaderBytes || frame.length > this.frameBytes || status === 0)
      return undefined;
    const length = Math.max(frame.length, leastFrameBytes) + crcBytes;
    const packet = new Uint8Array((headerBytes + length + 3) & ~3);
    packet.set([status & 0xff, status >> 8, length & 0xff, length >> 8]);
    packet.set(frame, headerBytes);
    const size = this.#ringBytes;
    const free = this.#isEmpty
      ? size
      : (state.readPointer + pointerLag - state.writePointer + 2 * size) % size;
    if (packet.length >= free) return 0;
    this.#put(packet, size);
    this.#raise(Interrupt.received);
    return undefined;
  }

  /** 6.9, WRAP: the packet goes on at the start of the ring, or beyond its end. */
  #put(packet: Uint8Array, size: number): void {
    const { memory } = this.options;
    const { state } = this;
    const at = state.writePointer % size;
    const fits =
      state.receiveConfiguration & Receive.noWrap ? packet.length : Math.min(packet.length, size - at);
    memory.write(state.ring + at, packet.subarray(0, fits));
    if (fits < packet.length) memory.write(state.ring, packet.subarray(fits));
    state.writePointer = (at + packet.length) % size;
  }

  /** 0: not for us. */
  #packetStatus(frame: Uint8Array): number {
    const { receiveConfiguration, address, multicast } = this.state;
    const target = frame.subarray(0, 6);
    const all = (receiveConfiguration & Receive.all) !== 0;
    if (target.every((byte) => byte === 0xff))
      return all || receiveConfiguration & Receive.broadcast ? PacketStatus.good | PacketStatus.broadcast : 0;
    if ((target[0] ?? 0) & 1) {
      const hash = crc32(target) >>> 26;
      const joined =
        receiveConfiguration & Receive.multicast && (multicast[hash >> 3] ?? 0) & (1 << (hash & 7));
      return all || joined ? PacketStatus.good | PacketStatus.multicast : 0;
    }
    const ours = target.every((byte, n) => byte === address[n]);
    if (ours && receiveConfiguration & (Receive.ours | Receive.all))
      return PacketStatus.good | PacketStatus.ours;
    return all ? PacketStatus.good : 0;
  }

  // --- interrupts ---

  #raise(cause: number): void {
    this.state.status |= cause;
    this.drive();
  }

  protected override get interrupts(): boolean {
    return (this.state.status & this.state.mask) !== 0;
  }

  protected override checkState(state: State): void {
    super.checkState(state);
    if (state.eepromBits > eepromCommandBits) this.refuseState('no command of the EEPROM is as long');
    if (state.waiting >> bufferCount !== 0) this.refuseState('a buffer waits that it does not have');
  }
}

/** IEEE 802.3, 3.2.9: of an address, most significant bit of the sum first, as the filter of groups has it. */
function crc32(data: Uint8Array): number {
  let crc = 0xffff_ffff;
  for (const byte of data)
    for (let bit = 0; bit < 8; bit++) {
      const carry = (crc >>> 31) ^ ((byte >> bit) & 1);
      crc = (crc << 1) ^ (carry ? 0x04c1_1db7 : 0);
    }
  return crc >>> 0;
}
