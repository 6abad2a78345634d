/** Names of ATA/ATAPI-6 (T13/1410D revision 3b): registers, bits, commands, and what IDENTIFY answers. */
import { sectorBytes } from '../block.ts';

/** Offsets from the command block's first port. */
// prettier-ignore
export const TaskFile = {
  data: 0, error: 1, features: 1, sectorCount: 2, lbaLow: 3, lbaMid: 4, lbaHigh: 5, device: 6, status: 7, command: 7,
} as const;
/** 7.15 */
export const Status = {
  error: 0x01,
  index: 0x02,
  dataRequest: 0x08,
  seekComplete: 0x10,
  deviceFault: 0x20,
  ready: 0x40,
  busy: 0x80,
} as const;
/** 7.9 */
export const ErrorBit = { abort: 0x04, idNotFound: 0x10, uncorrectable: 0x40 } as const;
export const DeviceBit = { lba: 0x40, second: 0x10, fixed: 0xa0 } as const;
/** 7.8 */
export const Control = { interruptsOff: 0x02, softwareReset: 0x04, highOrder: 0x80 } as const;

// prettier-ignore
export const Command = {
  nop: 0x00, deviceReset: 0x08, recalibrate: 0x10, read: 0x20, readNoRetry: 0x21, readExt: 0x24, readDmaExt: 0x25, readNativeMaxExt: 0x27,
  readMultipleExt: 0x29, write: 0x30, writeNoRetry: 0x31, writeExt: 0x34, writeDmaExt: 0x35, writeMultipleExt: 0x39, verify: 0x40,
  verifyNoRetry: 0x41, verifyExt: 0x42, seek: 0x70, diagnostic: 0x90, setGeometry: 0x91, packet: 0xa0, identifyPacket: 0xa1,
  readMultiple: 0xc4, writeMultiple: 0xc5, setMultiple: 0xc6, readDma: 0xc8, readDmaNoRetry: 0xc9, writeDma: 0xca, writeDmaNoRetry: 0xcb,
  standbyNow: 0xe0, idleNow: 0xe1, standby: 0xe2, idle: 0xe3, checkPower: 0xe5, sleep: 0xe6, flush: 0xe7, flushExt: 0xea, identify: 0xec,
  setFeatures: 0xef, readNativeMax: 0xf8,
} as const;

/** 9.12: what a device leaves in its registers after a reset, by which software tells a disk from a packet device. */
export const signature = {
  disk: { sectorCount: 1, lbaLow: 1, lbaMid: 0, lbaHigh: 0 },
  packet: { sectorCount: 1, lbaLow: 1, lbaMid: 0x14, lbaHigh: 0xeb },
} as const;

export interface Geometry {
  cylinders: number;
  heads: number;
  sectors: number;
}

/** 6.2: 16 heads of 63 sectors up to 8.4 GB; smaller disks of old images have the same. */
export function defaultGeometry(bytes: number): Geometry {
  const heads = 16;
  const sectors = 63;
  const cylinders = Math.floor(bytes / (heads * sectors * sectorBytes));
  return { cylinders: Math.max(1, Math.min(16_383, cylinders)), heads, sectors };
}

export const maxMultiple = 16;
/** 8.15: largest LBA that 28 bits hold, and the number of sectors that says "there are more". */
export const maxLba28 = 0x0fff_ffff;

/** Puts text into words as ATA has it: the first character in the high byte, padded with spaces. */
function putText(words: DataView, word: number, length: number, text: string): void {
  for (let n = 0; n < length * 2; n++) words.setUint8((word * 2 + n) ^ 1, text.charCodeAt(n) || 0x20);
}

export interface DriveIdentity {
  model: string;
  serial: string;
}
const firmware = '1.0';

/** What the transfer-mode words say: PIO 3-4, multiword DMA 0-2, Ultra DMA 0-5, none of them slower than another here. */
function putTransferModes(words: DataView, selected: number): void {
  const word = (n: number, value: number): void => {
    words.setUint16(n * 2, value, true);
  };
  const mode = selected & 7;
  word(53, 0x0007); // words 54-58, 64-70 and 88 are valid
  word(63, 0x0007 | ((selected & 0xf8) === 0x20 ? 0x100 << mode : 0));
  word(64, 0x0003);
  for (const n of [65, 66, 67, 68]) word(n, 120);
  word(88, 0x003f | ((selected & 0xf8) === 0x40 ? 0x100 << mode : 0));
}

/** 8.15 IDENTIFY DEVICE. */
export function identifyDisk(options: {
  identity: DriveIdentity;
  bytes: number;
  geometry: Geometry;
  /** As INITIALIZE DEVICE PARAMETERS set it. */
  current: Geometry;
  multiple: number;
  transferMode: number;
  second: boolean;
}): Uint8Array {
  const { identity, bytes, geometry, current, multiple, transferMode, second } = options;
  const block = new Uint8Array(sectorBytes);
  const words = new DataView(block.buffer);
  const word = (n: number, value: number): void => {
    words.setUint16(n * 2, value, true);
  };
  const sectors = bytes / sectorBytes;
  word(0, 0x0040);
  word(1, geometry.cylinders);
  word(3, geometry.heads);
  word(6, geometry.sectors);
  putText(words, 10, 10, identity.serial);
  putText(words, 23, 4, firmware);
  putText(words, 27, 20, identity.model);
  word(47, 0x8000 | maxMultiple);
  word(49, 0x0b00); // LBA, DMA, standby timer
  word(50, 0x4000);
  word(54, current.cylinders);
  word(55, current.heads);
  word(56, current.sectors);
  words.setUint32(57 * 2, current.cylinders * current.heads * current.sectors, true);
  word(59, multiple > 0 ? 0x100 | multiple : 0);
  words.setUint32(60 * 2, Math.min(sectors, maxLba28), true);
  putTransferModes(words, transferMode);
  word(80, 0x007e); // ATA-1 to ATA-6
  word(82, 0x4020); // NOP, write cache
  word(83, 0x7400); // FLUSH CACHE EXT, FLUSH CACHE, 48-bit addresses
  word(84, 0x4000);
  word(85, 0x4020);
  word(86, 0x3400);
  word(87, 0x4000);
  word(93, second ? 0x4b00 : 0x400b); // hardware reset result: 80-conductor cable, jumpers
  words.setUint32(100 * 2, sectors % 2 ** 32, true);
  words.setUint32(102 * 2, Math.floor(sectors / 2 ** 32), true);
  return block;
}

/** 8.16 IDENTIFY PACKET DEVICE: a CD-ROM drive with packets of 12 bytes. */
export function identifyCdDrive({
  identity,
  transferMode,
}: {
  identity: DriveIdentity;
  transferMode: number;
}): Uint8Array {
  const block = new Uint8Array(sectorBytes);
  const words = new DataView(block.buffer);
  const word = (n: number, value: number): void => {
    words.setUint16(n * 2, value, true);
  };
  word(0, 0x85c0); // ATAPI, CD-ROM, removable, DRQ within 50 us, 12-byte packets
  putText(words, 10, 10, identity.serial);
  putText(words, 23, 4, firmware);
  putText(words, 27, 20, identity.model);
  word(49, 0x0b00);
  word(50, 0x4000);
  putTransferModes(words, transferMode);
  word(80, 0x007e);
  word(82, 0x4210); // NOP, DEVICE RESET, PACKET
  word(83, 0x4000);
  word(84, 0x4000);
  word(85, 0x4210);
  word(87, 0x4000);
  word(93, 0x400b);
  return block;
}
