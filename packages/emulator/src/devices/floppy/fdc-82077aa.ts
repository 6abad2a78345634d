/**
 * Intel 82077AA floppy disk controller (order number 290166) with one or two drives. Data moves by DMA channel 2, a sector at a time, each
 * after a fixed virtual time, so that the state can be saved between any two sectors.
 *
 * Deviation: there is no transfer without DMA (the ND bit of SPECIFY is kept and has no effect), and seeks take no longer than sectors.
 */
import { sectorBytes, type BlockBackend } from '../block.ts';
import {
  followDueTime,
  StatefulDevice,
  type AccessSize,
  type Clock,
  type Line,
  type Timer,
} from '../device.ts';
import { configureReset, fdcDefinition, fdcPowerOn, type FdcState } from './fdc-state.ts';
import { floppyFormat, type FloppyFormat } from './floppy-media.ts';

const Port = {
  statusA: 0x3f0,
  statusB: 0x3f1,
  output: 0x3f2,
  tape: 0x3f3,
  main: 0x3f4,
  fifo: 0x3f5,
  input: 0x3f7,
} as const;
/** 2.1.2 DOR, 2.1.4 MSR, 2.1.6 DIR. */
const Output = { select: 3, notReset: 0x04, dmaGate: 0x08, motor0: 0x10 } as const;
const Main = { commandBusy: 0x10, toHost: 0x40, request: 0x80 } as const;
const rateSelect = { softwareReset: 0x80 } as const;
const diskChanged = 0x80;
/** 4.0, table 4-1 to 4-4. */
const Status0 = {
  seekEnd: 0x20,
  abnormal: 0x40,
  invalid: 0x80,
  polled: 0xc0,
  equipmentCheck: 0x10,
  notReady: 0x08,
  head: 0x04,
} as const;
const Status1 = { missingAddress: 0x01, notWritable: 0x02, noData: 0x04, endOfCylinder: 0x80 } as const;
const Status3 = { twoSides: 0x08, track0: 0x10, always: 0x20, writeProtected: 0x40 } as const;
/** 5.0: command codes (low five bits where MT, MFM and SK stand above), and how many bytes follow. */
// prettier-ignore
const Command = {
  readTrack: 0x02, specify: 0x03, senseDrive: 0x04, write: 0x05, read: 0x06, recalibrate: 0x07, senseInterrupt: 0x08, writeDeleted: 0x09,
  readId: 0x0a, readDeleted: 0x0c, format: 0x0d, dumpRegisters: 0x0e, seek: 0x0f, version: 0x10, perpendicular: 0x12, configure: 0x13,
  lock: 0x14, verify: 0x16, partId: 0x18,
} as const;
// prettier-ignore
const parameterBytes: Readonly<Record<number, number>> = {
  [Command.readTrack]: 8, [Command.specify]: 2, [Command.senseDrive]: 1, [Command.write]: 8, [Command.read]: 8, [Command.recalibrate]: 1,
  [Command.senseInterrupt]: 0, [Command.writeDeleted]: 8, [Command.readId]: 1, [Command.readDeleted]: 8, [Command.format]: 5,
  [Command.dumpRegisters]: 0, [Command.seek]: 2, [Command.version]: 0, [Command.perpendicular]: 1, [Command.configure]: 3, [Command.lock]: 0,
  [Command.verify]: 8, [Command.partId]: 0,
};
const dmaChannel = 2;
const sectorNs = 100_000n;
const resetNs = 20_000n;
const enhancedController = 0x90;

/** A drive and the disks that can be in it, the first one at power-on. */
export interface FloppyDrive {
  media: readonly BlockBackend[];
}

export interface FdcOptions {
  drives: readonly FloppyDrive[];
  clock: Clock;
  irq: Line;
  dma: {
    toMemory(channel: number, data: Uint8Array): { moved: number; terminal: boolean };
    fromMemory(channel: number, length: number): { data: Uint8Array; terminal: boolean };
  };
}

export class Fdc82077aa extends StatefulDevice<FdcState> {
  readonly name = 'fdc-82077aa';
  readonly ports = [
    { first: Port.statusA, last: Port.fifo },
    { first: Port.input, last: Port.input },
  ];
  readonly #options: FdcOptions;
  readonly #timer: Timer;

