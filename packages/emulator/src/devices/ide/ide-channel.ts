/**
 * One IDE channel with up to two drives: ATA/ATAPI-6 (T13/1410D). Each command ends a fixed virtual time after it began, so that no guest
 * sees how fast the host's disk is. A transfer goes in pieces of at most 64 KiB; between any two the state can be saved.
 */
import { sectorBytes, type BlockBackend } from '../block.ts';
import {
  followDueTime,
  type AccessSize,
  type Clock,
  type GuestMemory,
  type Line,
  type Timer,
} from '../device.ts';
import { Command, Control, DeviceBit, ErrorBit, Status, TaskFile, type DriveIdentity } from './ata.ts';
import { startCommand } from './ata-commands.ts';
import { cdSectorBytes, packetBytes, packetCommand } from './atapi.ts';
import {
  BusMasterCommand,
  BusMasterStatus,
  fromMemory,
  readBusMaster,
  toMemory,
  writeBusMaster,
} from './bus-master.ts';
import { bufferBytes, driveReset, idle, type ChannelState, type DriveState } from './ide-state.ts';

/** From command to answer, and for each byte moved by DMA: about what a disk behind a fast bus takes. */
const commandNs = 20_000n;
/** From one block of a PIO transfer to the next, which the drive has read ahead (or still keeps to be written). */
const nextBlockNs = 1_000n;
const bytesPerNs = 2;
const diskPiece = bufferBytes / sectorBytes;
const cdPiece = bufferBytes / cdSectorBytes;

/** What stands behind a drive number. A CD drive has discs, one of which may be in it. */
export interface Drive {
  kind: 'disk' | 'cd';
  identity: DriveIdentity;
  media: readonly BlockBackend[];
}

export interface ChannelOptions {
  name: string;
  drives: readonly (Drive | undefined)[];
  clock: Clock;
  memory: GuestMemory;
  irq: Line;
  /** The state now: it is replaced as a whole by a restore. */
  state: () => ChannelState;
}

export class IdeChannel {
  readonly #options: ChannelOptions;
  readonly #timer: Timer;

