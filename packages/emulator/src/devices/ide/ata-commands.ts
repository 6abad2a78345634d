/** Commands of ATA/ATAPI-6, section 8, by what they do: take the address apart, check it, and set the channel going. */
import { sectorBytes } from '../block.ts';
import {
  Command,
  DeviceBit,
  ErrorBit,
  defaultGeometry,
  identifyCdDrive,
  identifyDisk,
  maxLba28,
  maxMultiple,
  signature,
  type Geometry,
} from './ata.ts';
import { packetBytes } from './atapi.ts';
import type { IdeChannel } from './ide-channel.ts';

interface Transfer {
  /** 48-bit addresses and counts. */
  wide: boolean;
  to: 'disk' | 'host';
  by: 'pio' | 'multiple' | 'dma';
}
const transfers: Readonly<Record<number, Transfer>> = {
  [Command.read]: { wide: false, to: 'host', by: 'pio' },
  [Command.readNoRetry]: { wide: false, to: 'host', by: 'pio' },
  [Command.readExt]: { wide: true, to: 'host', by: 'pio' },
  [Command.readMultiple]: { wide: false, to: 'host', by: 'multiple' },
  [Command.readMultipleExt]: { wide: true, to: 'host', by: 'multiple' },
  [Command.readDma]: { wide: false, to: 'host', by: 'dma' },
  [Command.readDmaNoRetry]: { wide: false, to: 'host', by: 'dma' },
  [Command.readDmaExt]: { wide: true, to: 'host', by: 'dma' },
  [Command.write]: { wide: false, to: 'disk', by: 'pio' },
  [Command.writeNoRetry]: { wide: false, to: 'disk', by: 'pio' },
  [Command.writeExt]: { wide: true, to: 'disk', by: 'pio' },
  [Command.writeMultiple]: { wide: false, to: 'disk', by: 'multiple' },
  [Command.writeMultipleExt]: { wide: true, to: 'disk', by: 'multiple' },
  [Command.writeDma]: { wide: false, to: 'disk', by: 'dma' },
  [Command.writeDmaNoRetry]: { wide: false, to: 'disk', by: 'dma' },
  [Command.writeDmaExt]: { wide: true, to: 'disk', by: 'dma' },
};

function byte(pair: readonly number[], which: 0 | 1): number {
  return pair[which] ?? 0;
}

/** 6.2: sector and count that the registers name; undefined where CHS names no sector of the drive. */
function addressed(channel: IdeChannel, wide: boolean): { sector: number; count: number } | undefined {
  const { drive } = channel;
  const low = byte(drive.lbaLow, 0) + byte(drive.lbaMid, 0) * 0x100 + byte(drive.lbaHigh, 0) * 0x1_0000;
  if (wide) {
    const high = byte(drive.lbaLow, 1) + byte(drive.lbaMid, 1) * 0x100 + byte(drive.lbaHigh, 1) * 0x1_0000;
    const count = byte(drive.sectorCount, 0) + byte(drive.sectorCount, 1) * 0x100;
    return { sector: high * 0x100_0000 + low, count: count === 0 ? 0x1_0000 : count };
  }
  const count = byte(drive.sectorCount, 0) || 0x100;
  if (drive.device & DeviceBit.lba) return { sector: (drive.device & 15) * 0x100_0000 + low, count };
  const cylinder = byte(drive.lbaMid, 0) + byte(drive.lbaHigh, 0) * 0x100;
  const head = drive.device & 15;
  const number = byte(drive.lbaLow, 0);
  if (number === 0 || number > drive.sectors || head >= drive.heads) return undefined;
  return { sector: (cylinder * drive.heads + head) * drive.sectors + number - 1, count };
}

function totalSectors(channel: IdeChannel): number {
  return Math.floor((channel.medium?.bytes ?? 0) / sectorBytes);
}

/** The range that the registers name, if it lies on the disk. */
function checkedRange(channel: IdeChannel, wide: boolean): { sector: number; count: number } | undefined {
  const range = addressed(channel, wide);
  if (range !== undefined && range.sector + range.count <= totalSectors(channel)) return range;
  channel.fail(ErrorBit.idNotFound | ErrorBit.abort);
  return undefined;
}

function startTransfer(channel: IdeChannel, { wide, to, by }: Transfer): void {
  const { state, drive, medium } = channel;
  if (by === 'multiple' && drive.multiple === 0) {
    channel.fail(ErrorBit.abort);
    return;
  }
  if (to === 'disk' && medium?.readOnly !== false) {
    channel.fail(ErrorBit.abort);
    return;
  }
  const range = checkedRange(channel, wide);
  if (range === undefined) return;
  state.sector = range.sector;
  state.left = range.count;
  state.perBlock = by === 'multiple' ? drive.multiple : 1;
  if (by === 'dma') channel.startDma(to === 'disk' ? 'dmaWrite' : 'dmaRead');
  else if (to === 'host') channel.later('readBlock');
  else {
    state.buffer = new Uint8Array(Math.min(state.perBlock, range.count) * sectorBytes);
    channel.offer('dataOut', state.buffer.length, false); // 9.6: no interrupt before the first block
  }
}

/** One block of the drive's own making for the host. */
function sendBlock(channel: IdeChannel, block: Uint8Array): void {
  channel.state.buffer = block;
  channel.offer('dataIn', block.length, true);
}

