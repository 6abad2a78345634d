/**
 * Motorola MC146818A real-time clock with 128 bytes of CMOS memory, as in a PC/AT. Datasheet: MC146818A (ADI1021), "Registers".
 * The time of day is virtual time plus an offset that is an input of the machine; nothing here looks at the host's clock.
 */
import { StatefulDevice, type AccessSize, type Clock, type Line, type Timer } from '../device.ts';
import { bool, bytes, defineState, i64, nullable, record, u8, type Infer } from '../schema.ts';

const Port = { index: 0x70, data: 0x71 } as const;
// prettier-ignore
const Register = {
  seconds: 0, secondsAlarm: 1, minutes: 2, minutesAlarm: 3, hours: 4, hoursAlarm: 5, dayOfWeek: 6, day: 7, month: 8,
  year: 9, a: 10, b: 11, c: 12, d: 13, century: 0x32,
} as const;
const A = { updateInProgress: 0x80, dividerMask: 0x70, dividerRun: 0x20, rateMask: 0x0f } as const;
const B = { set: 0x80, periodic: 0x40, alarm: 0x20, update: 0x10, binary: 0x04, hours24: 0x02 } as const;
const C = { irq: 0x80, periodic: 0x40, alarm: 0x20, update: 0x10 } as const;
const validRam = 0x80;
const nsPerSecond = 1_000_000_000n;
/** UIP rises this long before the update (datasheet, "Update Cycle"). */
const updateLeadNs = 244_000n;
const secondsPerDay = 86_400n;
const dontCare = 0xc0;
/** Years that can be set: what fits into 64 bits of nanoseconds since 1970. */
const firstYear = 1900;
const lastYear = 2199;

const schema = record({
  index: u8,
  nmiMasked: bool,
  cmos: bytes(128),
  /** Wall-clock time in ns since 1970 = virtual time + offset. */
  offsetNs: i64,
  /** Wall-clock time at which SET stopped the clock. */
  frozenNs: nullable(i64),
  /** Virtual time up to which the flags of register C were worked out. */
  checkedNs: i64,
});
type State = Infer<typeof schema>;
const definition = defineState<State>({ name: 'rtc-mc146818', version: 1, schema });

export interface RtcOptions {
  irq: Line;
  clock: Clock;
  /** Wall-clock time in ns since 1970 at virtual time 0. */
  epochNs: bigint;
  /** Initial CMOS bytes beyond the clock's own, by index. */
  cmos?: Readonly<Record<number, number>>;
}

export class RtcMc146818 extends StatefulDevice<State> {
  readonly name = 'rtc-mc146818';
  readonly ports = [{ first: Port.index, last: Port.data }];
  readonly #irq: Line;
  readonly #clock: Clock;
  readonly #timer: Timer;

