/**
 * What the registers EECD and MDIC of an 82540EM lead to: the serial EEPROM (PCI/PCI-X Family of Gigabit Ethernet Controllers Software
 * Developer's Manual, 317453, section 5) and the PHY, a Marvell 88E1011 (sections 8 and 13.4).
 */
import { list, record, u16, u32, u8, type Infer } from '../schema.ts';

/** 13.4.3 */
const Eecd = {
  clock: 1,
  select: 2,
  dataIn: 4,
  dataOut: 8,
  request: 0x40,
  grant: 0x80,
  present: 0x100,
} as const;
const eecdWritable = Eecd.clock | Eecd.select | Eecd.dataIn | 0x30 | Eecd.request;
/** 5.1: start bit and opcode of a read, then six bits of address. */
const readOpcode = 6;
const commandBits = 9;
const wordCount = 64;
/** 5.6.35: all words add up to this. */
const checksum = 0xbaba;

export const eepromSchema = record({
  eecd: u32,
  /** Bits of a command so far, and how many of them. */
  command: u16,
  commandBits: u8,
  /** Which bit of the contents DO shows, modulo the contents; while `reading`. */
  position: u16,
  reading: u8,
});
type EepromState = Infer<typeof eepromSchema>;

export function eepromPowerOn(): EepromState {
  return { eecd: 0, command: 0, commandBits: 0, position: 0, reading: 0 };
}

export function eepromContents(mac: Uint8Array): Uint16Array {
  const words = new Uint16Array(wordCount);
  for (let n = 0; n < 3; n++) words[n] = (mac[n * 2] ?? 0) | ((mac[n * 2 + 1] ?? 0) << 8);
  words.set([0x1af4, 0x1100, 0x8086, 0x100e].reverse(), 0x0b);
  words[wordCount - 1] = checksum - words.reduce((sum, word) => sum + word, 0);
  return words;
}

export function readEecd(state: EepromState, contents: Uint16Array): number {
  const word = contents[(state.position >> 4) % wordCount] ?? 0;
  const bit = state.reading === 0 ? 1 : (word >> (15 - (state.position & 15))) & 1;
  return state.eecd | Eecd.present | Eecd.grant | (bit ? Eecd.dataOut : 0);
}

/** Bits go in with the rising clock, and come out with the falling. */
export function writeEecd(state: EepromState, value: number): void {
  const before = state.eecd;
  state.eecd = value & eecdWritable;
  if (!(value & Eecd.select)) return;
  if (!(before & Eecd.select)) Object.assign(state, { command: 0, commandBits: 0, position: 0, reading: 0 });
  if (((value ^ before) & Eecd.clock) === 0) return;
  if (!(value & Eecd.clock)) {
    state.position = (state.position + 1) & 0x3ff;
    return;
  }
  if (state.commandBits >= commandBits) return;
  state.command = (state.command << 1) | (value & Eecd.dataIn ? 1 : 0);
  state.commandBits++;
  if (state.commandBits < commandBits) return;
  state.reading = state.command >> 6 === readOpcode ? 1 : 0;
  // The clock falls once before the first bit is looked at.
  state.position = ((state.command & 0x3f) * 16 - 1) & 0x3ff;
}

/** 13.4.7 */
const Mdic = { write: 1, read: 2, ready: 0x1000_0000, error: 0x4000_0000 } as const;
const phyAddress = 1;
export const phyRegisterCount = 32;
const Phy = {
  control: 0,
  status: 1,
  id1: 2,
  id2: 3,
  advertise: 4,
  partner: 5,
  expansion: 6,
  control1000: 9,
  status1000: 10,
  extended: 15,
  specificControl: 16,
  specificStatus: 17,
  extendedControl: 20,
} as const;
/** Bits of the control register that end by themselves: reset, restart of the negotiation. */
const selfClearing = 0x8200;
const phyWritable: readonly number[] = [
  Phy.control,
  Phy.advertise,
  Phy.control1000,
  Phy.specificControl,
  Phy.extendedControl,
];
export const phySchema = list(u16, phyRegisterCount);

/** The link is there, negotiated, at 1000 Mb/s in both directions. */
export function phyPowerOn(): number[] {
  const registers = Array<number>(phyRegisterCount).fill(0);
  registers[Phy.control] = 0x1140;
  registers[Phy.status] = 0x796d;
  registers[Phy.id1] = 0x0141;
  registers[Phy.id2] = 0x0c20;
  registers[Phy.advertise] = 0x0de1;
  registers[Phy.partner] = 0x45e1;
  registers[Phy.expansion] = 0x0001;
  registers[Phy.control1000] = 0x0e00;
  registers[Phy.status1000] = 0x3c00;
  registers[Phy.extended] = 0x3000;
  registers[Phy.specificControl] = 0x0360;
  registers[Phy.specificStatus] = 0xac00;
  registers[Phy.extendedControl] = 0x0d60;
  return registers;
}

/** What MDIC reads after a command; it is done at once. */
export function phyCommand(phy: number[], command: number): number {
  const register = (command >>> 16) & 0x1f;
  const operation = (command >>> 26) & 3;
  const echo = command & 0x2fff_0000;
  if (((command >>> 21) & 0x1f) !== phyAddress) return (echo | Mdic.error | Mdic.ready) >>> 0;
  if (operation === Mdic.read) return (echo | (phy[register] ?? 0) | Mdic.ready) >>> 0;
  if (operation === Mdic.write && phyWritable.includes(register))
    phy[register] = command & (register === Phy.control ? 0xffff & ~selfClearing : 0xffff);
  return (echo | (command & 0xffff) | Mdic.ready) >>> 0;
}
