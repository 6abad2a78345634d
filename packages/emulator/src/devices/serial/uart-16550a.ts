/**
 * National Semiconductor 16550A UART. Datasheet: PC16550D (SNLS378), section 8 "Registers".
 *
 * Transmission takes no time: a byte goes to the backend when it is written and LSR always shows an empty transmitter; only the
 * THR-empty interrupt comes a little later, so that a driver that loops while an interrupt is pending gets out. Received bytes
 * wait in a backlog until the FIFO has room: there are no overruns.
 *
 * The last 64 KiB that were sent are part of the state, so that a checkpoint can show its console. The guest can't see them, and
 * they outlast a reset.
 */
import { StatefulDevice, type AccessSize, type Clock, type Line, type Timer } from '../device.ts';
import {
  bool,
  bytesUpTo,
  defineState,
  i64,
  integer,
  list,
  nullable,
  record,
  u16,
  u8,
  type Infer,
} from '../schema.ts';
import { SerialLog } from './serial-log.ts';

const Register = { data: 0, ier: 1, iirFcr: 2, lcr: 3, mcr: 4, lsr: 5, msr: 6, scratch: 7 } as const;
const Ier = { received: 1, thrEmpty: 2, lineStatus: 4, modemStatus: 8 } as const;
const Iir = {
  none: 1,
  modemStatus: 0,
  thrEmpty: 2,
  received: 4,
  lineStatus: 6,
  timeout: 12,
  fifos: 0xc0,
} as const;
const Fcr = { enable: 1, clearReceive: 2, clearTransmit: 4 } as const;
const lcrDivisorLatch = 0x80;
const Mcr = { dtr: 1, rts: 2, out1: 4, out2: 8, loopback: 0x10 } as const;
const Lsr = { dataReady: 1, thrEmpty: 0x20, transmitterEmpty: 0x40 } as const;
/** CTS, DSR and DCD of a terminal that is always there. */
const connected = 0xb0;
const fifoBytes = 16;
const triggerLevels = [1, 4, 8, 14] as const;
const thrEmptyDelayNs = 2_000n;
const timeoutDelayNs = 40_000n;
/** Bytes of the backlog beyond which input is refused. */
export const uartBacklogLimit = 0x1_0000;
export const uartLogLimit = 0x1_0000;

const schema = record({
  ier: u8,
  fifoEnabled: bool,
  trigger: integer(0, 3),
  lcr: u8,
  mcr: u8,
  msr: u8,
  scratch: u8,
  divisor: u16,
  thrEmptyPending: bool,
  timeoutPending: bool,
  fifo: list(u8, fifoBytes),
  backlog: list(u8, uartBacklogLimit),
  thrEmptyAtNs: nullable(i64),
  timeoutAtNs: nullable(i64),
  log: bytesUpTo(uartLogLimit),
});
/** The transmitter is always ready: who reads the line status so often without sending waits for a byte to come. */
const pollsOfReader = 16;

type State = Infer<typeof schema>;
const definition = defineState<State>({
  name: 'uart-16550a',
  version: 2,
  schema,
  // Version 1 had no log.
  migrations: { 1: (old) => ({ ...(old as object), log: new Uint8Array(0) }) },
});

function powerOn(): State {
  return {
    ier: 0,
    fifoEnabled: false,
    trigger: 0,
    lcr: 0,
    mcr: 0,
    msr: connected,
    scratch: 0,
    divisor: 12,
    thrEmptyPending: false,
    timeoutPending: false,
    fifo: [],
    backlog: [],
    thrEmptyAtNs: null,
    timeoutAtNs: null,
    log: new Uint8Array(0),
  };
}

export interface UartOptions {
  /** Name in checkpoints, for example `uart-16550a-0`. */
  name: string;
  basePort: number;
  irq: Line;
  clock: Clock;
  /** Called with each byte the guest sends. */
  transmit: (byte: number) => void;
}

export class Uart16550A extends StatefulDevice<State> {
  readonly name: string;
  readonly ports;
  readonly #base: number;
  readonly #irq: Line;
  readonly #clock: Clock;
  readonly #transmit: (byte: number) => void;
  readonly #log = new SerialLog(uartLogLimit);
  readonly #thrTimer: Timer;
  readonly #timeoutTimer: Timer;
  /** Reads of the line status since the last byte was sent. */
  #polls = 0;