  constructor(options: ChannelOptions) {
    this.#options = options;
    this.#timer = options.clock.timer(options.name, () => {
      this.#work();
    });
  }

  get state(): ChannelState {
    return this.#options.state();
  }
  get drive(): DriveState {
    return this.state.drives[this.state.selected] as DriveState;
  }
  get #hardware(): Drive | undefined {
    return this.#options.drives[this.state.selected];
  }
  get isCd(): boolean {
    return this.#hardware?.kind === 'cd';
  }
  get second(): boolean {
    return this.state.selected === 1;
  }
  get identity(): DriveIdentity {
    return this.#hardware?.identity ?? { model: '', serial: '' };
  }
  /** The disk, or the disc that is in the drive. */
  get medium(): BlockBackend | undefined {
    const { media = [] } = this.#hardware ?? {};
    return media[this.isCd ? (this.drive.medium ?? -1) : 0];
  }

  // --- registers ---

  /** Task file, offsets 0 to 7. Only the data register is wider than a byte. */
  readTaskFile(register: number, size: AccessSize): number {
    if (register === TaskFile.data) return this.#readData(size);
    const { state, drive } = this;
    if (this.#options.drives.every((one) => one === undefined) || this.#hardware === undefined) return 0;
    const which = state.control & Control.highOrder ? 1 : 0;
    switch (register) {
      case TaskFile.error:
        return drive.error;
      case TaskFile.sectorCount:
        return drive.sectorCount[which] ?? 0;
      case TaskFile.lbaLow:
        return drive.lbaLow[which] ?? 0;
      case TaskFile.lbaMid:
        return drive.lbaMid[which] ?? 0;
      case TaskFile.lbaHigh:
        return drive.lbaHigh[which] ?? 0;
      case TaskFile.device:
        return drive.device;
      default: {
        const status = this.alternateStatus();
        state.interrupt = false;
        this.#drive();
        return status;
      }
    }
  }

  /** 7.3: as the status register, but leaves the interrupt pending. */
  alternateStatus(): number {
    if (this.#hardware === undefined) return 0;
    return this.state.control & Control.softwareReset ? Status.busy : this.drive.status;
  }

  writeTaskFile(register: number, size: AccessSize, value: number): void {
    const { state } = this;
    if (register === TaskFile.data) {
      this.#writeData(size, value);
      return;
    }
    if (register === TaskFile.command) {
      this.#command(value);
      return;
    }
    if (this.drive.status & (Status.busy | Status.dataRequest) && state.work !== 'none') return;
    state.control &= ~Control.highOrder;
    if (register === TaskFile.device) {
      state.selected = value & DeviceBit.second ? 1 : 0;
      for (const one of state.drives) one.device = value | DeviceBit.fixed;
      return;
    }
    // Both drives of a channel take what is written; the one that is selected goes by it.
    for (const one of state.drives) {
      const pairs = [undefined, one.features, one.sectorCount, one.lbaLow, one.lbaMid, one.lbaHigh];
      const target = pairs[register];
      if (target !== undefined) target.splice(0, 2, value, target[0] ?? 0);
    }
  }

  writeControl(value: number): void {
    const { state } = this;
    const before = state.control;
    state.control = value & (Control.interruptsOff | Control.softwareReset | Control.highOrder);
    if (before & Control.softwareReset && !(value & Control.softwareReset)) this.softwareReset();
    this.#drive();
  }

  /** 9.2: what is under way ends; both drives show their signature. */
  softwareReset(): void {
    const { state } = this;
    this.#timer.cancel();
    Object.assign(state, idle(), { selected: 0, interrupt: false });
    state.drives.forEach((one, n) => {
      Object.assign(one, driveReset(this.#options.drives[n]?.kind === 'cd'), { multiple: 0 });
    });
  }

  // --- commands ---

  #command(command: number): void {
    const { state } = this;
    if (this.#hardware === undefined && command !== Command.diagnostic) return;
    if (this.drive.status & Status.busy && command !== Command.deviceReset) return;
    this.#timer.cancel();
    Object.assign(state, idle(), { interrupt: false });
    this.#drive();
    if (command === Command.diagnostic || (command === Command.deviceReset && this.isCd)) {
      this.#signature(command === Command.diagnostic);
      return;
    }
    startCommand(this, command);
  }

  #signature(both: boolean): void {
    const { state } = this;
    state.drives.forEach((one, n) => {
      if (both || n === state.selected)
        Object.assign(one, driveReset(this.#options.drives[n]?.kind === 'cd'));
    });
    if (!both) return;
    state.selected = 0;
    this.finish();
  }

  /** Something happens after the time of a command. */
  later(work: ChannelState['work'], ns = commandNs): void {
    const { state, drive } = this;
    drive.status = Status.busy | Status.seekComplete;
    state.work = work;
    state.dueAtNs = this.#options.clock.now() + ns;
    this.#timer.arm(state.dueAtNs);
  }

  /** The command is over, with success. */
  finish(): void {
    this.#end(0);
  }

  /** The command is over: `error` holds bits of the error register. */
  fail(error: number): void {
    this.#end(error);
  }

  #end(error: number): void {
    const { state, drive } = this;
    Object.assign(state, idle());
    drive.error = error;
    drive.status = Status.ready | Status.seekComplete | (error === 0 ? 0 : Status.error);
    if (this.isCd) drive.sectorCount[0] = 3; // interrupt reason: to the host, completed
    state.busMaster.status &= ~BusMasterStatus.active;
    this.#interrupt();
  }

  #interrupt(): void {
    this.state.interrupt = true;
    this.state.busMaster.status |= BusMasterStatus.interrupt;
    this.#drive();
  }

  #drive(): void {
    const { interrupt, control } = this.state;
    this.#options.irq.set(interrupt && !(control & Control.interruptsOff));
  }

  /** The host may move the buffer up to `end` now. */
  offer(work: 'dataIn' | 'dataOut' | 'packet' | 'cdData', end: number, interrupt: boolean): void {
    const { state, drive } = this;
    state.work = work;
    state.blockEnd = end;
    drive.status = Status.ready | Status.seekComplete | Status.dataRequest;
    if (interrupt) this.#interrupt();
  }

  /** A DMA transfer goes on when the driver has started the bus master, which it may do before or after the command. */
  startDma(work: 'dmaRead' | 'dmaWrite' | 'cdDma'): void {
    const { state, drive } = this;
    state.work = work;
    drive.status = Status.ready | Status.seekComplete | Status.dataRequest;
    if (state.busMaster.command & BusMasterCommand.start) this.#nextPiece(commandNs);
  }

  #nextPiece(extraNs = 0n): void {
    const { state } = this;
    const unit = state.work === 'cdDma' ? cdSectorBytes : sectorBytes;
    const bytes = Math.min(state.left * unit, bufferBytes);
    this.later(state.work, extraNs + BigInt(Math.ceil(bytes / bytesPerNs)));
  }

  // --- data ---

  #readData(size: AccessSize): number {
    const { state } = this;
    if (state.work !== 'dataIn' && state.work !== 'cdData') return 0;
    let value = 0;
    for (let n = 0; n < size; n++) value |= (state.buffer[state.position + n] ?? 0) << (n * 8);
    state.position = Math.min(state.position + size, state.blockEnd);
    if (state.position === state.blockEnd) this.#dataTaken();
    return value >>> 0;
  }

  #dataTaken(): void {
    const { state, drive } = this;
    if (state.work === 'cdData') {
      this.later('cdBlock', nextBlockNs);
      return;
    }
    if (state.left > 0) {
      this.later('readBlock', nextBlockNs);
      return;
    }
    Object.assign(state, idle());
    drive.status = Status.ready | Status.seekComplete;
  }

  #writeData(size: AccessSize, value: number): void {
    const { state } = this;
    if (state.work !== 'dataOut' && state.work !== 'packet') return;
    for (let n = 0; n < size && state.position + n < state.blockEnd; n++)
      state.buffer[state.position + n] = (value >>> (n * 8)) & 0xff;
    state.position = Math.min(state.position + size, state.blockEnd);
    if (state.position < state.blockEnd) return;
    if (state.work === 'packet') this.#packet(state.buffer.slice(0, packetBytes));
    else this.later('writeBlock', nextBlockNs);
  }

  /** Bytes of whole items in front of the one that ends a block, at most `most`. */
  #beforeLast(size: AccessSize, most: number): number {
    const { position, blockEnd } = this.state;
    const room = Math.max(0, blockEnd - position - 1);
    return Math.min(most, room - (room % size));
  }

  /** Items in front of the one that ends the block, which only move the position. */
  readItems(size: AccessSize, into: Uint8Array): number {
    const { state } = this;
    if (state.work !== 'dataIn' && state.work !== 'cdData') return 0;
    const bytes = this.#beforeLast(size, into.length);
    into.set(state.buffer.subarray(state.position, state.position + bytes));
    state.position += bytes;
    return bytes / size;
  }

  writeItems(size: AccessSize, from: Uint8Array): number {
    const { state } = this;
    if (state.work !== 'dataOut' && state.work !== 'packet') return 0;
    const bytes = this.#beforeLast(size, from.length);
    state.buffer.set(from.subarray(0, bytes), state.position);
    state.position += bytes;
    return bytes / size;
  }

  // --- what happens by itself ---

  #work(): void {
    const { state } = this;
    state.dueAtNs = null;
    switch (state.work) {
      case 'finish':
        this.finish();
        return;
      case 'readBlock':
        this.#readBlock();
        return;
      case 'writeBlock':
        this.#writeBlock();
        return;
      case 'dmaRead':
      case 'dmaWrite':
        this.#dma(state.work);
        return;
      case 'cdBlock':
        this.#cdBlock();
        return;
      case 'cdDma':
        this.#cdDma();
        return;
      default:
    }
  }

  #readSectors(count: number, unit: number): Uint8Array {
    const { state } = this;
    const data = new Uint8Array(count * unit);
    const { medium } = this;
    const from = state.sector * unit;
    const inside = Math.max(0, Math.min(data.length, (medium?.bytes ?? 0) - from));
    if (inside > 0) medium?.read(from, data.subarray(0, inside)); // a CD's last sector may be cut short
    state.sector += count;
    state.left -= count;
    return data;
  }

  #readBlock(): void {
    const { state } = this;
    state.buffer = this.#readSectors(Math.min(state.left, state.perBlock), sectorBytes);
    state.position = 0;
    this.offer('dataIn', state.buffer.length, true);
  }

  #writeBlock(): void {
    const { state } = this;
    this.medium?.write(state.sector * sectorBytes, state.buffer);
    const count = state.buffer.length / sectorBytes;
    state.sector += count;
    state.left -= count;
    if (state.left === 0) {
      this.finish();
      return;
    }
    state.buffer = new Uint8Array(Math.min(count, state.left) * sectorBytes);
    state.position = 0;
    this.offer('dataOut', state.buffer.length, true);
  }

  #dma(work: 'dmaRead' | 'dmaWrite'): void {
    const { state } = this;
    const { memory } = this.#options;
    const count = Math.min(state.left, diskPiece);
    if (work === 'dmaRead') {
      if (!toMemory(state.busMaster, memory, this.#readSectors(count, sectorBytes))) {
        this.#dmaFailed();
        return;
      }
    } else {
      const data = fromMemory(state.busMaster, memory, count * sectorBytes);
      if (data === undefined) {
        this.#dmaFailed();
        return;
      }
      this.medium?.write(state.sector * sectorBytes, data);
      state.sector += count;
      state.left -= count;
    }
    if (state.left === 0) this.finish();
    else this.#nextPiece();
  }

  /** The table names less memory than the command moves. */
  #dmaFailed(): void {
    this.state.busMaster.status |= BusMasterStatus.error;
    this.fail(ErrorBit.abort);
  }

  // --- packets ---

  #packet(packet: Uint8Array): void {
    const { state, drive } = this;
    const byDma = ((drive.features[0] ?? 0) & 1) !== 0;
    const result = packetCommand(packet, drive.cd, { model: this.identity.model, disc: this.medium });
    Object.assign(state, idle());
    switch (result.kind) {
      case 'failed':
        this.#packetFailed();
        return;
      case 'tray':
        this.#moveTray(result.open);
        this.later('finish');
        return;
      case 'data':
        state.buffer = Uint8Array.from(result.bytes);
        break;
      case 'read':
        state.sector = result.sector;
        state.left = result.count;
        break;
      default:
        this.later('finish');
        return;
    }
    if (byDma) this.startDma('cdDma');
    else this.later('cdBlock');
  }

  /** The disc stays in the tray: closed again, the drive has it back. */
  #moveTray(open: boolean): void {
    const { cd, medium } = this.drive;
    if (cd.open === open) return;
    const back = !open && medium !== null;
    Object.assign(cd, { open, changed: back || cd.changed, event: back ? 2 : open ? 3 : 0 });
  }

  #packetFailed(): void {
    const { cd } = this.drive;
    this.fail((cd.senseKey << 4) | ErrorBit.abort);
  }

  /** The next block for the host, of at most as many bytes as it asked for in the byte count registers. */
  #cdBlock(): void {
    const { state, drive } = this;
    if (state.position >= state.buffer.length) {
      if (state.left === 0) {
        this.finish();
        return;
      }
      if (this.medium === undefined) {
        this.fail(ErrorBit.abort);
        return;
      }
      state.buffer = this.#readSectors(Math.min(state.left, cdPiece), cdSectorBytes);
      state.position = 0;
    }
    const asked = ((drive.lbaHigh[0] ?? 0) << 8) | (drive.lbaMid[0] ?? 0);
    const limit = asked === 0 || asked === 0xffff ? 0xfffe : asked;
    const rest = state.buffer.length - state.position;
    const size = rest > limit ? Math.max(2, limit & ~1) : rest;
    drive.lbaMid[0] = size & 0xff;
    drive.lbaHigh[0] = size >> 8;
    drive.sectorCount[0] = 2; // interrupt reason: data to the host
    this.offer('cdData', state.position + Math.min(size, rest), true);
  }

  #cdDma(): void {
    const { state } = this;
    if (state.buffer.length === 0) {
      if (this.medium === undefined) {
        this.fail(ErrorBit.abort);
        return;
      }
      state.buffer = this.#readSectors(Math.min(state.left, cdPiece), cdSectorBytes);
    }
    const moved = toMemory(state.busMaster, this.#options.memory, state.buffer);
    state.buffer = new Uint8Array(0);
    if (!moved) this.#dmaFailed();
    else if (state.left === 0) this.finish();
    else this.#nextPiece();
  }

  // --- bus master ---

  readBusMaster(register: number): number {
    return readBusMaster(this.state.busMaster, register);
  }

  writeBusMaster(register: number, value: number): void {
    const { state } = this;
    const change = writeBusMaster(state.busMaster, register, value);
    const waits = state.work === 'dmaRead' || state.work === 'dmaWrite' || state.work === 'cdDma';
    if (!waits) return;
    if (change === 'started' && state.dueAtNs === null) this.#nextPiece(commandNs);
    if (change === 'stopped') {
      state.dueAtNs = null;
      this.#timer.cancel();
    }
  }

  // --- discs ---

  /** Puts a disc in, or (null) takes it out. False when software holds the door. */
  changeDisc(drive: number, medium: number | null): boolean {
    const one = this.state.drives[drive];
    const hardware = this.#options.drives[drive];
    if (one === undefined || hardware?.kind !== 'cd') return false;
    if (medium !== null && hardware.media[medium] === undefined) return false;
    if (medium === null && one.cd.locked) {
      one.cd.event = 1;
      return false;
    }
    one.medium = medium;
    Object.assign(one.cd, { changed: medium !== null, open: false, event: medium === null ? 3 : 2 });
    return true;
  }

  /** After a restore or a reset: timer and line follow the state. */
  stateChanged(): void {
    followDueTime(this.#timer, this.state.dueAtNs);
    this.#drive();
  }
}
