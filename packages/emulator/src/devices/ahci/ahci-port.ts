/**
 * One port of an AHCI controller with the disk behind it: Serial ATA Advanced Host Controller Interface 1.3.1, sections 3.3 and 4. Commands
 * are done one after the other, lowest slot first, each in steps of at most 64 KiB a fixed virtual time apart, so that a checkpoint may
 * fall between two. Lists and tables in guest memory are taken as hostile: what they name is bounded, and an error stops the port.
 */
import { sectorBytes, type BlockBackend } from '../block.ts';
import { followDueTime, type Clock, type GuestMemory, type Timer } from '../device.ts';
import type { DriveIdentity } from '../ide/ata.ts';
import { bool, i64, nullable, record, u32, u8, type Infer } from '../schema.ts';
import {
  abortError,
  decode,
  diskSignature,
  frameBytes,
  pioSetupFrame,
  signatureFrame,
  TaskStatus,
  toHostFrame,
  type Work,
} from './ahci-command.ts';

/** 3.3: offsets in a port's 128 bytes. */
// prettier-ignore
const Register = {
  list: 0x00, listHigh: 0x04, received: 0x08, receivedHigh: 0x0c, interruptStatus: 0x10, interruptEnable: 0x14, command: 0x18, taskFile: 0x20,
  signature: 0x24, sataStatus: 0x28, sataControl: 0x2c, sataError: 0x30, active: 0x34, issue: 0x38,
} as const;
/** 3.3.7 */
const Command = {
  start: 0x0001,
  spinUp: 0x0002,
  powerOn: 0x0004,
  receive: 0x0010,
  receiveRuns: 0x4000,
  listRuns: 0x8000,
} as const;
const writableCommand = Command.start | Command.spinUp | Command.powerOn | Command.receive;
/** 3.3.5 */
const Interrupt = {
  toHost: 0x0000_0001,
  pioSetup: 0x0000_0002,
  overflow: 0x0100_0000,
  taskFile: 0x4000_0000,
} as const;
const interruptBits = 0xfdc0_00ff;
/** 3.3.10: a device is there, at 1.5 Gb/s, and awake. */
const linkUp = 0x113;
const detectionBits = 0x0f;
/** 4.2: where in the receive area frames go; 4.2.2, 4.2.3: headers, tables. */
const Received = { pioSetup: 0x20, toHost: 0x40 } as const;
const headerBytes = 32;
const slotCount = 32;
const regionTable = 0x80;
const regionBytes = 16;
const maxRegionBytes = 0x40_0000;

const stepBytes = 0x1_0000;
const maxRegionsAtOnce = 256;
const latencyNs = 50_000n;

export const portSchema = record({
  list: u32,
  listHigh: u32,
  received: u32,
  receivedHigh: u32,
  interruptStatus: u32,
  interruptEnable: u32,
  command: u32,
  taskFile: u32,
  sataControl: u32,
  sataError: u32,
  issue: u32,
  /** The command under way: its slot, bytes that are done, and the region and offset in it that come next. */
  slot: nullable(u8),
  done: u32,
  region: u32,
  regionOffset: u32,
  /** An error stopped the port until software starts it again. */
  stopped: bool,
  dueAtNs: nullable(i64),
});
export type PortState = Infer<typeof portSchema>;

export function portPowerOn(): PortState {
  return {
    list: 0,
    listHigh: 0,
    received: 0,
    receivedHigh: 0,
    interruptStatus: 0,
    interruptEnable: 0,
    command: 0,
    taskFile: TaskStatus.idle | 0x100,
    sataControl: 0,
    sataError: 0,
    issue: 0,
    slot: null,
    done: 0,
    region: 0,
    regionOffset: 0,
    stopped: false,
    dueAtNs: null,
  };
}

export interface PortOptions {
  name: string;
  disk: BlockBackend;
  identity: DriveIdentity;
  memory: GuestMemory;
  clock: Clock;
  state: () => PortState;
  /** Its interrupt status or enable changed. */
  changed: () => void;
}

export class AhciPort {
  readonly #options: PortOptions;
  readonly #timer: Timer;