  constructor(options: FdcOptions) {
    super(fdcDefinition, () => fdcPowerOn(options.drives.length));
    this.#options = options;
    this.#timer = options.clock.timer('fdc-82077aa', () => {
      this.#work();
    });
  }

  /** RESET#: disks stay where they are. */
  override reset(): void {
    const { units } = this.state;
    this.state = {
      ...fdcPowerOn(this.#options.drives.length),
      units: units.map((one: FdcState['units'][number]) => ({ ...one, track: 0, changed: true })),
    };
    this.stateChanged();
  }

  // --- media ---

  #medium(n: number): BlockBackend | undefined {
    return this.#options.drives[n]?.media[this.state.units[n]?.medium ?? -1];
  }

  #format(n: number): FloppyFormat | undefined {
    const medium = this.#medium(n);
    return medium === undefined ? undefined : floppyFormat(medium.bytes);
  }

  /** Puts a disk into a drive, or (null) takes it out; false when there is no such drive or disk. */
  changeDisk(drive: number, medium: number | null): boolean {
    const one = this.state.units[drive];
    const media = this.#options.drives[drive]?.media;
    if (one === undefined || media === undefined || (medium !== null && media[medium] === undefined))
      return false;
    Object.assign(one, { medium, changed: true });
    return true;
  }

  // --- registers ---

  readPort(port: number, _size: AccessSize): number {
    const { state } = this;
    switch (port) {
      case Port.output:
        return state.output;
      case Port.tape:
        return state.tape;
      case Port.main:
        return this.#mainStatus();
      case Port.fifo:
        return this.#readFifo();
      case Port.input: {
        const selected = state.output & Output.select;
        const isTurning = (state.output & (Output.motor0 << selected)) !== 0;
        const changed = state.units[selected]?.changed ?? true;
        return isTurning && (changed || this.#medium(selected) === undefined) ? diskChanged : 0;
      }
      default:
        return 0;
    }
  }

  #mainStatus(): number {
    const { phase, bytes, work, output } = this.state;
    if (!(output & Output.notReset) || work === 'reset') return 0;
    if (phase === 'execution') return work === 'seek' ? Main.request : Main.commandBusy;
    if (phase === 'result') return Main.request | Main.toHost | Main.commandBusy;
    return Main.request | (bytes.length > 0 ? Main.commandBusy : 0);
  }

  writePort(port: number, _size: AccessSize, value: number): void {
    const { state } = this;
    switch (port) {
      case Port.output: {
        const before = state.output;
        state.output = value;
        if (!(value & Output.notReset)) this.#stop();
        else if (!(before & Output.notReset)) this.#beginReset();
        this.#drive();
        return;
      }
      case Port.tape:
        state.tape = value & 3;
        return;
      case Port.main: // data rate select register
        state.rate = value & 3;
        if (value & rateSelect.softwareReset) this.#beginReset();
        return;
      case Port.fifo:
        this.#writeFifo(value);
        return;
      case Port.input: // configuration control register
        state.rate = value & 3;
        return;
      default:
    }
  }

  #stop(): void {
    this.#timer.cancel();
    Object.assign(this.state, {
      phase: 'command',
      bytes: [],
      work: 'none',
      dueAtNs: null,
      interrupt: false,
      pending: [],
    });
  }

  #beginReset(): void {
    const { state } = this;
    this.#stop();
    if (!state.locked) state.configure = [...configureReset];
    state.perpendicular &= 0xbc;
    this.#later('reset', resetNs);
  }

  #later(work: FdcState['work'], ns = sectorNs): void {
    const { state } = this;
    state.work = work;
    state.dueAtNs = this.#options.clock.now() + ns;
    this.#timer.arm(state.dueAtNs);
  }

  #interrupt(): void {
    this.state.interrupt = true;
    this.#drive();
  }

  #drive(): void {
    this.#options.irq.set(this.state.interrupt && (this.state.output & Output.dmaGate) !== 0);
  }

  // --- FIFO ---

  #readFifo(): number {
    const { state } = this;
    if (state.phase !== 'result') return 0;
    state.interrupt = false;
    this.#drive();
    const byte = state.bytes.shift() ?? 0;
    if (state.bytes.length === 0) state.phase = 'command';
    return byte;
  }

  #writeFifo(value: number): void {
    const { state } = this;
    if (state.phase !== 'command' || !(state.output & Output.notReset) || state.work === 'reset') return;
    state.bytes.push(value);
    const [first = 0] = state.bytes;
    const wanted = this.#parameters(first);
    if (state.bytes.length <= wanted) return;
    const bytes = state.bytes.splice(0);
    this.#execute(first, bytes);
  }

  /** Parameters of a command; LOCK has a flag in bit 7, RELATIVE SEEK is a seek with bit 7. */
  #parameters(first: number): number {
    return parameterBytes[first & 31] ?? 0;
  }

  #result(...bytes: number[]): void {
    Object.assign(this.state, { phase: 'result', bytes, work: 'none' });
  }

  #execute(first: number, bytes: readonly number[]): void {
    const { state } = this;
    const parameter = (n: number): number => bytes[n] ?? 0;
    switch (first & 31) {
      case Command.specify:
        state.specify = [parameter(1), parameter(2)];
        return;
      case Command.senseDrive:
        this.#result(this.#driveStatus(parameter(1)));
        return;
      case Command.senseInterrupt:
        this.#senseInterrupt();
        return;
      case Command.recalibrate:
        this.#seek(parameter(1) & 3, 0, 0);
        return;
      case Command.seek:
        this.#seek(
          parameter(1) & 3,
          (parameter(1) >> 2) & 1,
          this.#seekTarget(first, parameter(1) & 3, parameter(2)),
        );
        return;
      case Command.version:
        this.#result(enhancedController);
        return;
      case Command.perpendicular:
        state.perpendicular = parameter(1);
        return;
      case Command.configure:
        state.configure = [parameter(1), parameter(2), parameter(3)];
        return;
      case Command.lock:
        state.locked = (first & 0x80) !== 0;
        this.#result(state.locked ? 0x10 : 0);
        return;
      case Command.partId:
        this.#result(0x01);
        return;
      case Command.dumpRegisters:
        this.#result(
          state.units[0]?.track ?? 0,
          state.units[1]?.track ?? 0,
          0,
          0,
          ...state.specify,
          state.lastSector,
          (state.locked ? 0x80 : 0) | (state.perpendicular & 0x7f),
          state.configure[1] ?? 0,
          state.configure[2] ?? 0,
        );
        return;
      default:
        this.#transfer(first, bytes);
    }
  }

  #driveStatus(select: number): number {
    const n = select & 3;
    const format = this.#format(n);
    const track = this.state.units[n]?.track ?? 1;
    const isProtected = this.#medium(n)?.readOnly !== false;
    return (
      (select & 7) |
      Status3.always |
      (track === 0 ? Status3.track0 : 0) |
      (format?.heads === 1 ? 0 : Status3.twoSides) |
      (isProtected ? Status3.writeProtected : 0)
    );
  }

  #senseInterrupt(): void {
    const { state } = this;
    const next = state.pending.shift();
    state.interrupt = false;
    this.#drive();
    if (next === undefined) this.#result(Status0.invalid);
    else this.#result(next[0] ?? 0, next[1] ?? 0);
  }

  // --- seeks ---

  /** RELATIVE SEEK (bit 7) goes in (bit 6) or out from where the head is. */
  #seekTarget(first: number, n: number, value: number): number {
    if (!(first & 0x80)) return value;
    const track = this.state.units[n]?.track ?? 0;
    return Math.max(0, Math.min(0xff, first & 0x40 ? track + value : track - value));
  }

  #seek(n: number, head: number, track: number): void {
    const { state } = this;
    Object.assign(state, { unit: n, head, cylinder: track, phase: 'execution' });
    this.#later('seek');
  }

  #seekDone(): void {
    const { state } = this;
    const one = state.units[state.unit];
    const isThere = this.#options.drives[state.unit] !== undefined;
    if (one !== undefined) {
      one.track = state.cylinder;
      if (this.#medium(state.unit) !== undefined) one.changed = false; // a step pulse with a disk in place
    }
    const failed = isThere ? 0 : Status0.abnormal | Status0.equipmentCheck;
    Object.assign(state, { phase: 'command', work: 'none' });
    this.#report(Status0.seekEnd | failed | (state.head << 2) | state.unit, isThere ? state.cylinder : 0);
    this.#interrupt();
  }

  #report(status: number, cylinder: number): void {
    const { pending } = this.state;
    if (pending.length < 4) pending.push([status, cylinder]);
  }

  /** 5.2.4: after a reset each drive is polled, and says so. */
  #resetDone(): void {
    this.state.work = 'none';
    for (let n = 0; n < 4; n++) this.#report(Status0.polled | n, this.state.units[n]?.track ?? 0);
    this.#interrupt();
  }

  // --- transfers ---

  #transfer(first: number, bytes: readonly number[]): void {
    const { state } = this;
    // prettier-ignore
    const works: Readonly<Record<number, FdcState['work']>> = {
      [Command.read]: 'read', [Command.readDeleted]: 'read', [Command.readTrack]: 'read', [Command.write]: 'write',
      [Command.writeDeleted]: 'write', [Command.verify]: 'verify', [Command.format]: 'format', [Command.readId]: 'readId',
    };
    const work = works[first & 31];
    if (work === undefined) {
      this.#result(Status0.invalid);
      return;
    }
    const [, select = 0, cylinder = 0, head = 0, sector = 0, , last = 0] = bytes;
    const isShort = work === 'format' || work === 'readId';
    Object.assign(state, {
      phase: 'execution',
      unit: select & 3,
      multiTrack: (first & 0x80) !== 0,
      head: isShort ? (select >> 2) & 1 : head,
      cylinder: isShort ? (state.units[select & 3]?.track ?? 0) : cylinder,
      sector: isShort ? 1 : sector,
      lastSector: isShort ? 0 : last,
    });
    this.#later(work);
  }

  /** Ends a transfer with its seven bytes of result. */
  #end(status0: number, status1 = 0): void {
    const { state } = this;
    const { unit: n, head, cylinder, sector } = state;
    const abnormal = status1 !== 0 || status0 !== 0 ? Status0.abnormal : 0;
    const sizeCode = 2;
    this.#result(abnormal | status0 | (head << 2) | n, status1, 0, cylinder, head, sector, sizeCode);
    this.#interrupt();
  }

  /** Where the present sector lies on the disk; ends the transfer when it can't be found. */
  #locate(): { medium: BlockBackend; offset: number; format: FloppyFormat } | undefined {
    const { state } = this;
    const medium = this.#medium(state.unit);
    const format = this.#format(state.unit);
    if (medium === undefined || format === undefined || !format.rates.includes(state.rate)) {
      this.#end(medium === undefined ? Status0.notReady : 0, Status1.missingAddress);
      return undefined;
    }
    const { cylinder, head, sector } = state;
    const there =
      cylinder < format.cylinders && head < format.heads && sector >= 1 && sector <= format.sectors;
    if (!there || (state.units[state.unit]?.track ?? 0) !== cylinder) {
      this.#end(0, Status1.noData);
      return undefined;
    }
    const offset = ((cylinder * format.heads + head) * format.sectors + sector - 1) * sectorBytes;
    return { medium, offset, format };
  }

  #moveSector(work: FdcState['work']): void {
    const at = this.#locate();
    if (at === undefined) return;
    const { medium, offset, format } = at;
    const { dma } = this.#options;
    let done: boolean;
    if (work === 'write') {
      if (medium.readOnly) {
        this.#end(0, Status1.notWritable);
        return;
      }
      const { data, terminal } = dma.fromMemory(dmaChannel, sectorBytes);
      const sector = new Uint8Array(sectorBytes); // 5.1.3: what is missing after terminal count is zero
      sector.set(data);
      medium.write(offset, sector);
      done = terminal;
    } else {
      const data = new Uint8Array(sectorBytes);
      medium.read(offset, data);
      done = work === 'verify' ? false : dma.toMemory(dmaChannel, data).terminal;
    }
    this.#nextSector(work, done, format);
  }

  /** 5.1.1: sector, then (with MT) the other head, up to the last sector that the command named. */
  #nextSector(work: FdcState['work'], done: boolean, format: FloppyFormat): void {
    const { state } = this;
    if (state.sector !== state.lastSector) state.sector++;
    else if (state.multiTrack && state.head === 0 && format.heads === 2)
      Object.assign(state, { head: 1, sector: 1 });
    else {
      if (done || work === 'verify') {
        Object.assign(state, {
          cylinder: (state.cylinder + 1) & 0xff,
          sector: 1,
          head: state.multiTrack ? 0 : state.head,
        });
        this.#end(0);
      } else this.#end(0, Status1.endOfCylinder);
      return;
    }
    if (done) this.#end(0);
    else this.#later(work);
  }

  /** Four bytes of address for each sector come by DMA; each sector is filled with zeros. */
  #formatTrack(): void {
    const { state } = this;
    const at = this.#locate();
    if (at === undefined) return;
    if (at.medium.readOnly) {
      this.#end(0, Status1.notWritable);
      return;
    }
    const { sectors } = at.format;
    this.#options.dma.fromMemory(dmaChannel, sectors * 4);
    at.medium.write(at.offset, new Uint8Array(sectors * sectorBytes));
    state.sector = sectors;
    this.#end(0);
  }

  #work(): void {
    const { state } = this;
    state.dueAtNs = null;
    switch (state.work) {
      case 'reset':
        this.#resetDone();
        return;
      case 'seek':
        this.#seekDone();
        return;
      case 'read':
      case 'write':
      case 'verify':
        this.#moveSector(state.work);
        return;
      case 'format':
        this.#formatTrack();
        return;
      case 'readId':
        if (this.#locate() !== undefined) this.#end(0);
        return;
      default:
    }
  }

  protected override checkState({ phase, bytes }: FdcState): void {
    if (phase === 'result' && bytes.length === 0) this.refuseState('a result without bytes');
  }

  protected override stateChanged(): void {
    followDueTime(this.#timer, this.state.dueAtNs);
    this.#drive();
  }
}
