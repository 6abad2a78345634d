/**
 * A machine: processors, memory, board and virtual time. It is a function of its description, its inputs and their stamps alone. Here its
 * parts are wired together; `scheduler.ts` says in which order things happen, `turns.ts` which
 * processor runs, `processor.ts` drives the engine, `edge/` is the way in and out.
 */
import { Cpu, CpuEvent, Machine as MachineField, Region, cpuBlockBytes } from '../cpu/layout.ts';
import type { AccessSize } from '../devices/device.ts';
import type { TextScreen } from '../devices/video/vga-text.ts';
import type { BootPlan } from '../boot/plan.ts';
import { applyBootState } from './boot-state.ts';
import { VirtualClock } from './clock.ts';
import { CpuBlock, cpuStateSchema, type CpuState } from './cpu-state.ts';
import type { MachineDescription } from './description.ts';
import type { DiskSpace } from './disk-space.ts';
import type { Engine, EngineHost } from './engine-interface.ts';
import { MachineError } from './errors.ts';
import { sha256, type HashFactory } from './hash.ts';
import { MachineState, seedRandom, stirRandom } from './machine-state.ts';
import { MachineEdge, type InputConsumers } from './edge/edge.ts';
import type { InputResult } from './edge/input-queue.ts';
import type { LoggedInput, MachineInput, MachineOutput, StampedOutput } from './edge/table.ts';
import type { AbsentPages } from './absent-pages.ts';
import { MachineDisplay } from './machine-display.ts';
import { MachineMemory } from './machine-memory.ts';
import type { MemoryMap } from './memory-map.ts';
import type { PageBuffers } from './page-buffers.ts';
import { Board, type BoardSignals, type CpuSignals, type MachineBackends } from './boards/board.ts';
import { Processor } from './processor.ts';
import { poked, registerInputs, withRegister } from './register-inputs.ts';
import { Scheduler, type RunOptions, type RunResult } from './scheduler.ts';
import { Bookmarks } from './bookmarks.ts';
import { Stops } from './stops.ts';
import { Turns } from './turns.ts';
import { saveSpace, type DescribedSnapshot, type MachineSnapshot } from './snapshot.ts';

/** What `createMachine` puts together; a machine is not made of it by others. */
export interface MachineParts {
  description: MachineDescription;
  memory: MemoryMap;
  disks: readonly DiskSpace[];
  backends: MachineBackends & {
    hash?: HashFactory;
    /** The log: each input with its stamp, in the order in which the guest saw them. */
    input?: (entry: LoggedInput) => void;
    /** All that the guest puts out; false: it is to stop until what waits was taken (an OutputQueue says so when it is full). */
    output?: (entry: StampedOutput) => boolean | undefined;
  };
}

/** A whole PC: memory, processors and devices. It runs for as long as it is told, and is the same on every host at the same instruction count. */
export class Machine {
  readonly description: MachineDescription;
  readonly memory: MachineMemory;
  readonly display: MachineDisplay;
  /** Breakpoints and watchpoints. */
  readonly stops: Stops;
  /** Moments to go back to, within this process. */
  readonly bookmarks: Bookmarks;
  readonly disks: readonly DiskSpace[];
  readonly #map: MemoryMap;
  readonly #clock: VirtualClock;
  readonly #board: Board;
  readonly #turns: Turns;
  readonly #scheduler: Scheduler;
  readonly #state: MachineState;
  readonly #edge: MachineEdge;
  readonly #backends: MachineParts['backends'];
  #hasBase = false;
  /** No dirty mark was ever taken back: all pages that are not zero have theirs. */
  #allMarked = true;