function identify(channel: IdeChannel): void {
  const { drive, medium, identity, second } = channel;
  if (channel.isCd) {
    // 8.15: a packet device aborts it and shows its signature.
    const { sectorCount, lbaLow, lbaMid, lbaHigh } = signature.packet;
    Object.assign(drive, {
      sectorCount: [sectorCount, 0],
      lbaLow: [lbaLow, 0],
      lbaMid: [lbaMid, 0],
      lbaHigh: [lbaHigh, 0],
    });
    channel.fail(ErrorBit.abort);
    return;
  }
  const bytes = medium?.bytes ?? 0;
  const cylinders = Math.floor(bytes / sectorBytes / (drive.heads * drive.sectors));
  const current: Geometry = {
    cylinders: Math.min(65_535, cylinders),
    heads: drive.heads,
    sectors: drive.sectors,
  };
  const { multiple, transferMode } = drive;
  sendBlock(
    channel,
    identifyDisk({
      identity,
      bytes,
      geometry: defaultGeometry(bytes),
      current,
      multiple,
      transferMode,
      second,
    }),
  );
}

/** 8.40: sets the current geometry, by which CHS addresses count from then on. */
function setGeometry(channel: IdeChannel): void {
  const { drive } = channel;
  const sectors = byte(drive.sectorCount, 0);
  if (sectors === 0) {
    channel.fail(ErrorBit.abort);
    return;
  }
  drive.sectors = sectors;
  drive.heads = (drive.device & 15) + 1;
  channel.finish();
}

function setMultiple(channel: IdeChannel): void {
  const { drive } = channel;
  const count = byte(drive.sectorCount, 0);
  if (count > maxMultiple || (count & (count - 1)) !== 0) {
    channel.fail(ErrorBit.abort);
    return;
  }
  drive.multiple = count;
  channel.finish();
}

/** 8.37: transfer modes, and switches of features that are always as they are. */
function setFeatures(channel: IdeChannel): void {
  const { drive } = channel;
  const Feature = {
    transferMode: 0x03,
    known: [0x02, 0x55, 0x66, 0x82, 0xaa, 0xcc, 0x05, 0x85, 0x67, 0x96, 0x42, 0xc2, 0x69, 0x90],
  } as const;
  const feature = byte(drive.features, 0);
  if (feature === Feature.transferMode) drive.transferMode = byte(drive.sectorCount, 0);
  else if (!Feature.known.some((one) => one === feature)) {
    channel.fail(ErrorBit.abort);
    return;
  }
  channel.finish();
}

function readNativeMax(channel: IdeChannel, wide: boolean): void {
  const { drive } = channel;
  const last = Math.min(totalSectors(channel) - 1, wide ? 2 ** 48 - 1 : maxLba28);
  const part = (n: number): number => Math.floor(last / 256 ** n) & 0xff;
  drive.lbaLow = [part(0), wide ? part(3) : 0];
  drive.lbaMid = [part(1), wide ? part(4) : 0];
  drive.lbaHigh = [part(2), wide ? part(5) : 0];
  if (!wide) drive.device = (drive.device & 0xf0) | (part(3) & 15);
  channel.finish();
}

const diskOnly: Readonly<Record<number, (channel: IdeChannel) => void>> = {
  [Command.setGeometry]: setGeometry,
  [Command.setMultiple]: setMultiple,
  [Command.readNativeMax]: (channel) => readNativeMax(channel, false),
  [Command.readNativeMaxExt]: (channel) => readNativeMax(channel, true),
  [Command.verify]: (channel) => verify(channel, false),
  [Command.verifyNoRetry]: (channel) => verify(channel, false),
  [Command.verifyExt]: (channel) => verify(channel, true),
  [Command.seek]: (channel) => verify(channel, false),
  [Command.flush]: flush,
  [Command.flushExt]: flush,
};

function verify(channel: IdeChannel, wide: boolean): void {
  if (checkedRange(channel, wide) !== undefined) channel.later('finish');
}

function flush(channel: IdeChannel): void {
  channel.medium?.flush();
  channel.later('finish');
}

const cdOnly: Readonly<Record<number, (channel: IdeChannel) => void>> = {
  [Command.packet]: (channel) => {
    channel.state.buffer = new Uint8Array(packetBytes);
    channel.drive.sectorCount[0] = 1; // interrupt reason: a command packet is expected
    channel.offer('packet', packetBytes, false);
  },
  [Command.identifyPacket]: (channel) => {
    const { identity, drive } = channel;
    sendBlock(channel, identifyCdDrive({ identity, transferMode: drive.transferMode }));
  },
};

/** What both kinds of drive know. */
function common(channel: IdeChannel, command: number): boolean {
  switch (command) {
    case Command.identify:
      identify(channel);
      return true;
    case Command.setFeatures:
      setFeatures(channel);
      return true;
    case Command.checkPower:
      channel.drive.sectorCount[0] = 0xff; // active
      channel.finish();
      return true;
    case Command.standbyNow:
    case Command.idleNow:
    case Command.standby:
    case Command.idle:
    case Command.sleep:
      channel.finish();
      return true;
    default:
      return false;
  }
}

/** Begins a command of the selected drive; what it does not know is aborted. */
export function startCommand(channel: IdeChannel, command: number): void {
  if (common(channel, command)) return;
  const transfer = channel.isCd ? undefined : transfers[command];
  const recalibrate = (command & 0xf0) === Command.recalibrate && !channel.isCd;
  const work = (channel.isCd ? cdOnly : diskOnly)[command];
  if (transfer !== undefined) startTransfer(channel, transfer);
  else if (recalibrate) channel.later('finish');
  else if (work !== undefined) work(channel);
  else channel.fail(ErrorBit.abort);
}
