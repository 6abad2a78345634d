/**
 * Intel 8254 programmable interval timer, and what port 0x61 of a PC shows of it. Datasheet: 8254 (order number 231164),
 * "Operational Description". Counter 0 drives IRQ 0, counter 1 the refresh request, counter 2 the speaker.
 *
 * Counters are not stepped: each is a function of virtual time since it was loaded. Deviations: a new count is loaded
 * at once instead of on the next clock pulse (the remainder of that clock is not waited for), except in modes 2 and 3 while
 * counting, where the current period is completed first as the datasheet says.
 */
import { StatefulDevice, type AccessSize, type Clock, type Line, type Timer } from '../device.ts';
import { bool, defineState, i64, integer, nullable, record, tuple, u16, u8, type Infer } from '../schema.ts';

const clockHz = 1_193_182n;
const nsPerSecond = 1_000_000_000n;
const Port = { counter0: 0x40, control: 0x43, systemControlB: 0x61 } as const;
const Access = { latch: 0, low: 1, high: 2, both: 3 } as const;

const counter = record({
  mode: integer(0, 5),
  bcd: bool,
  access: integer(0, 3),
  /** Count register: 0 stands for 65536 (10000 in BCD). */
  reload: u16,
  /** Count that the next period will use (modes 2 and 3). */
  nextReload: u16,
  /** Low byte written, waiting for the high byte. */
  lowByte: nullable(u8),
  /** Next read gives the high byte. */
  readHigh: bool,
  latchedCount: nullable(u16),
  latchedStatus: nullable(u8),
  gate: bool,
  /** A count was loaded since the control word. */
  loaded: bool,
  /** Counting: mode 1 and 5 need a trigger, a closed gate stops modes 0, 2, 3 and 4. */
  running: bool,
  /** Virtual time at which the current period or shot began. */
  startNs: i64,
  /** Clocks already counted when it was stopped (mode 0 and 4 with the gate closed). */
  elapsed: integer(0, 0x1_0000_0000),
});
type Counter = Infer<typeof counter>;
const schema = record({ counters: tuple(counter, 3), speaker: bool });
type State = Infer<typeof schema>;
const definition = defineState<State>({ name: 'pit-8254', version: 1, schema });

function powerOn(): State {
  const fresh = (gate: boolean): Counter => ({
    mode: 0,
    bcd: false,
    access: Access.both,
    reload: 0,
    nextReload: 0,
    lowByte: null,
    readHigh: false,
    latchedCount: null,
    latchedStatus: null,
    gate,
    loaded: false,
    running: false,
    startNs: 0n,
    elapsed: 0,
  });
  return { counters: [fresh(true), fresh(true), fresh(false)], speaker: false };
}

function fromBcd(value: number): number {
  return (value & 15) + ((value >> 4) & 15) * 10 + ((value >> 8) & 15) * 100 + ((value >> 12) & 15) * 1000;
}
function toBcd(value: number): number {
  return (
    (((value / 1000) % 10) << 12) | (((value / 100) % 10) << 8) | (((value / 10) % 10) << 4) | (value % 10)
  );
}

/** Clocks in a period: the count with 0 as the largest. */
function periodOf(c: Counter, register: number): number {
  if (!c.bcd) return register === 0 ? 0x1_0000 : register;
  return fromBcd(register) || 10_000;
}

export class Pit8254 extends StatefulDevice<State> {
  readonly name = 'pit-8254';
  readonly ports = [
    { first: Port.counter0, last: Port.control },
    { first: Port.systemControlB, last: Port.systemControlB },
  ];
  readonly #irq: Line;
  readonly #clock: Clock;
  readonly #timer: Timer;

