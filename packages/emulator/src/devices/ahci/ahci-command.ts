/**
 * What a disk does with a command that comes in a frame: Serial ATA revision 3.0, section 10.3 (Frame Information Structures), and ATA/ATAPI-6,
 * section 8, of which drivers of AHCI use the commands with DMA, and few others.
 */
import { sectorBytes, type BlockBackend } from '../block.ts';
import { Command, defaultGeometry, identifyDisk, type DriveIdentity } from '../ide/ata.ts';

/** 10.3.1: types of frame. */
const FrameType = { toDevice: 0x27, toHost: 0x34, pioSetup: 0x5f } as const;
export const frameBytes = 20;
const isCommandBit = 0x80;
/** A control frame with this bit begins a reset by software; one without ends it. */
const softwareReset = 0x04;
const interruptBit = 0x40;

/** Status and error registers of a device. */
export const TaskStatus = { idle: 0x50, failed: 0x51, none: 0x7f } as const;
export const abortError = 0x04;

/** What is to be done. */
export type Work =
  /** `at`: byte offset on the disk. */
  | { kind: 'read' | 'write'; at: number; bytes: number; pio: boolean }
  /** A block of the device's own making. */
  | { kind: 'block'; block: Uint8Array }
  | { kind: 'flush' | 'nothing' }
  | { kind: 'reset'; begin: boolean }
  | { kind: 'abort' };

interface Transfer {
  kind: 'read' | 'write';
  wide: boolean;
  pio: boolean;
}
const transfers: Readonly<Record<number, Transfer>> = {
  [Command.read]: { kind: 'read', wide: false, pio: true },
  [Command.readExt]: { kind: 'read', wide: true, pio: true },
  [Command.readDma]: { kind: 'read', wide: false, pio: false },
  [Command.readDmaExt]: { kind: 'read', wide: true, pio: false },
  [Command.write]: { kind: 'write', wide: false, pio: true },
  [Command.writeExt]: { kind: 'write', wide: true, pio: true },
  [Command.writeDma]: { kind: 'write', wide: false, pio: false },
  [Command.writeDmaExt]: { kind: 'write', wide: true, pio: false },
};
/** Those that end well and change nothing: modes and power states are always as they are. */
// prettier-ignore
const idle: readonly number[] = [
  Command.setFeatures, Command.checkPower, Command.standbyNow, Command.idleNow, Command.standby, Command.idle, Command.sleep, Command.setMultiple,
];

/** 10.3.4: LBA and count of a register frame. */
function range(frame: Uint8Array, wide: boolean): { sector: number; count: number } {
  const byte = (at: number): number => frame[at] ?? 0;
  const low = byte(4) + byte(5) * 0x100 + byte(6) * 0x1_0000;
  if (!wide) return { sector: low + (byte(7) & 15) * 0x100_0000, count: byte(12) || 0x100 };
  const high = byte(8) + byte(9) * 0x100 + byte(10) * 0x1_0000;
  return { sector: low + high * 0x100_0000, count: byte(12) + byte(13) * 0x100 || 0x1_0000 };
}

function identify(disk: BlockBackend, identity: DriveIdentity): Uint8Array {
  const geometry = defaultGeometry(disk.bytes);
  const block = identifyDisk({
    identity,
    bytes: disk.bytes,
    geometry,
    current: geometry,
    multiple: 0,
    transferMode: 0x45,
    second: false,
  });
  const words = new DataView(block.buffer, block.byteOffset);
  words.setUint16(76 * 2, 0x0002, true); // Serial ATA at 1.5 Gb/s, without queues
  words.setUint16(93 * 2, 0, true); // no cable of parallel ATA
  return block;
}

export function decode(frame: Uint8Array, disk: BlockBackend, identity: DriveIdentity): Work {
  if (frame[0] !== FrameType.toDevice) return { kind: 'abort' };
  if (!((frame[1] ?? 0) & isCommandBit))
    return { kind: 'reset', begin: ((frame[15] ?? 0) & softwareReset) !== 0 };
  const command = frame[2] ?? 0;
  const transfer = transfers[command];
  if (transfer !== undefined) {
    const { sector, count } = range(frame, transfer.wide);
    const { kind, pio } = transfer;
    const fits = sector + count <= Math.floor(disk.bytes / sectorBytes);
    if (!fits || (kind === 'write' && disk.readOnly)) return { kind: 'abort' };
    return { kind, at: sector * sectorBytes, bytes: count * sectorBytes, pio };
  }
  if (command === Command.identify) return { kind: 'block', block: identify(disk, identity) };
  if (command === Command.flush || command === Command.flushExt) return { kind: 'flush' };
  const isVerify = command === Command.verify || command === Command.verifyExt;
  return { kind: idle.includes(command) || isVerify ? 'nothing' : 'abort' };
}

/** 10.3.5: the frame by which a device says how a command ended. */
export function toHostFrame(status: number, error: number): Uint8Array {
  const frame = new Uint8Array(frameBytes);
  frame.set([FrameType.toHost, interruptBit, status, error]);
  return frame;
}

/** 9.12 of ATA: as `toHostFrame`, with the signature of a disk. */
export function signatureFrame(): Uint8Array {
  const frame = toHostFrame(TaskStatus.idle, 1);
  frame[4] = 1;
  frame[12] = 1;
  return frame;
}
export const diskSignature = 0x0000_0101;

/** 10.3.11: before the data of a command without DMA. */
export function pioSetupFrame(bytes: number): Uint8Array {
  const frame = new Uint8Array(frameBytes);
  frame.set([FrameType.pioSetup, interruptBit | 0x20, 0x58, 0]);
  frame[15] = TaskStatus.idle;
  frame[16] = bytes & 0xff;
  frame[17] = (bytes >> 8) & 0xff;
  return frame;
}
