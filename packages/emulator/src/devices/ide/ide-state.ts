/** State of one IDE channel: two drives' registers, and the command that is being done. */
import { bool, bytesUpTo, i64, integer, nullable, oneOf, record, tuple, u8, type Infer } from '../schema.ts';
import { DeviceBit, Status, maxMultiple, signature } from './ata.ts';
import { cdPowerOn, cdSchema } from './atapi.ts';
import { busMasterPowerOn, busMasterSchema } from './bus-master.ts';

/** 32 sectors of a CD, or 128 of a disk: as much as moves at once. */
export const bufferBytes = 0x1_0000;

/** A register of 48-bit commands: what was written last, and what was written before that. */
const pair = tuple(u8, 2);
const drive = record({
  features: pair,
  sectorCount: pair,
  lbaLow: pair,
  lbaMid: pair,
  lbaHigh: pair,
  device: u8,
  status: u8,
  error: u8,
  /** READ and WRITE MULTIPLE: sectors a block; 0 is off. */
  multiple: u8,
  transferMode: u8,
  /** As INITIALIZE DEVICE PARAMETERS set them. */
  heads: integer(1, 16),
  sectors: integer(1, 255),
  /** Which of the drive's discs is in it. */
  medium: nullable(integer(0, 15)),
  cd: cdSchema,
});
export type DriveState = Infer<typeof drive>;

export const channelSchema = record({
  drives: tuple(drive, 2),
  selected: integer(0, 1),
  control: u8,
  interrupt: bool,
  /** What comes next: by itself at `dueAtNs`; for `dma…` without it, when the bus master is started; for `data…` as the host moves the data. */
  work: oneOf(
    'none',
    'finish',
    'readBlock',
    'dataIn',
    'dataOut',
    'writeBlock',
    'dmaRead',
    'dmaWrite',
    'packet',
    'cdBlock',
    'cdData',
    'cdDma',
  ),
  dueAtNs: nullable(i64),
  buffer: bytesUpTo(bufferBytes),
  position: integer(0, bufferBytes),
  /** End of what the host may move before the drive is busy again. */
  blockEnd: integer(0, bufferBytes),
  /** Sectors of one PIO block. */
  perBlock: integer(1, maxMultiple),
  /** Next sector and how many come, of 512 bytes (disk) or 2048 (CD). */
  sector: integer(0, 2 ** 48),
  left: integer(0, 2 ** 32),
  busMaster: busMasterSchema,
});
export type ChannelState = Infer<typeof channelSchema>;

export function driveReset(
  isCd: boolean,
): Omit<DriveState, 'multiple' | 'transferMode' | 'heads' | 'sectors' | 'medium' | 'cd'> {
  const { sectorCount, lbaLow, lbaMid, lbaHigh } = isCd ? signature.packet : signature.disk;
  return {
    features: [0, 0],
    sectorCount: [sectorCount, 0],
    lbaLow: [lbaLow, 0],
    lbaMid: [lbaMid, 0],
    lbaHigh: [lbaHigh, 0],
    device: DeviceBit.fixed,
    status: isCd ? 0 : Status.ready | Status.seekComplete,
    error: 1,
  };
}

function drivePowerOn(isCd: boolean): DriveState {
  return {
    ...driveReset(isCd),
    multiple: 0,
    transferMode: 0,
    heads: 16,
    sectors: 63,
    medium: isCd ? 0 : null,
    cd: cdPowerOn(),
  };
}

export function channelPowerOn(areCds: readonly boolean[]): ChannelState {
  return {
    drives: [drivePowerOn(areCds[0] ?? false), drivePowerOn(areCds[1] ?? false)],
    selected: 0,
    control: 0,
    interrupt: false,
    ...idle(),
    busMaster: busMasterPowerOn(),
  };
}

/** No command under way. */
export function idle(): Pick<
  ChannelState,
  'work' | 'dueAtNs' | 'buffer' | 'position' | 'blockEnd' | 'perBlock' | 'sector' | 'left'
> {
  return {
    work: 'none',
    dueAtNs: null,
    buffer: new Uint8Array(0),
    position: 0,
    blockEnd: 0,
    perBlock: 1,
    sector: 0,
    left: 0,
  };
}
