/**
 * A VGA with the Bochs VBE extension on PCI, as QEMU's standard VGA (docs/specs/standard-vga): device 0x1111 of vendor 0x1234. BAR 0 is the
 * linear frame buffer, BAR 2 the registers in memory, the expansion ROM holds the VGA BIOS.
 */
import { StatefulDevice, type AccessSize, type Clock, type MmioRange } from '../device.ts';
import type { PciFunction } from '../pci/pci-function.ts';
import { CommandBit, configurationBytes, PciRegisters } from '../pci/pci-registers.ts';
import { bytes, defineState, record, type Infer } from '../schema.ts';
import { linearWindow, readWindow, vgaWindow, writeWindow } from './vga-memory.ts';
import {
  Crtc, readVbe, vbeDepths, vbeEnabled, vbeLimits, vgaPowerOn, vgaRegisters, videoMemoryBytes, writeVbe, type VgaRegisters,
} from './vga-registers.ts'; // prettier-ignore

const Port = {
  vbeIndex: 0x1ce, vbeData: 0x1cf, crtcMono: 0x3b4, attribute: 0x3c0, attributeRead: 0x3c1, misc: 0x3c2, sequencer: 0x3c4, dacMask: 0x3c6,
  dacRead: 0x3c7, dacWrite: 0x3c8, dacData: 0x3c9, feature: 0x3ca, miscRead: 0x3cc, graphics: 0x3ce, crtc: 0x3d4, status: 0x3da,
} as const; // prettier-ignore
const frameNs = 14_285_714n;
const lineNs = 31_778n;

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
    { first: Port.vbeIndex, last: Port.vbeIndex, width: 2 as const },
    { first: Port.vbeData, last: Port.vbeData + 1, width: 2 as const },
    { first: 0x3b0, last: 0x3df },
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
      case Port.vbeIndex:
        return state.vbeIndex;
      case Port.vbeData:
      case Port.vbeData + 1:
        return size === 2 || port === Port.vbeData ? readVbe(state) : 0;
      case Port.attribute:
        return state.attributeIndex;
      case Port.attributeRead:
        return state.attributes[state.attributeIndex & 31] ?? 0;
      case Port.misc: // input status 0: switch sense
        return 0x10;
      case Port.miscRead:
        return state.misc;
      case Port.sequencer:
        return state.sequencerIndex;
      case Port.sequencer + 1:
        return state.sequencer[state.sequencerIndex] ?? 0;
      case Port.graphics:
        return state.graphicsIndex;
      case Port.graphics + 1:
        return state.graphics[state.graphicsIndex] ?? 0;
      case Port.dacMask:
        return state.dacMask;
      case Port.dacRead:
        return state.dacReading ? 3 : 0;
      case Port.dacWrite:
        return state.dacIndex;
      case Port.dacData:
        return this.#readDac();
      case Port.feature:
        return 0;
      default:
        return this.#readCrtc(port - (state.misc & 1 ? 0 : Port.crtcMono - Port.crtc));
    }
  }

  /** CRTC registers and input status 1, at 0x3d? in colour and at 0x3b? in monochrome. */
  #readCrtc(port: number): number {
    const state = this.state.registers;
    if (port === Port.crtc) return state.crtcIndex;
    if (port === Port.crtc + 1) return state.crtc[state.crtcIndex & 31] ?? 0;
    if (port !== Port.status) return 0xff;
    state.attributeIsData = false;
    const inFrame = this.#options.clock.now() % frameNs;
    const vertical = inFrame >= frameNs - 20n * lineNs;
    const blank = vertical || inFrame % lineNs >= (lineNs * 4n) / 5n;
    return (vertical ? 8 : 0) | (blank ? 1 : 0);
  }

  writePort(port: number, _size: AccessSize, value: number): void {
    const state = this.state.registers;
    switch (port) {
      case Port.vbeIndex:
        state.vbeIndex = value;
        return;
      case Port.vbeData:
        this.#writeVbe(state.vbeIndex, value);
        return;
      case Port.vbeData + 1:
        return;
      case Port.attribute:
        if (state.attributeIsData) state.attributes[state.attributeIndex & 31] = value;
        else state.attributeIndex = value & 0x3f;
        state.attributeIsData = !state.attributeIsData;
        return;
      case Port.misc:
        state.misc = value;
        this.#remap();
        return;
      case Port.sequencer:
        state.sequencerIndex = value & 7;
        return;
      case Port.sequencer + 1:
        state.sequencer[state.sequencerIndex] = value;
        this.#remap();
        return;
      case Port.graphics:
        state.graphicsIndex = value & 15;
        return;
      case Port.graphics + 1:
        state.graphics[state.graphicsIndex] = value;
        this.#remap();
        return;
      default:
        this.#writeDacOrCrtc(port, value);
    }
  }

  #writeDacOrCrtc(port: number, value: number): void {
    const state = this.state.registers;
    switch (port) {
      case Port.dacMask:
        state.dacMask = value;
        return;
      case Port.dacRead:
      case Port.dacWrite:
        state.dacIndex = value;
        state.dacComponent = 0;
        state.dacReading = port === Port.dacRead;
        return;
      case Port.dacData:
        state.dac[state.dacIndex * 3 + state.dacComponent] = vbeEnabled(state) ? value : value & 0x3f;
        this.#nextComponent();
        return;
      default:
        this.#writeCrtc(port - (state.misc & 1 ? 0 : Port.crtcMono - Port.crtc), value);
    }
  }

  #writeCrtc(port: number, value: number): void {
    const state = this.state.registers;
    if (port === Port.crtc) {
      state.crtcIndex = value & 31;
      return;
    }
    if (port !== Port.crtc + 1) return;
    // Bit 7 of register 0x11 protects registers 0-7, but for the line compare bit in register 7.
    if (state.crtcIndex < 8 && (state.crtc[Crtc.verticalSyncEnd] ?? 0) & 0x80) {
      if (state.crtcIndex === Crtc.overflow)
        state.crtc[Crtc.overflow] = ((state.crtc[Crtc.overflow] ?? 0) & ~0x10) | (value & 0x10);
      return;
    }
    state.crtc[state.crtcIndex & 31] = value;
  }

  #readDac(): number {
    const state = this.state.registers;
    const value = state.dac[state.dacIndex * 3 + state.dacComponent] ?? 0;
    this.#nextComponent();
    return value;
  }

  #nextComponent(): void {
    const state = this.state.registers;
    const { dacComponent, dacIndex } = state;
    state.dacComponent = dacComponent === 2 ? 0 : dacComponent + 1;
    if (dacComponent === 2) state.dacIndex = (dacIndex + 1) & 0xff;
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
