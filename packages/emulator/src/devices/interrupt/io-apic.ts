/**
 * Intel 82093AA I/O APIC with 24 inputs. Datasheet: 82093AA (order number 290566), section 3 "Register Description".
 */
import { StatefulDevice, type AccessSize } from '../device.ts';
import type { ApicMessageBus } from '../apic-bus.ts';
import { defineState, record, tuple, u32, u8, type Infer } from '../schema.ts';

export const ioApicBase = 0xfec0_0000;
export const ioApicPins = 24;
const Register = { select: 0x00, window: 0x10 } as const;
const Index = { id: 0x00, version: 0x01, arbitration: 0x02, redirection: 0x10 } as const;
const apicVersion = 0x11;
const Entry = {
  logical: 0x800,
  delivering: 0x1000,
  activeLow: 0x2000,
  remoteIrr: 0x4000,
  level: 0x8000,
  masked: 0x1_0000,
} as const;
const writableLow = 0x1_afff;

const schema = record({
  id: u8,
  select: u8,
  /** Levels of the inputs, bit n for pin n. */
  lines: u32,
  /** Edges that wait while their entry is masked are lost, as on the chip; level inputs are looked at again. */
  low: tuple(u32, ioApicPins),
  high: tuple(u32, ioApicPins),
});
type State = Infer<typeof schema>;
const definition = defineState<State>({ name: 'io-apic', version: 1, schema });

export class IoApic extends StatefulDevice<State> {
  readonly name = 'io-apic';
  readonly mmio = [{ base: ioApicBase, length: 0x1000, width: 4 as const }];
  readonly #bus: ApicMessageBus;

  constructor(options: { bus: ApicMessageBus; id?: number }) {
    super(definition, () => ({
      id: options.id ?? 0,
      select: 0,
      lines: 0,
      low: Array<number>(ioApicPins).fill(Entry.masked),
      high: Array<number>(ioApicPins).fill(0),
    }));
    this.#bus = options.bus;
  }

  setPin(pin: number, level: boolean): void {
    const bit = 1 << pin;
    const before = (this.state.lines & bit) !== 0;
    this.state.lines = (level ? this.state.lines | bit : this.state.lines & ~bit) >>> 0;
    const entry = this.state.low[pin] ?? Entry.masked;
    if (entry & Entry.masked) return;
    if (entry & Entry.level) this.#serviceLevel(pin);
    else if (level && !before) this.#deliver(pin, entry);
  }

  #serviceLevel(pin: number): void {
    const entry = this.state.low[pin] ?? Entry.masked;
    const active = (this.state.lines & (1 << pin)) !== 0;
    if (!active || entry & (Entry.masked | Entry.remoteIrr) || !(entry & Entry.level)) return;
    if (this.#deliver(pin, entry)) this.state.low[pin] = entry | Entry.remoteIrr;
  }

  #deliver(pin: number, entry: number): boolean {
    return this.#bus.send(
      {
        deliveryMode: (entry >> 8) & 7,
        vector: entry & 0xff,
        level: true,
        levelTriggered: (entry & Entry.level) !== 0,
      },
      { id: (this.state.high[pin] ?? 0) >>> 24, logical: (entry & Entry.logical) !== 0 },
    );
  }

  /** EOI broadcast: clears Remote IRR of the vector and looks at the level again. */
  endOfInterrupt(vector: number): void {
    for (let pin = 0; pin < ioApicPins; pin++) {
      const entry = this.state.low[pin] ?? 0;
      if ((entry & 0xff) !== vector || !(entry & Entry.remoteIrr)) continue;
      this.state.low[pin] = entry & ~Entry.remoteIrr;
      this.#serviceLevel(pin);
    }
  }

  readMemory(offset: number, size: AccessSize): number {
    const register = offset & 0xfc & ~3;
    let value = 0;
    if (register === Register.select) value = this.state.select;
    else if (register === Register.window) value = this.#readIndexed();
    return size === 4 ? value : (value >>> ((offset & 3) * 8)) >>> 0;
  }

  #readIndexed(): number {
    const { select, id, low, high } = this.state;
    if (select === Index.id || select === Index.arbitration) return (id << 24) >>> 0;
    if (select === Index.version) return ((ioApicPins - 1) << 16) | apicVersion;
    const pin = (select - Index.redirection) >> 1;
    if (pin < 0 || pin >= ioApicPins) return 0xffff_ffff;
    return (select & 1 ? high[pin] : low[pin]) ?? 0;
  }

  writeMemory(offset: number, size: AccessSize, value: number): void {
    const register = offset & 0xff;
    if (register === Register.select) this.state.select = value & 0xff;
    else if (register === Register.window && size === 4) this.#writeIndexed(value);
  }

  #writeIndexed(value: number): void {
    const { select, low, high } = this.state;
    if (select === Index.id) this.state.id = (value >>> 24) & 15;
    const pin = (select - Index.redirection) >> 1;
    if (pin < 0 || pin >= ioApicPins) return;
    if (select & 1) {
      high[pin] = (value & 0xff00_0000) >>> 0;
      return;
    }
    const readOnly = (low[pin] ?? 0) & (Entry.remoteIrr | Entry.delivering);
    let entry = (value & writableLow) | readOnly;
    if (!(entry & Entry.level)) entry &= ~Entry.remoteIrr; // the way software clears Remote IRR without an EOI
    low[pin] = entry;
    this.#serviceLevel(pin);
  }

  protected override checkState(state: State): void {
    if (state.lines >>> ioApicPins !== 0) this.refuseState('lines has bits beyond pin 23');
  }
}