  constructor(options: PortOptions) {
    this.#options = options;
    this.#timer = options.clock.timer(options.name, () => {
      this.#step();
    });
  }

  get #state(): PortState {
    return this.#options.state();
  }

  get interrupts(): boolean {
    const { interruptStatus, interruptEnable } = this.#state;
    return (interruptStatus & interruptEnable) !== 0;
  }

  read(offset: number): number {
    const state = this.#state;
    switch (offset) {
      case Register.list:
        return state.list;
      case Register.listHigh:
        return state.listHigh;
      case Register.received:
        return state.received;
      case Register.receivedHigh:
        return state.receivedHigh;
      case Register.interruptStatus:
        return state.interruptStatus;
      case Register.interruptEnable:
        return state.interruptEnable;
      case Register.command: {
        const runs = state.command & Command.start ? Command.listRuns | ((state.slot ?? 0) << 8) : 0;
        return state.command | runs | (state.command & Command.receive ? Command.receiveRuns : 0);
      }
      case Register.taskFile:
        // Busy while a command is under way.
        return state.slot === null ? state.taskFile : (state.taskFile & 0xff00) | 0x80;
      case Register.signature:
        return diskSignature;
      case Register.sataStatus:
        return linkUp;
      case Register.sataControl:
        return state.sataControl;
      case Register.sataError:
        return state.sataError;
      case Register.issue:
        return state.issue;
      default:
        return 0;
    }
  }

  write(offset: number, value: number): void {
    const state = this.#state;
    switch (offset) {
      case Register.list:
        state.list = (value & ~0x3ff) >>> 0;
        return;
      case Register.listHigh:
        state.listHigh = value;
        return;
      case Register.received:
        state.received = (value & ~0xff) >>> 0;
        return;
      case Register.receivedHigh:
        state.receivedHigh = value;
        return;
      case Register.interruptStatus:
        state.interruptStatus = (state.interruptStatus & ~value) >>> 0;
        break;
      case Register.interruptEnable:
        state.interruptEnable = (value & interruptBits) >>> 0;
        break;
      case Register.command:
        this.#writeCommand(value);
        break;
      case Register.sataControl:
        this.#writeSataControl(value);
        return;
      case Register.sataError:
        state.sataError = (state.sataError & ~value) >>> 0;
        return;
      case Register.issue:
        if (state.command & Command.start) state.issue = (state.issue | value) >>> 0;
        this.#schedule();
        return;
      default: // others are read-only
    }
    this.#options.changed();
  }

  #writeCommand(value: number): void {
    const state = this.#state;
    const before = state.command;
    state.command = value & writableCommand;
    if (before & Command.start && !(value & Command.start)) this.#stop();
    if (!(before & Command.receive) && value & Command.receive)
      this.#receive(Received.toHost, signatureFrame());
  }

  /** 3.3.7, ST: software takes its commands back. */
  #stop(): void {
    Object.assign(this.#state, { issue: 0, slot: null, stopped: false, dueAtNs: null });
    this.#timer.cancel();
  }

  /** 3.3.11, DET: the end of a COMRESET brings the signature. */
  #writeSataControl(value: number): void {
    const state = this.#state;
    const begun = (state.sataControl & detectionBits) === 1;
    state.sataControl = value & 0xfff;
    if (begun && (value & detectionBits) === 0) this.#showSignature();
  }

  #showSignature(): void {
    this.#state.taskFile = TaskStatus.idle | 0x100;
    this.#receive(Received.toHost, signatureFrame());
  }

  #receive(offset: number, frame: Uint8Array): void {
    const { command, received, receivedHigh } = this.#state;
    if (command & Command.receive)
      this.#options.memory.write(receivedHigh * 2 ** 32 + received + offset, frame);
  }

  #raise(cause: number): void {
    this.#state.interruptStatus = (this.#state.interruptStatus | cause) >>> 0;
    this.#options.changed();
  }

  // --- commands ---

  #schedule(): void {
    const state = this.#state;
    const idle = state.issue === 0 && state.slot === null;
    if (!(state.command & Command.start) || state.stopped || idle || state.dueAtNs !== null) return;
    state.dueAtNs = this.#options.clock.now() + latencyNs;
    this.#timer.arm(state.dueAtNs);
  }

  /** Begins the next command, or goes on with the one under way. */
  #step(): void {
    const state = this.#state;
    state.dueAtNs = null;
    if (state.slot === null) {
      const slot = Array.from({ length: slotCount }, (_, n) => n).find((n) => (state.issue >>> n) & 1);
      if (slot === undefined) return;
      Object.assign(state, { slot, done: 0, region: 0, regionOffset: 0 });
    }
    this.#work(state.slot ?? 0);
    this.#schedule();
  }

  #work(slot: number): void {
    const { memory, disk, identity } = this.#options;
    const state = this.#state;
    const header = viewOf(memory, state.listHigh * 2 ** 32 + state.list + slot * headerBytes, headerBytes);
    const table = header.getUint32(12, true) * 2 ** 32 + ((header.getUint32(8, true) & ~0x7f) >>> 0);
    const regions = header.getUint16(2, true);
    const work = decode(memory.read(table, frameBytes), disk, identity);
    switch (work.kind) {
      case 'abort':
        this.#fail(Interrupt.taskFile, abortError);
        return;
      case 'reset':
        if (!work.begin) this.#showSignature();
        this.#end(work);
        return;
      case 'flush':
        disk.flush();
        this.#end(work);
        return;
      case 'nothing':
        this.#end(work);
        return;
      default:
        this.#move(work, table, regions);
    }
  }

  /** One step of a transfer. */
  #move(work: Extract<Work, { kind: 'read' | 'write' | 'block' }>, table: number, regions: number): void {
    const state = this.#state;
    const total = work.kind === 'block' ? work.block.length : work.bytes;
    const end = Math.min(total, state.done + stepBytes);
    for (let n = 0; state.done < end && n < maxRegionsAtOnce; n++) {
      if (state.region >= regions) {
        this.#fail(Interrupt.overflow, abortError);
        return;
      }
      this.#moveInto(work, table, end);
    }
    if (state.done >= total) this.#end(work);
  }

  /** As much as the present region takes. */
  #moveInto(work: Extract<Work, { kind: 'read' | 'write' | 'block' }>, table: number, end: number): void {
    const { memory, disk } = this.#options;
    const state = this.#state;
    const region = viewOf(memory, table + regionTable + state.region * regionBytes, regionBytes);
    const size = (region.getUint32(12, true) & (maxRegionBytes - 1)) + 1;
    const base = region.getUint32(4, true) * 2 ** 32 + region.getUint32(0, true);
    const length = Math.min(end - state.done, size - state.regionOffset);
    if (length > 0) {
      const address = base + state.regionOffset;
      if (work.kind === 'write') writeBytes(disk, work.at + state.done, memory.read(address, length));
      else if (work.kind === 'block')
        memory.write(address, work.block.subarray(state.done, state.done + length));
      else memory.write(address, readBytes(disk, work.at + state.done, length));
      state.done += length;
      state.regionOffset += length;
    }
    if (state.regionOffset < size) return;
    state.region++;
    state.regionOffset = 0;
  }

  /** 5.3.8, 5.3.12: the slot is free, and the frame of its end is there. */
  #end(work: Work): void {
    const { memory } = this.#options;
    const state = this.#state;
    const slot = state.slot ?? 0;
    const at = state.listHigh * 2 ** 32 + state.list + slot * headerBytes;
    const count = new DataView(new ArrayBuffer(4));
    count.setUint32(0, state.done, true);
    memory.write(at + 4, new Uint8Array(count.buffer));
    state.issue = (state.issue & ~(1 << slot)) >>> 0;
    state.slot = null;
    if (work.kind === 'reset') return;
    state.taskFile = TaskStatus.idle;
    const isPio = work.kind === 'block' || ('pio' in work && work.pio);
    if (isPio) this.#receive(Received.pioSetup, pioSetupFrame(Math.min(state.done, 0xfe00)));
    this.#receive(Received.toHost, toHostFrame(TaskStatus.idle, 0));
    this.#raise(isPio ? Interrupt.pioSetup | Interrupt.toHost : Interrupt.toHost);
  }

  /** 6.2.2: nothing goes on until software has stopped the port. */
  #fail(cause: number, error: number): void {
    const state = this.#state;
    state.slot = null;
    state.stopped = true;
    state.taskFile = TaskStatus.failed | (error << 8);
    this.#receive(Received.toHost, toHostFrame(TaskStatus.failed, error));
    this.#raise(cause);
  }

  /** After reset and restore. */
  stateChanged(): void {
    followDueTime(this.#timer, this.#state.dueAtNs);
  }
}

function viewOf(memory: GuestMemory, address: number, length: number): DataView {
  const bytes = memory.read(address, length).slice();
  return new DataView(bytes.buffer);
}

/** Regions may end within a sector; the disk knows whole ones only. */
function readBytes(disk: BlockBackend, at: number, length: number): Uint8Array {
  const first = at - (at % sectorBytes);
  const sectors = new Uint8Array(Math.ceil((at + length - first) / sectorBytes) * sectorBytes);
  disk.read(first, sectors);
  return sectors.subarray(at - first, at - first + length);
}

function writeBytes(disk: BlockBackend, at: number, data: Uint8Array): void {
  const first = at - (at % sectorBytes);
  const bytes = Math.ceil((at + data.length - first) / sectorBytes) * sectorBytes;
  if (bytes === data.length) {
    disk.write(first, data);
    return;
  }
  const sectors = new Uint8Array(bytes);
  disk.read(first, sectors);
  sectors.set(data, at - first);
  disk.write(first, sectors);
}
