/**
 * A VGA with the Bochs VBE extension on PCI, as QEMU's standard VGA (docs/specs/standard-vga): device 0x1111 of vendor 0x1234. BAR 0 is the
 * linear frame buffer, BAR 2 the registers in memory, the expansion ROM holds the VGA BIOS.
 */
import { StatefulDevice, type AccessSize, type Clock, type MmioRange } from '../device.ts';
import type { PciFunction } from '../pci/pci-function.ts';
import { CommandBit, configurationBytes, PciRegisters } from '../pci/pci-registers.ts';
import { bytes, defineState, record, type Infer } from '../schema.ts';
import { linearWindow, readWindow, vgaWindow, writeWindow } from './vga-memory.ts';
import { readVgaPort, VgaPort, vgaPorts, writeVgaPort } from './vga-ports.ts';
import {
  readVbe,
  vbeDepths,
  vbeEnabled,
  vbeLimits,
  vgaPowerOn,
  vgaRegisters,
  videoMemoryBytes,
  writeVbe,
  type VgaRegisters,
} from './vga-registers.ts';

const VbePort = { index: 0x1ce, data: 0x1cf } as const;

/** Ports whose registers say where video memory is seen. */
const movesWindow: ReadonlySet<number> = new Set([VgaPort.misc, VgaPort.sequencer + 1, VgaPort.graphics + 1]);

const bars = { frameBuffer: 0, registers: 2, rom: 'rom' } as const;
const registerBarBytes = 0x1000;
const romBytes = 0x1_0000;
/** In BAR 2: VGA ports from 0x3c0 on, and the VBE registers, two bytes each. */
const RegisterBar = { ports: 0x400, portsEnd: 0x420, vbe: 0x500, vbeEnd: 0x516 } as const;

const configuration = new PciRegisters({
  vendor: 0x1234,
  device: 0x1111,
  classCode: 0x03_0000,
  revision: 2,
  subsystemVendor: 0x1af4,
  subsystem: 0x1100,
  command: { reset: 0, writable: CommandBit.io | CommandBit.memory | CommandBit.master },
  bars: {
    [bars.frameBuffer]: { kind: 'prefetchable', bytes: videoMemoryBytes },
    [bars.registers]: { kind: 'memory', bytes: registerBarBytes },
    rom: { kind: 'memory', bytes: romBytes },
  },
});

const schema = record({ space: bytes(configurationBytes), registers: vgaRegisters });
type State = Infer<typeof schema>;
const definition = defineState<State>({ name: 'vga', version: 1, schema });

/** A piece of video memory that the processor reaches as plain memory. */
export interface VideoWindow {
  physical: number;
  length: number;
  /** First byte in video memory. */
  memory: number;
}

export interface VgaOptions {
  clock: Clock;
  video: {
    /** Video memory, in place. */
    memory: () => Uint8Array;
    /** The device itself wrote there. */
    changed: (offset: number, length: number) => void;
    /** Which parts are plain memory from now on. */
    map: (windows: readonly VideoWindow[]) => void;
  };
  /** The VGA BIOS. */
  rom: () => Uint8Array;
  /** Where firmware puts frame buffer and registers; without it they are off. */
  firmware?: { frameBuffer: number; registers: number } | undefined;
}

export class Vga extends StatefulDevice<State> implements PciFunction {
  readonly name = 'vga';
  readonly ports = [
    { first: VbePort.index, last: VbePort.index, width: 2 as const },
    { first: VbePort.data, last: VbePort.data + 1, width: 2 as const },
    vgaPorts,
  ];
  readonly mmio: readonly MmioRange[] = [vgaWindow];
  readonly #options: VgaOptions;

  constructor(options: VgaOptions) {
    super(definition, () => {
      const space = configuration.powerOn();
      if (options.firmware !== undefined) {
        configuration.setBar(space, bars.frameBuffer, options.firmware.frameBuffer);
        configuration.setBar(space, bars.registers, options.firmware.registers);
        space[4] = CommandBit.io | CommandBit.memory;
      }
      return { space, registers: vgaPowerOn() };
    });
    this.#options = options;
  }

  get registers(): VgaRegisters {
    return this.state.registers;
  }

  // --- memory ---