  /** Use createMachine. */
  constructor({ description, memory, disks, backends }: MachineParts) {
    this.disks = disks;
    this.description = description;
    this.#map = memory;
    this.#backends = backends;
    this.#clock = new VirtualClock(memory.view, () => this.#turns.instructions);
    this.#clock.armed = (atNs) => {
      this.#turns.current.shortenSlice(atNs);
    };
    const processors = Array.from({ length: memory.cpuCount }, (_, n) => this.#makeProcessor(n));
    this.#turns = new Turns(processors, memory.view);
    this.stops = new Stops(memory.view);
    this.#scheduler = new Scheduler({
      stops: this.stops,
      turns: this.#turns,
      clock: this.#clock,
      edge: () => this.#edge,
      reset: () => {
        this.#powerOn();
        return this.description.romBytes === 0;
      },
    });
    this.#board = new Board({
      description,
      clock: this.#clock,
      memory,
      disks,
      backends,
      signals: this.#signals(),
    });
    this.#edge = this.#makeEdge();
    this.#state = new MachineState({
      edge: this.#edge,
      map: memory,
      disks,
      turns: this.#turns,
      clock: this.#clock,
      board: this.#board,
    });
    this.bookmarks = new Bookmarks({
      map: memory,
      disks,
      state: this.#state,
      engine: () => this.engine,
      stops: this.stops,
      now: () => ({ instructions: this.instructions, timeNs: this.timeNs }),
      marksCleared: () => {
        this.#allMarked = false;
      },
      wentBack: () => {
        this.#allMarked = false;
        this.#scheduler.forget();
      },
    });
    this.display = new MachineDisplay(this.#board, memory);
    this.memory = new MachineMemory(memory, (la, cpu = this.currentProcessor) =>
      this.engine.core.translateDebug(this.#turns.at(cpu).block.address, la),
    );
  }

  #makeProcessor(number: number): Processor {
    return new Processor({
      block: new CpuBlock(this.#map.memory, Region.cpuBlocks + number * cpuBlockBytes),
      clock: this.#clock,
      acknowledge: () => this.#board.lapic(number).acknowledge(),
      tscDeadline: (value) => {
        this.#board.lapic(number).writeTscDeadline(value);
      },
      shutdown: () => {
        this.#shutdown();
      },
      woken: () => {
        this.#turns.woken();
      },
    });
  }

  get #processor(): Processor {
    return this.#turns.current;
  }
  get #cpu(): CpuBlock {
    return this.#processor.block;
  }

  /** The largest frame that a network card takes at present: its driver decides. 0 while it has none. */
  frameBytes(nic: number): number {
    return this.#board.networkCards[nic]?.frameBytes ?? 0;
  }

  /** A driver in the guest takes the input `tablet`: the guest's pointer goes where it is told, and `mouse` is of less use. */
  get takesTablet(): boolean {
    return this.#board.tablet?.isUsed === true;
  }

  get engine(): Engine {
    return this.#processor.engine;
  }

  /** Called once by createMachine. */
  attachEngine(engine: Engine): void {
    for (const processor of this.#turns.all) processor.engine = engine;
    this.#map.prepareWrite = (physical, length) => {
      engine.core.hostWritePrepare(BigInt(physical), length);
    };
    this.#clock.setBase({ ns: 0n, count: 0n, rate: this.description.timeRate });
    seedRandom(this.#map, this.description.randomSeed);
    this.#powerOn();
  }

  // --- wiring ---

  /** The functions that core and engine import. */
  host(): EngineHost {
    const { bus } = this.#board;
    return {
      ioRead: (port, size) => {
        this.#scheduler.accessed();
        return bus.readPort(port & 0xffff, size);
      },
      ioWrite: (port, size, value) => {
        this.#scheduler.accessed();
        bus.writePort(port & 0xffff, size, value);
      },
      ioReadBlock: (port, size, target, count) =>
        bus.readItems(port, size, this.#map.bytes.subarray(target, target + count * size)),
      ioWriteBlock: (port, size, source, count) =>
        bus.writeItems(port, size, this.#map.bytes.subarray(source, source + count * size)),
      mmioRead: (low, high, size) => this.#readMemory(low >>> 0, high, size),
      mmioWrite: (low, high, size, value) => {
        this.#scheduler.accessed();
        this.#processor.takeTscDeadline();
        if (high === 0 && !this.#map.writeSplit(low >>> 0, size, value))
          bus.writeMemory(low >>> 0, size, value);
      },
      cpuEvent: (cpu, what) => {
        this.#cpuEvent(this.#turns.of(cpu), what);
      },
      pageIn: (page) => {
        this.#map.absent.pageIn(page);
      },
    };
  }

  #readMemory(low: number, high: number, size: AccessSize): number {
    this.#scheduler.accessed();
    this.#processor.takeTscDeadline();
    if (high !== 0) return size === 4 ? 0xffff_ffff : size === 2 ? 0xffff : 0xff;
    return this.#map.readSplit(low, size) ?? this.#board.bus.readMemory(low, size);
  }

  #signals(): BoardSignals {
    return {
      cpus: this.#turns.all.map((processor, n) => this.#cpuSignals(processor, n)),
      currentCpu: () => this.#turns.number,
      reset: () => {
        this.#scheduler.requestReset();
      },
      powerOff: (status) => {
        this.#scheduler.finish('powerOff', status);
      },
      debugExit: (status) => {
        this.#scheduler.finish('debugExit', status);
      },
      mapChanged: () => {
        this.#turns.flushTlbs();
      },
      a20: (enabled) => {
        this.#map.view.setUint32(
          Region.machine + MachineField.a20Mask,
          enabled ? 0xffff_ffff : 0xffef_ffff,
          true,
        );
        this.#turns.flushTlbs();
      },
      output: (output) => {
        this.#output(output);
      },
    };
  }

  #cpuSignals(processor: Processor, number: number): CpuSignals {
    const { block } = processor;
    return {
      intr: {
        set: (level) => {
          processor.setIntr(level);
        },
      },
      nmi: () => {
        processor.raiseNmi();
      },
      init: () => {
        if (number === 0) this.#scheduler.requestReset();
        else processor.init();
      },
      startUp: (vector) => {
        processor.startUp(vector);
      },
      cr8: {
        get: () => Number(block.wide(Cpu.cr8)),
        set: (value) => {
          block.setWide(Cpu.cr8, BigInt(value));
        },
      },
      tscOffset: () => block.wide(Cpu.tscOffset),
    };
  }

  #cpuEvent(processor: Processor, what: number): void {
    const { block } = processor;
    const lapic = this.#board.lapic(this.#turns.all.indexOf(processor));
    processor.takeTscDeadline();
    switch (what) {
      case CpuEvent.apicBase:
        lapic.setEnabled((block.wide(Cpu.apicBase) & 0x800n) !== 0n);
        return;
      case CpuEvent.readTscDeadline: {
        const value = lapic.readTscDeadline();
        block.setWide(Cpu.gpr, value & 0xffff_ffffn);
        block.setWide(Cpu.gpr + 16, value >> 32n);
        return;
      }
      case CpuEvent.taskPriority:
        lapic.update();
        return;
      case CpuEvent.fpuError:
        this.#board.chip('systemControl').signalFpuError();
        return;
      case CpuEvent.look:
        processor.lookInPlace();
        return;
      case CpuEvent.pause:
        this.#turns.yield();
        return;
      default:
    }
  }

  // --- power and boot ---

  /** Triple fault: the chipset of a PC answers the shutdown cycle with a reset. */
  #shutdown(): void {
    if (this.description.tripleFault === 'reset') this.#scheduler.requestReset();
    else this.#scheduler.finish('shutdown');
  }

  /** RESET#: devices and processors; RAM stays. */
  #powerOn(): void {
    this.#turns.reset();
    this.#board.reset();
    this.#turns.all.forEach(({ block }, n) => {
      this.#board.lapic(n).setEnabled((block.wide(Cpu.apicBase) & 0x800n) !== 0n);
    });
    this.#turns.flushTlbs();
    if (this.description.romBytes === 0) this.#map.write(this.rsdpAddress, this.#board.chip('acpi').bytes);
  }

  /** Guest-physical address of the ACPI root pointer (not with a ROM: firmware makes its own tables). */
  get rsdpAddress(): number {
    return this.#board.chip('acpi').rsdpAddress;
  }

  /** Resets the machine and loads a plan made by one of the loaders of boot/. Throws MachineError. */
  boot(plan: BootPlan): void {
    const romBytes = plan.rom?.length ?? 0;
    if (romBytes > this.description.romBytes)
      throw new MachineError(
        'MACHINE_ROM_SIZE',
        `the firmware image has ${String(romBytes)} bytes, the machine's ROM ${String(this.description.romBytes)}`,
        'describe the machine with romBytes as large as the image',
      );
    this.#powerOn();
    if (plan.rom !== undefined) this.#map.writeRom(plan.rom);
    for (const { address, bytes } of plan.writes) this.#map.write(address, bytes);
    if (plan.cpu !== undefined) applyBootState(this.#cpu, plan.cpu);
    this.#processor.registersChanged();
    this.engine.dropAllCode();
    this.#scheduler.forget();
  }

  // --- the edge ---

  /**
   * Gives an input to the guest, now; only between runs. `held`: it waits for room in the device, and is offered again before each run.
   * Throws MachineError for what no machine can take.
   */
  input(input: MachineInput): InputResult {
    return this.#edge.input(input);
  }

  /** As `input`, for what is not to wait beside the machine. `full`: nothing of it was taken. */
  offer(input: MachineInput): Exclude<InputResult, 'held'> {
    return this.#edge.offer(input);
  }

  /** Whether an input would be taken at once: what is held instead is beside the machine, and in no snapshot of it. */
  hasRoom(input: MachineInput): boolean {
    return this.#edge.hasRoom(input);
  }

  /** Inputs to apply at their stamps, in order, as logged by another run from the same state. Live inputs wait meanwhile. */
  replay(log: readonly LoggedInput[]): void {
    this.#edge.replay(log);
  }

  /** Applies what a replayed log has for the present moment, where `run` stops before inputs. True: the log has no more. */
  catchUp(): boolean {
    this.#edge.applyReplay(() => this.#turns.halted);
    return this.#edge.nextReplay === undefined;
  }

  /** Inputs of the log that is being replayed that have not come yet. */
  get replayLeft(): number {
    return this.#edge.replayLeft;
  }

  /** What the machine itself does with inputs; those for devices are with the board (boards/chips.ts). */
  #consumers(): InputConsumers {
    return {
      nmi: () => {
        this.#turns.all[0]?.raiseNmi();
      },
      reset: () => {
        this.#scheduler.requestReset();
      },
      skip: ({ toNs }) => {
        this.#scheduler.skip(toNs);
      },
      rate: ({ rate }) => {
        this.#clock.setRate(rate);
      },
      entropy: ({ bytes }) => {
        stirRandom(this.#map, bytes);
        this.#board.consumers.entropy?.({ bytes });
      },
      // Whoever repeats the making of a snapshot has not got it, so that its own next one lists what changed before, too.
      flush: () => {
        this.#turns.flushTlbs();
      },
      mark: () => undefined,
      pokeMemory: ({ address, bytes }) => {
        this.#map.write(address, bytes);
      },
      pokeRegister: ({ register: name, value }) => {
        const { cpu, register } = poked(name);
        const processor = cpu === undefined ? this.#processor : this.#turns.all[cpu];
        if (processor === undefined) return 'no-device';
        const changed = withRegister(processor.block.save(), { register, value });
        if (changed === undefined) return 'no-device';
        processor.change(changed);
        return undefined;
      },
    };
  }

  #makeEdge(): MachineEdge {
    const { input, output } = this.#backends;
    return new MachineEdge({
      consumers: { ...this.#board.consumers, ...this.#consumers() },
      rooms: this.#board.rooms,
      now: () => ({ instructions: this.instructions, timeNs: this.timeNs }),
      before: (kind) => {
        if (this.#turns.halted || kind === 'flush') this.#clock.fireDue();
      },
      log: input,
      output,
      stop: () => {
        this.pause();
      },
    });
  }

  #output(output: MachineOutput): void {
    const { serial, debugConsole } = this.#backends;
    if (output.kind === 'serial') for (const byte of output.bytes) serial?.(output.port, byte);
    else if (output.kind === 'debug') for (const byte of output.bytes) debugConsole?.(output.port, byte);
    this.#edge.output(output);
  }

  // --- running ---

  get instructions(): bigint {
    return this.#turns.instructions;
  }
  get timeNs(): bigint {
    return this.#clock.now();
  }
  /** All processors wait for an interrupt, and none is there: time passes only by skips. */
  get waiting(): boolean {
    return this.#turns.waiting;
  }
  /** Makes a `run` that is in progress (a backend may call this) return with `paused` after the current instruction. */
  pause(): void {
    this.#scheduler.pause();
  }

  /** Whether a breakpoint lies on the next instruction. */
  get atBreakpoint(): boolean {
    this.stops.apply(this.engine.core);
    return this.#processor.atBreakpoint;
  }

  run(options: RunOptions = {}): RunResult {
    return this.#scheduler.run(options);
  }

  // --- looking and changing ---

  /** How many processors it has. */
  get processors(): number {
    return this.#turns.all.length;
  }

  /** Whose turn it is. */
  get currentProcessor(): number {
    return this.#turns.number;
  }

  /** Registers of a processor by name (cpu-state.ts). */
  registers(cpu = this.currentProcessor): CpuState {
    return this.#turns.at(cpu).block.save();
  }

  /** A device's state as a snapshot would have it; undefined when the machine has no such device. */
  deviceState(name: string): unknown {
    return this.#board.devices.find((device) => device.name === name)?.save();
  }

  /** Changes registers of a processor, for debuggers; throws DeviceStateError for values that no processor can hold. */
  setRegisters(change: Partial<CpuState>, cpu = this.currentProcessor): void {
    this.#turns.at(cpu).change(cpuStateSchema.copy({ ...this.registers(cpu), ...change }, 'cpu'));
  }

  /** The same as inputs, which belong to the machine's log. */
  registerInputs(change: Partial<CpuState>, cpu = this.currentProcessor): MachineInput[] {
    return registerInputs(this.registers(cpu), change, cpu === this.currentProcessor ? undefined : cpu);
  }

  /** The text screen; undefined when the machine has no VGA, or shows no text. */
  screen(): TextScreen | undefined {
    return this.display.text();
  }

  /** Of a serial port: whether the guest reads it, and how many bytes it has still to read. Undefined: there is no such port. */
  serialPort(port: number): { listening: boolean; unread: number } | undefined {
    const uart = this.#board.uarts[port];
    return uart && { listening: uart.listening, unread: uart.unread };
  }

  /** Keyboard LEDs: bit 0 scroll, 1 num, 2 caps. */
  get leds(): number {
    return this.#board.keyboardController?.leds ?? 0;
  }

  // --- snapshots ---

  /** Pages of RAM that have not come yet. */
  get absentPages(): number {
    return this.#map.absent.count;
  }

  /** Puts pages of RAM there that are still absent; others are left as they are. Only between runs. */
  deliver(indexes: Uint32Array, bytes: Uint8Array): void {
    this.#map.absent.deliver(indexes, bytes);
  }

  /**
   * Pages of RAM that the processor came by since the last call, ascending: what goes on from a snapshot of this machine will need them first. Each snapshot
   * empties the translation buffers, so that pages in use are marked again behind it. Only between runs.
   */
  takeAccessed(): Uint32Array {
    return this.#map.takeAccessed();
  }

  /** SHA-256, as hex, over everything a guest could ever notice. Equal states hash alike whatever engine or host ran them. */
  stateHash(): string {
    return this.#state.hash((this.#backends.hash ?? sha256)());
  }

  /**
   * The state now (a log that goes on from it begins behind the input `flush` that this makes); pages since the last snapshot (all of them the first time, or with `full`). Only between runs.
   * @param options.buffers where the changed pages of memory go; give their buffers back to it when they are done with
   */
  snapshot(options: { full?: boolean; buffers?: PageBuffers } = {}): DescribedSnapshot {
    const { buffers } = options;
    const full = options.full === true || !this.#hasBase;
    this.#clock.fireDue();
    const spaces = [
      ...this.#map.spaces.map((space) =>
        saveSpace(this.#map, space, { full, fresh: this.#allMarked, buffers }),
      ),
      ...this.disks.map((disk) => disk.save(full)),
    ];
    this.input({ kind: 'flush' });
    this.bookmarks.noteDirty();
    this.engine.core.beginDirtyInterval();
    this.#allMarked = false;
    this.#hasBase = true;
    return { description: this.description, ...this.#state.save(), spaces };
  }

  /** Has the next snapshot list pages, by space, whether or not they changed since the last: of whoever has not got that one. */
  markChanged(pages: Readonly<Record<string, Iterable<number>>>): void {
    for (const [name, each] of Object.entries(pages)) {
      const space = this.#map.spaces.find((known) => known.name === name);
      if (space !== undefined) this.#map.markPages(space, each);
      this.disks.find((disk) => disk.name === name)?.markChanged(each);
    }
  }

  /**
   * Takes over a full snapshot of a machine with the same description. Throws MachineError or DeviceStateError, the machine
   * then being unusable.
   * @param absent pages of RAM that the snapshot leaves out: fetched when they are first touched, unless delivered before
   */
  restore(snapshot: MachineSnapshot, absent?: AbsentPages): void {
    this.#state.restore(snapshot, { core: this.engine.core, full: true, fresh: this.#allMarked, absent });
    this.#restored();
  }

  /**
   * Takes over a later state of the machine whose snapshot was restored here, before it has run: all spaces of `later` list changes only
   * (`full: false`). Throws as `restore` does.
   */
  advance(later: MachineSnapshot): void {
    this.#state.restore(later, { core: this.engine.core, full: false, fresh: false });
    this.#restored();
  }

  #restored(): void {
    this.bookmarks.clear();
    this.engine.dropAllCode();
    this.#allMarked = false;
    this.engine.core.beginDirtyInterval();
    this.#hasBase = true;
    this.#scheduler.forget();
  }
}
