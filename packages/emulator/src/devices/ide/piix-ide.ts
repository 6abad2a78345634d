/**
 * IDE controller of the PIIX3, 82371SB (Intel order number 290550), section 2.3: function 1 of device 1. Two channels at the addresses
 * of a PC/AT, with interrupts 14 and 15, and their bus master registers in BAR 4.
 */
import { StatefulDevice, type AccessSize, type Clock, type GuestMemory, type Line } from '../device.ts';
import type { PciFunction, PciPortRange } from '../pci/pci-function.ts';
import { CommandBit, configurationBytes, PciRegisters } from '../pci/pci-registers.ts';
import { bytes, defineState, record, tuple, type Infer } from '../schema.ts';
import { TaskFile } from './ata.ts';
import { IdeChannel, type Drive } from './ide-channel.ts';
import { channelPowerOn, channelSchema } from './ide-state.ts';

/** IDETIM of each channel: bit 15 decodes its ports. */
const timing = { first: 0x40, decode: 0x80 } as const;
const busMasterBar = 4;
const busMasterBytes = 16;
const primary = { command: 0x1f0, control: 0x3f6 } as const;
const secondary = { command: 0x170, control: 0x376 } as const;
const devselMedium = 0x0280;

const registers = new PciRegisters({
  vendor: 0x8086,
  device: 0x7010,
  classCode: 0x01_0180,
  subsystemVendor: 0x1af4,
  subsystem: 0x1100,
  command: { reset: 0, writable: CommandBit.io | CommandBit.master },
  status: devselMedium,
  bars: { [busMasterBar]: { kind: 'io', bytes: busMasterBytes } },
  own: [{ first: timing.first, reset: [0, 0, 0, 0], writable: [0xff, 0xff, 0xff, 0xff] }],
});

const schema = record({ space: bytes(configurationBytes), channels: tuple(channelSchema, 2) });
type State = Infer<typeof schema>;
const definition = defineState<State>({ name: 'piix-ide', version: 1, schema });

export interface PiixIdeOptions {
  /** Primary master and slave, secondary master and slave. */
  drives: readonly (Drive | undefined)[];
  clock: Clock;
  memory: GuestMemory;
  /** ISA interrupts 14 and 15. */
  irqs: readonly [Line, Line];
  /** Base address of the bus master registers as firmware would set it; without it the controller is off. */
  firmwareBase?: number | undefined;
}

export class PiixIde extends StatefulDevice<State> implements PciFunction {
  readonly name = 'piix-ide';
  readonly ports = [
    { first: primary.command, last: primary.command + 7, width: 4 as const },
    { first: primary.control, last: primary.control },
    { first: secondary.command, last: secondary.command + 7, width: 4 as const },
    { first: secondary.control, last: secondary.control },
  ];
  readonly #channels: readonly [IdeChannel, IdeChannel];

  constructor({ drives, clock, memory, irqs, firmwareBase }: PiixIdeOptions) {
    const isCd = (n: number): boolean => drives[n]?.kind === 'cd';
    super(definition, () => {
      const space = registers.powerOn();
      if (firmwareBase !== undefined) {
        registers.setBar(space, busMasterBar, firmwareBase);
        space.set([0, timing.decode, 0, timing.decode], timing.first);
        space[4] = CommandBit.io;
      }
      return { space, channels: [channelPowerOn([isCd(0), isCd(1)]), channelPowerOn([isCd(2), isCd(3)])] };
    });
    const channel = (n: 0 | 1): IdeChannel =>
      new IdeChannel({
        name: `piix-ide-${String(n)}`,
        drives: drives.slice(n * 2, n * 2 + 2),
        clock,
        memory,
        irq: irqs[n],
        state: () => this.state.channels[n] as State['channels'][number],
      });
    this.#channels = [channel(0), channel(1)];
  }