  readMemory(offset: number): number {
    return readWindow(this.state.registers, this.#options.video.memory(), offset) ?? 0xff;
  }

  writeMemory(offset: number, _size: AccessSize, value: number): void {
    const at = writeWindow(this.state.registers, this.#options.video.memory(), offset, value);
    if (at !== undefined) this.#options.video.changed(at & ~3, 4);
  }

  /** After whatever may have moved a window. */
  #remap(): void {
    const windows: VideoWindow[] = [];
    const linear = linearWindow(this.state.registers);
    if (linear !== undefined)
      windows.push({
        physical: vgaWindow.base + linear.offset,
        length: linear.length,
        memory: linear.memory,
      });
    const frameBuffer = configuration.barAddress(this.state.space, bars.frameBuffer);
    if (frameBuffer !== undefined)
      windows.push({ physical: frameBuffer, length: videoMemoryBytes, memory: 0 });
    this.#options.video.map(windows);
  }

  // --- configuration space and BARs ---

  readConfiguration(register: number, size: AccessSize): number {
    return configuration.read(this.state.space, register, size);
  }

  writeConfiguration(register: number, size: AccessSize, value: number): void {
    configuration.write(this.state.space, register, size, value);
    this.#remap();
  }

  /** Offsets in BAR 2, and behind it in the ROM. (The frame buffer is plain memory.) */
  claims(address: number): number | undefined {
    const { space } = this.state;
    const inside = (index: 2 | 'rom', length: number): number | undefined => {
      const base = configuration.barAddress(space, index);
      const offset = base === undefined ? -1 : address - base;
      return offset >= 0 && offset < length ? offset : undefined;
    };
    const inRegisters = inside(bars.registers, registerBarBytes);
    if (inRegisters !== undefined) return inRegisters;
    const inRom = inside(bars.rom, romBytes);
    return inRom === undefined ? undefined : registerBarBytes + inRom;
  }

  readBar(offset: number, size: AccessSize): number {
    let value = 0;
    if (offset >= registerBarBytes) {
      const rom = this.#options.rom();
      for (let n = 0; n < size; n++) value |= (rom[offset - registerBarBytes + n] ?? 0) << (n * 8);
      return value >>> 0;
    }
    if (offset >= RegisterBar.vbe && offset < RegisterBar.vbeEnd)
      return readVbe(this.state.registers, (offset - RegisterBar.vbe) >> 1);
    if (offset >= RegisterBar.ports && offset < RegisterBar.portsEnd) {
      for (let n = 0; n < size; n++)
        value |= this.readPort(0x3c0 + offset - RegisterBar.ports + n, 1) << (n * 8);
    }
    return value >>> 0;
  }

  writeBar(offset: number, size: AccessSize, value: number): void {
    if (offset >= RegisterBar.vbe && offset < RegisterBar.vbeEnd && size === 2)
      this.#writeVbe((offset - RegisterBar.vbe) >> 1, value);
    else if (offset >= RegisterBar.ports && offset < RegisterBar.portsEnd)
      for (let n = 0; n < size; n++)
        this.writePort(0x3c0 + offset - RegisterBar.ports + n, 1, (value >>> (n * 8)) & 0xff);
  }

  #writeVbe(index: number, value: number): void {
    const { memory, changed } = this.#options.video;
    const cleared = writeVbe(this.state.registers, value, index);
    if (cleared > 0) {
      memory().fill(0, 0, cleared);
      changed(0, cleared);
    }
    this.#remap();
  }

  // --- ports ---

  readPort(port: number, size: AccessSize): number {
    const state = this.state.registers;
    switch (port) {
      case VbePort.index:
        return state.vbeIndex;
      case VbePort.data:
      case VbePort.data + 1:
        return size === 2 || port === VbePort.data ? readVbe(state) : 0;
      default:
        return readVgaPort(state, port, this.#options.clock.now());
    }
  }

  writePort(port: number, _size: AccessSize, value: number): void {
    const state = this.state.registers;
    switch (port) {
      case VbePort.index:
        state.vbeIndex = value;
        return;
      case VbePort.data:
        this.#writeVbe(state.vbeIndex, value);
        return;
      case VbePort.data + 1:
        return;
      default:
        writeVgaPort(state, port, value, vbeEnabled(state) ? 8 : 6);
        if (movesWindow.has(port)) this.#remap();
    }
  }

  protected override checkState({ space, registers }: State): void {
    if (!configuration.isPossible(space)) this.refuseState('a read-only register has another value');
    const [, width = 0, height = 0, depth = 0, , bank = 0] = registers.vbe;
    if (width > vbeLimits.width || height > vbeLimits.height || (depth !== 0 && !vbeDepths.includes(depth)))
      this.refuseState('the frame buffer has a size that can not be set');
    if (bank >= videoMemoryBytes / 0x1_0000) this.refuseState('the bank lies outside of video memory');
  }

  protected override stateChanged(): void {
    this.#remap();
  }
}