  constructor({ name, basePort, irq, clock, transmit }: UartOptions) {
    super(definition, powerOn);
    this.name = name;
    this.ports = [{ first: basePort, last: basePort + 7 }];
    this.#base = basePort;
    this.#irq = irq;
    this.#clock = clock;
    this.#transmit = transmit;
    this.#thrTimer = clock.timer(`${name} thr`, () => {
      this.state.thrEmptyAtNs = null;
      this.state.thrEmptyPending = true;
      this.#drive();
    });
    this.#timeoutTimer = clock.timer(`${name} timeout`, () => {
      this.state.timeoutAtNs = null;
      this.state.timeoutPending = this.state.fifo.length > 0;
      this.#drive();
    });
  }

  /**
   * Whether somebody reads this port: the driver has asked for interrupts of received bytes, or a program polls for them. Before that, a
   * driver that sets the port up throws away what came. This is for whoever sends, and no state of the chip.
   */
  get listening(): boolean {
    return (this.state.ier & Ier.received) !== 0 || this.#polls >= pollsOfReader;
  }

  /** Bytes that came and were not read yet. */
  get unread(): number {
    return this.state.fifo.length + this.state.backlog.length;
  }

  /** Bytes from the line; what does not fit into the backlog is dropped. Returns how many were taken. */
  receive(data: Uint8Array): number {
    const room = uartBacklogLimit - this.state.backlog.length;
    const taken = data.subarray(0, room);
    for (const byte of taken) this.state.backlog.push(byte);
    this.#refill();
    return taken.length;
  }

  /** Moves the backlog into the FIFO as far as it has room. */
  #refill(): void {
    const { fifo, backlog } = this.state;
    const room = (this.state.fifoEnabled ? fifoBytes : 1) - fifo.length;
    if (room > 0 && backlog.length > 0 && !(this.state.mcr & Mcr.loopback)) {
      fifo.push(...backlog.splice(0, room));
      this.#restartTimeout();
    }
    this.#drive();
  }

  /** Character timeout: bytes below the trigger level that nobody fetches (datasheet, 8.11). */
  #restartTimeout(): void {
    this.state.timeoutPending = false;
    const waiting = this.state.fifoEnabled && this.state.fifo.length > 0;
    this.state.timeoutAtNs = waiting ? this.#clock.now() + timeoutDelayNs : null;
    this.#armTimers();
  }

  #armTimers(): void {
    const { thrEmptyAtNs, timeoutAtNs } = this.state;
    if (thrEmptyAtNs === null) this.#thrTimer.cancel();
    else this.#thrTimer.arm(thrEmptyAtNs);
    if (timeoutAtNs === null) this.#timeoutTimer.cancel();
    else this.#timeoutTimer.arm(timeoutAtNs);
  }

  #receivedReady(): boolean {
    const { fifo, fifoEnabled, trigger } = this.state;
    return fifo.length >= (fifoEnabled ? (triggerLevels[trigger] ?? 1) : 1);
  }

  /** Interrupt identification by priority (datasheet, table 4). */
  #interrupt(): number {
    const { ier } = this.state;
    if (ier & Ier.received && this.#receivedReady()) return Iir.received;
    if (ier & Ier.received && this.state.timeoutPending) return Iir.timeout;
    if (ier & Ier.thrEmpty && this.state.thrEmptyPending) return Iir.thrEmpty;
    if (ier & Ier.modemStatus && this.state.msr & 15) return Iir.modemStatus;
    return Iir.none;
  }

  /** OUT2 gates the interrupt line in a PC; it is off in loopback. */
  #drive(): void {
    const gated = (this.state.mcr & (Mcr.out2 | Mcr.loopback)) === Mcr.out2;
    this.#irq.set(gated && this.#interrupt() !== Iir.none);
  }

  readPort(port: number, _size: AccessSize): number {
    const state = this.state;
    const latch = (state.lcr & lcrDivisorLatch) !== 0;
    switch (port - this.#base) {
      case Register.data:
        return latch ? state.divisor & 0xff : this.#readData();
      case Register.ier:
        return latch ? state.divisor >> 8 : state.ier;
      case Register.iirFcr: {
        const id = this.#interrupt();
        if (id === Iir.thrEmpty) {
          state.thrEmptyPending = false;
          this.#drive();
        }
        return id | (state.fifoEnabled ? Iir.fifos : 0);
      }
      case Register.lcr:
        return state.lcr;
      case Register.mcr:
        return state.mcr;
      case Register.lsr:
        if (this.#polls < pollsOfReader) this.#polls++;
        return Lsr.thrEmpty | Lsr.transmitterEmpty | (state.fifo.length > 0 ? Lsr.dataReady : 0);
      case Register.msr: {
        const value = state.msr;
        state.msr &= 0xf0;
        this.#drive();
        return value;
      }
      default:
        return state.scratch;
    }
  }

  #readData(): number {
    const byte = this.state.fifo.shift() ?? 0;
    this.#restartTimeout();
    this.#refill();
    return byte;
  }

  writePort(port: number, _size: AccessSize, value: number): void {
    const state = this.state;
    const latch = (state.lcr & lcrDivisorLatch) !== 0;
    switch (port - this.#base) {
      case Register.data:
        if (latch) state.divisor = (state.divisor & 0xff00) | value;
        else this.#writeData(value);
        break;
      case Register.ier:
        if (latch) state.divisor = (state.divisor & 0xff) | (value << 8);
        else this.#writeIer(value & 15);
        break;
      case Register.iirFcr:
        this.#writeFcr(value);
        break;
      case Register.lcr:
        state.lcr = value;
        break;
      case Register.mcr:
        state.mcr = value & 0x1f;
        this.#updateModemStatus();
        this.#refill();
        break;
      case Register.scratch:
        state.scratch = value;
        break;
      default: // LSR and MSR: factory test only
    }
    this.#drive();
  }

  #writeData(value: number): void {
    const state = this.state;
    if (this.#polls < pollsOfReader) this.#polls = 0;
    if (state.mcr & Mcr.loopback) {
      if (state.fifo.length < (state.fifoEnabled ? fifoBytes : 1)) state.fifo.push(value);
      this.#restartTimeout();
    } else {
      this.#log.push(value);
      this.#transmit(value);
    }
    state.thrEmptyPending = false;
    state.thrEmptyAtNs = this.#clock.now() + thrEmptyDelayNs;
    this.#armTimers();
  }

  /** Enabling the THR-empty interrupt while the transmitter is empty raises it at once. */
  #writeIer(value: number): void {
    const risen = value & ~this.state.ier;
    this.state.ier = value;
    if (risen & Ier.thrEmpty && this.state.thrEmptyAtNs === null) this.state.thrEmptyPending = true;
  }

  #writeFcr(value: number): void {
    const state = this.state;
    const enable = (value & Fcr.enable) !== 0;
    if (enable !== state.fifoEnabled || value & Fcr.clearReceive) {
      state.fifo.length = 0;
      this.#restartTimeout();
    }
    state.fifoEnabled = enable;
    if (enable) state.trigger = value >> 6;
    this.#refill();
  }

  /** Loopback connects the modem outputs to the modem inputs (datasheet, 8.6). */
  #updateModemStatus(): void {
    const { mcr, msr } = this.state;
    let lines = connected;
    if (mcr & Mcr.loopback)
      lines =
        (mcr & Mcr.rts ? 0x10 : 0) |
        (mcr & Mcr.dtr ? 0x20 : 0) |
        (mcr & Mcr.out1 ? 0x40 : 0) |
        (mcr & Mcr.out2 ? 0x80 : 0);
    const changed = (lines ^ msr) & 0xf0;
    let delta = (changed >> 4) & 0b1011;
    // TERI: only the trailing edge of the ring indicator counts.
    if (changed & 0x40 && !(lines & 0x40)) delta |= 4;
    this.state.msr = lines | (msr & 15) | delta;
  }

  override save(): State {
    this.state.log = this.#log.contents();
    return super.save();
  }

  override restore(state: unknown, version: number): void {
    super.restore(state, version);
    this.#log.load(this.state.log);
  }

  protected override stateChanged(): void {
    this.#armTimers();
    this.#drive();
  }
}