  constructor({ irq, clock, epochNs, cmos = {} }: RtcOptions) {
    super(definition, () => {
      const memory = new Uint8Array(128);
      for (const [index, value] of Object.entries(cmos)) memory[Number(index)] = value;
      memory[Register.a] = A.dividerRun | 6;
      memory[Register.b] = B.hours24;
      return { index: 0, nmiMasked: false, cmos: memory, offsetNs: epochNs, frozenNs: null, checkedNs: 0n };
    });
    this.#irq = irq;
    this.#clock = clock;
    this.#timer = clock.timer('rtc-mc146818', () => {
      this.#update();
    });
  }

  /** The battery keeps CMOS and time over a reset; the interrupt enables and flags are cleared (datasheet, RESET pin). */
  override reset(): void {
    const cmos = this.state.cmos;
    cmos[Register.b] = (cmos[Register.b] ?? 0) & ~(B.periodic | B.alarm | B.update);
    cmos[Register.c] = 0;
    this.state.index = 0;
    this.state.nmiMasked = false;
    this.stateChanged();
  }

  /** Sets the time of day; an input of the machine. */
  setWallClock(nowNs: bigint): void {
    this.#update();
    this.state.offsetNs = nowNs - this.#clock.now();
    if (this.state.frozenNs !== null) this.state.frozenNs = nowNs;
    this.#update();
  }

  #wallNs(): bigint {
    return this.state.frozenNs ?? this.#clock.now() + this.state.offsetNs;
  }

  #cmos(index: number): number {
    return this.state.cmos[index] ?? 0;
  }

  /** ns between periodic interrupts, or 0 (datasheet, table 5, with the 32.768 kHz time base). */
  #periodNs(): bigint {
    const rate = this.#cmos(Register.a) & A.rateMask;
    if (rate === 0 || !this.#running()) return 0n;
    const shift = rate < 3 ? rate + 6 : rate - 1;
    return (nsPerSecond << BigInt(shift)) / 32_768n;
  }

  #running(): boolean {
    return (this.#cmos(Register.a) & A.dividerMask) === A.dividerRun;
  }

  /** Flags that became due since the last look, the interrupt line, and the timer for the next one. */
  #update(): void {
    const now = this.#clock.now();
    const { checkedNs, cmos } = this.state;
    let flags = this.#cmos(Register.c) & ~C.irq;
    const period = this.#periodNs();
    if (period > 0n && now / period > checkedNs / period) flags |= C.periodic;
    const before = floorDiv(checkedNs + this.state.offsetNs, nsPerSecond);
    const after = floorDiv(now + this.state.offsetNs, nsPerSecond);
    if (after > before && this.state.frozenNs === null && this.#running()) {
      flags |= C.update;
      if (this.#alarmWithin(before + 1n, after)) flags |= C.alarm;
    }
    const active = flags & this.#cmos(Register.b) & (C.periodic | C.alarm | C.update);
    cmos[Register.c] = flags | (active ? C.irq : 0);
    this.state.checkedNs = now;
    this.#irq.set(active !== 0);
    this.#schedule(now, period);
  }

  #schedule(now: bigint, period: bigint): void {
    const enabled = this.#cmos(Register.b);
    let next: bigint | undefined;
    if (enabled & B.periodic && period > 0n) next = (now / period + 1n) * period;
    if (enabled & (B.update | B.alarm) && this.state.frozenNs === null) {
      const wall = now + this.state.offsetNs;
      const second = now + ((floorDiv(wall, nsPerSecond) + 1n) * nsPerSecond - wall);
      if (next === undefined || second < next) next = second;
    }
    if (next === undefined) this.#timer.cancel();
    else this.#timer.arm(next);
  }

  /** Whether an alarm matches one of the seconds from `first` to `last` (since 1970). */
  #alarmWithin(first: bigint, last: bigint): boolean {
    const span = last - first >= secondsPerDay ? secondsPerDay : last - first + 1n;
    for (let n = 0n; n < span; n++) if (this.#alarmMatches(Number((first + n) % secondsPerDay))) return true;
    return false;
  }

  #alarmMatches(secondOfDay: number): boolean {
    const match = (index: number, encoded: number): boolean => {
      const alarm = this.#cmos(index);
      return (alarm & dontCare) === dontCare || alarm === encoded;
    };
    return (
      match(Register.secondsAlarm, this.#encode(secondOfDay % 60)) &&
      match(Register.minutesAlarm, this.#encode(Math.floor(secondOfDay / 60) % 60)) &&
      match(Register.hoursAlarm, this.#encodeHours(Math.floor(secondOfDay / 3600)))
    );
  }

  #encode(value: number): number {
    return this.#cmos(Register.b) & B.binary ? value : (Math.floor(value / 10) << 4) | (value % 10);
  }
  #decode(value: number): number {
    return this.#cmos(Register.b) & B.binary ? value : (value >> 4) * 10 + (value & 15);
  }
  #encodeHours(hours: number): number {
    if (this.#cmos(Register.b) & B.hours24) return this.#encode(hours);
    return this.#encode(hours % 12 || 12) | (hours >= 12 ? 0x80 : 0);
  }
  #decodeHours(value: number): number {
    if (this.#cmos(Register.b) & B.hours24) return this.#decode(value);
    return (this.#decode(value & 0x7f) % 12) + (value & 0x80 ? 12 : 0);
  }

  readPort(port: number, _size: AccessSize): number {
    if (port === Port.index) return 0xff; // write-only in a PC/AT
    this.#update();
    return this.#readRegister(this.state.index);
  }

  #readRegister(index: number): number {
    const wall = this.#wallNs();
    const date = new Date(Number(floorDiv(wall, 1_000_000n)));
    switch (index) {
      case Register.seconds:
        return this.#encode(date.getUTCSeconds());
      case Register.minutes:
        return this.#encode(date.getUTCMinutes());
      case Register.hours:
        return this.#encodeHours(date.getUTCHours());
      case Register.dayOfWeek:
        return this.#encode(date.getUTCDay() + 1);
      case Register.day:
        return this.#encode(date.getUTCDate());
      case Register.month:
        return this.#encode(date.getUTCMonth() + 1);
      case Register.year:
        return this.#encode(date.getUTCFullYear() % 100);
      case Register.century: // firmware keeps it in BCD whatever register B says
        return (
          (Math.floor(date.getUTCFullYear() / 1000) << 4) | (Math.floor(date.getUTCFullYear() / 100) % 10)
        );
      case Register.a:
        return this.#cmos(index) | (this.#updateInProgress(wall) ? A.updateInProgress : 0);
      case Register.c: {
        const flags = this.#cmos(index);
        this.state.cmos[index] = 0;
        this.#irq.set(false);
        return flags;
      }
      case Register.d:
        return validRam;
      default:
        return this.#cmos(index);
    }
  }

  #updateInProgress(wall: bigint): boolean {
    const left = nsPerSecond - (wall - floorDiv(wall, nsPerSecond) * nsPerSecond);
    return this.state.frozenNs === null && this.#running() && left <= updateLeadNs;
  }

  writePort(port: number, _size: AccessSize, value: number): void {
    if (port === Port.index) {
      this.state.index = value & 0x7f;
      this.state.nmiMasked = (value & 0x80) !== 0;
      return;
    }
    this.#update();
    this.#writeRegister(this.state.index, value);
    this.#update();
  }

  #writeRegister(index: number, value: number): void {
    const { cmos } = this.state;
    switch (index) {
      case Register.a:
        cmos[index] = value & 0x7f;
        return;
      case Register.b:
        this.#writeB(value);
        return;
      case Register.c:
      case Register.d:
        return;
      case Register.seconds:
      case Register.minutes:
      case Register.hours:
      case Register.day:
      case Register.month:
      case Register.year:
      case Register.century:
        this.#writeTime(index, value);
        return;
      case Register.dayOfWeek: // follows from the date
        return;
      default:
        cmos[index] = value;
    }
  }

  #writeB(value: number): void {
    const before = this.#cmos(Register.b);
    this.state.cmos[Register.b] = value;
    if (value & B.set && !(before & B.set)) this.state.frozenNs = this.#clock.now() + this.state.offsetNs;
    if (!(value & B.set) && this.state.frozenNs !== null) {
      this.state.offsetNs = this.state.frozenNs - this.#clock.now();
      this.state.frozenNs = null;
    }
  }

  #writeTime(index: number, value: number): void {
    const wall = this.#wallNs();
    const date = new Date(Number(floorDiv(wall, 1_000_000n)));
    const year = date.getUTCFullYear();
    if (index === Register.seconds) date.setUTCSeconds(this.#decode(value));
    else if (index === Register.minutes) date.setUTCMinutes(this.#decode(value));
    else if (index === Register.hours) date.setUTCHours(this.#decodeHours(value));
    else if (index === Register.day) date.setUTCDate(this.#decode(value));
    else if (index === Register.month) date.setUTCMonth(this.#decode(value) - 1);
    else if (index === Register.year) date.setUTCFullYear(year - (year % 100) + this.#decode(value));
    else date.setUTCFullYear(((value >> 4) * 10 + (value & 15)) * 100 + (year % 100));
    if (date.getUTCFullYear() < firstYear || date.getUTCFullYear() > lastYear) return;
    const moved = BigInt(date.getTime()) * 1_000_000n + (wall - floorDiv(wall, 1_000_000n) * 1_000_000n);
    if (this.state.frozenNs !== null) this.state.frozenNs = moved;
    else this.state.offsetNs += moved - wall;
  }

  /** Looks at nothing but the saved flags: what became due since is found where the machine that was saved finds it. */
  protected override stateChanged(): void {
    this.#irq.set((this.#cmos(Register.c) & C.irq) !== 0);
    this.#schedule(this.#clock.now(), this.#periodNs());
  }
}

function floorDiv(a: bigint, b: bigint): bigint {
  const q = a / b;
  return a % b < 0n ? q - 1n : q;
}