  /** The channel that a port belongs to, when the controller decodes it. */
  #decode(port: number): { channel: IdeChannel; control: boolean; register: number } | undefined {
    const n = port === primary.control || (port >= primary.command && port < primary.command + 8) ? 0 : 1;
    const { space } = this.state;
    const on =
      registers.command(space) & CommandBit.io && (space[timing.first + n * 2 + 1] ?? 0) & timing.decode;
    if (!on) return undefined;
    const { command, control } = n === 0 ? primary : secondary;
    return { channel: this.#channels[n], control: port === control, register: port - command };
  }

  readPort(port: number, size: AccessSize): number {
    const at = this.#decode(port);
    if (at === undefined) return 0xffff_ffff;
    if (at.control) return at.channel.alternateStatus();
    // Only the data register is wider than a byte.
    if (at.register === TaskFile.data || size === 1) return at.channel.readTaskFile(at.register, size);
    let value = 0;
    for (let n = 0; n < size && at.register + n < 8; n++)
      value |= at.channel.readTaskFile(at.register + n, 1) << (n * 8);
    return value >>> 0;
  }

  writePort(port: number, size: AccessSize, value: number): void {
    const at = this.#decode(port);
    if (at === undefined) return;
    if (at.control) at.channel.writeControl(value);
    else if (at.register === TaskFile.data || size === 1) at.channel.writeTaskFile(at.register, size, value);
    else
      for (let n = 0; n < size && at.register + n < 8; n++)
        at.channel.writeTaskFile(at.register + n, 1, (value >>> (n * 8)) & 0xff);
  }

  readItems(port: number, size: AccessSize, into: Uint8Array): number {
    return this.#dataPort(port)?.readItems(size, into) ?? 0;
  }

  writeItems(port: number, size: AccessSize, from: Uint8Array): number {
    return this.#dataPort(port)?.writeItems(size, from) ?? 0;
  }

  #dataPort(port: number): IdeChannel | undefined {
    if (port !== primary.command + TaskFile.data && port !== secondary.command + TaskFile.data)
      return undefined;
    return this.#decode(port)?.channel;
  }

  readConfiguration(register: number, size: AccessSize): number {
    return registers.read(this.state.space, register, size);
  }

  writeConfiguration(register: number, size: AccessSize, value: number): void {
    registers.write(this.state.space, register, size, value);
  }

  portRanges(): readonly PciPortRange[] {
    const first = registers.barAddress(this.state.space, busMasterBar);
    if (first === undefined) return [];
    return [
      {
        first,
        length: busMasterBytes,
        read: (offset, size) => {
          let value = 0;
          for (let n = 0; n < size; n++)
            value |= this.#busMaster(offset + n).readBusMaster((offset + n) & 7) << (n * 8);
          return value >>> 0;
        },
        write: (offset, size, value) => {
          for (let n = 0; n < size; n++)
            this.#busMaster(offset + n).writeBusMaster((offset + n) & 7, (value >>> (n * 8)) & 0xff);
        },
      },
    ];
  }

  #busMaster(offset: number): IdeChannel {
    return this.#channels[offset < busMasterBytes / 2 ? 0 : 1];
  }

  claims(): undefined {
    return undefined;
  }
  readBar(): number {
    return 0xffff_ffff;
  }
  writeBar(): void {}

  /** Puts a disc into a CD drive, or (null) takes it out; false when software holds the door. */
  changeDisc(drive: number, medium: number | null): boolean {
    return this.#channels[drive < 2 ? 0 : 1].changeDisc(drive & 1, medium);
  }

  protected override checkState({ space, channels }: State): void {
    if (!registers.isPossible(space)) this.refuseState('a read-only register has another value');
    for (const { position, blockEnd, buffer } of channels)
      if (position > blockEnd || blockEnd > buffer.length) this.refuseState('a transfer leaves its buffer');
  }

  protected override stateChanged(): void {
    for (const channel of this.#channels) channel.stateChanged();
  }
}