  /** `irq` is OUT 0. */
  constructor(options: { irq: Line; clock: Clock }) {
    super(definition, powerOn);
    this.#irq = options.irq;
    this.#clock = options.clock;
    this.#timer = this.#clock.timer('pit-8254', () => {
      this.#fire();
    });
  }

  #counter(n: number): Counter {
    return this.state.counters[n] as Counter;
  }

  #ticks(ns: bigint): number {
    return ns <= 0n ? 0 : Number((ns * clockHz) / nsPerSecond);
  }

  /** Smallest time at which at least `ticks` clocks have passed. */
  #nsOf(ticks: number): bigint {
    return (BigInt(ticks) * nsPerSecond + clockHz - 1n) / clockHz;
  }

  /** Clocks since the count was loaded or triggered, stops left out. */
  #elapsed(c: Counter): number {
    return c.elapsed + (c.running ? this.#ticks(this.#clock.now() - c.startNs) : 0);
  }

  /** Brings a periodic counter to the period it is in, taking over a new count at its border. */
  #advance(c: Counter): number {
    const elapsed = this.#elapsed(c);
    if ((c.mode !== 2 && c.mode !== 3) || !c.running) return elapsed;
    let period = periodOf(c, c.reload);
    if (elapsed < period) return elapsed;
    let start = c.startNs;
    if (c.reload !== c.nextReload) {
      start += this.#nsOf(period);
      c.reload = c.nextReload;
      period = periodOf(c, c.reload);
    }
    const whole = Math.floor(this.#ticks(this.#clock.now() - start) / period);
    // A border lies at a whole number of clocks; keeping it exact needs whole seconds to be taken first.
    c.startNs = start + this.#nsOf(whole * period);
    return Math.max(0, this.#ticks(this.#clock.now() - c.startNs));
  }

  /** The counting element as the processor reads it. */
  #count(c: Counter): number {
    const elapsed = this.#advance(c);
    const period = periodOf(c, c.reload);
    const modulus = c.bcd ? 10_000 : 0x1_0000;
    let value: number;
    if (c.mode === 2) value = period - (elapsed % period);
    else if (c.mode === 3) value = this.#squareCount(period, elapsed % period);
    else value = (((period - elapsed) % modulus) + modulus) % modulus; // counts on after zero
    if (!c.loaded) value = 0;
    return c.bcd ? toBcd(value % 10_000) : value & 0xffff;
  }

  /** Mode 3 counts by two; an odd count spends one clock more in the high half. */
  #squareCount(period: number, phase: number): number {
    const highClocks = (period + 1) >> 1;
    const even = period & ~1;
    const inHalf = phase < highClocks ? phase : phase - highClocks;
    return Math.max(2, even - 2 * inHalf);
  }

  /** Level of the OUT pin. */
  #out(c: Counter): boolean {
    if (!c.loaded) return c.mode !== 0;
    const elapsed = this.#advance(c);
    const period = periodOf(c, c.reload);
    switch (c.mode) {
      case 0:
        return elapsed >= period;
      case 1:
        return !(c.running || c.elapsed > 0) || elapsed >= period;
      case 2:
        return !c.running || elapsed % period !== period - 1;
      case 3:
        return !c.running || elapsed % period < (period + 1) >> 1;
      default: // 4 and 5: low for the one clock in which the count is 0
        return elapsed !== period;
    }
  }

  /** Drives IRQ 0 and arms the timer for the next change of OUT 0. */
  #drive(): void {
    const c = this.#counter(0);
    this.#irq.set(this.#out(c));
    this.#timer.cancel();
    if (!c.loaded || !c.running) return;
    const elapsed = this.#advance(c);
    const period = periodOf(c, c.reload);
    let next: number | undefined;
    switch (c.mode) {
      case 2: // only the end matters: the low pulse is made there
        next = period;
        break;
      case 3:
        next = elapsed < (period + 1) >> 1 ? (period + 1) >> 1 : period;
        break;
      case 4:
      case 5:
        next = elapsed < period ? period : elapsed === period ? period + 1 : undefined;
        break;
      default:
        next = elapsed < period ? period : undefined;
    }
    if (next !== undefined) this.#timer.arm(c.startNs + this.#nsOf(next - c.elapsed));
  }

  #fire(): void {
    if (this.#counter(0).mode === 2) this.#irq.set(false);
    this.#drive();
  }

  readPort(port: number, _size: AccessSize): number {
    if (port === Port.systemControlB) return this.#readControlB();
    if (port === Port.control) return 0xff;
    const c = this.#counter(port - Port.counter0);
    if (c.latchedStatus !== null) {
      const status = c.latchedStatus;
      c.latchedStatus = null;
      return status;
    }
    const value = c.latchedCount ?? this.#count(c);
    if (c.access === Access.low || c.access === Access.high) {
      c.latchedCount = null;
      return c.access === Access.low ? value & 0xff : value >> 8;
    }
    if (c.readHigh) {
      c.readHigh = false;
      c.latchedCount = null;
      return value >> 8;
    }
    c.readHigh = true;
    return value & 0xff;
  }

  writePort(port: number, _size: AccessSize, value: number): void {
    if (port === Port.systemControlB) {
      this.state.speaker = (value & 2) !== 0;
      this.#setGate(this.#counter(2), (value & 1) !== 0);
    } else if (port === Port.control) this.#writeControl(value);
    else this.#writeCount(this.#counter(port - Port.counter0), value);
    this.#drive();
  }

  #writeControl(value: number): void {
    if (value >> 6 === 3) {
      this.#readBack(value);
      return;
    }
    const c = this.#counter(value >> 6);
    const access = (value >> 4) & 3;
    if (access === Access.latch) {
      c.latchedCount ??= this.#count(c);
      return;
    }
    const mode = (value >> 1) & 7;
    c.access = access;
    c.mode = mode > 5 ? mode - 4 : mode;
    c.bcd = (value & 1) !== 0;
    Object.assign(c, {
      lowByte: null,
      readHigh: false,
      latchedCount: null,
      latchedStatus: null,
      loaded: false,
    });
    c.running = false;
    c.elapsed = 0;
  }

  /** Read-back command: bit 5 clear latches counts, bit 4 clear latches status, bits 1-3 select counters. */
  #readBack(value: number): void {
    for (let n = 0; n < 3; n++) {
      if (!(value & (2 << n))) continue;
      const c = this.#counter(n);
      if (!(value & 0x20)) c.latchedCount ??= this.#count(c);
      if (!(value & 0x10))
        c.latchedStatus ??=
          (this.#out(c) ? 0x80 : 0) |
          (c.loaded ? 0 : 0x40) |
          (c.access << 4) |
          (c.mode << 1) |
          (c.bcd ? 1 : 0);
    }
  }

  #writeCount(c: Counter, value: number): void {
    if (c.access === Access.low) this.#load(c, value);
    else if (c.access === Access.high) this.#load(c, value << 8);
    else if (c.lowByte === null) {
      c.lowByte = value;
      // Mode 0: the first byte stops the counting and sets OUT low.
      if (c.mode === 0) Object.assign(c, { running: false, loaded: false, elapsed: 0 });
    } else {
      const low = c.lowByte;
      c.lowByte = null;
      this.#load(c, low | (value << 8));
    }
  }

  #load(c: Counter, register: number): void {
    const periodic = c.mode === 2 || c.mode === 3;
    if (periodic && c.loaded && c.running) {
      this.#advance(c);
      c.nextReload = register;
      return;
    }
    c.nextReload = register;
    const triggered = c.mode === 1 || c.mode === 5;
    if (triggered && c.loaded) {
      // The running shot goes on with its old count; the new one counts from the next trigger.
      if (!c.running) c.reload = register;
      return;
    }
    c.reload = register;
    c.loaded = true;
    c.elapsed = 0;
    c.running = !triggered && c.gate;
    c.startNs = this.#clock.now();
  }

  #setGate(c: Counter, gate: boolean): void {
    const rising = gate && !c.gate;
    const falling = !gate && c.gate;
    if (falling && (c.mode === 0 || c.mode === 4)) c.elapsed = Math.min(this.#elapsed(c), 0xffff_ffff);
    if (falling && c.mode !== 1 && c.mode !== 5) c.running = false;
    c.gate = gate;
    if (!rising || !c.loaded) return;
    c.startNs = this.#clock.now();
    c.running = true;
    if (c.mode !== 0 && c.mode !== 4) {
      c.elapsed = 0;
      c.reload = c.nextReload;
    }
  }

  /** Port 0x61: gate 2, speaker, refresh toggle (every 15.085 µs), OUT 2. */
  #readControlB(): number {
    const c = this.#counter(2);
    const refresh = Number((this.#clock.now() / 15_085n) & 1n);
    return (c.gate ? 1 : 0) | (this.state.speaker ? 2 : 0) | (refresh << 4) | (this.#out(c) ? 0x20 : 0);
  }

  protected override stateChanged(): void {
    this.#drive();
  }
}
