/**
 * The processor with memory and two ports, without any other device: it runs the flat multiboot images of test/system and
 * images/bench. Port 0xE9 is the debug console, port 0xF4 ends the run.
 */
import { buildModules } from '../../packages/emulator/src/build.ts';
import { installCpuModel } from '../../packages/emulator/src/cpu/cpuid-models.ts';
import {
  Cpu,
  ExitReason,
  Machine,
  Region,
  Segment,
  SegmentField,
  segmentBytes,
} from '../../packages/emulator/src/cpu/layout.ts';
import { createEngine, type EngineKind, type WasmEngine } from '../../packages/emulator/src/engine/engine.ts';
import { compileRegion, loadEngineModules } from '../../packages/emulator/src/host-node/modules.ts';
import { MemoryMap } from '../../packages/emulator/src/machine/memory-map.ts';

const loadAddress = 0x10_0000;
const ramBytes = 64 * 2 ** 20;
const debugConsolePort = 0xe9;
const debugExitPort = 0xf4;
const sliceInstructions = 50_000_000n;
const headerMagic = 0x1bad_b002;
const bootloaderMagic = 0x2bad_b002n;

export interface BareRun {
  /** Retired instructions. */
  instructions: bigint;
  /** `exit`: the guest wrote to the exit port; `shutdown`: triple fault; `halt`; `limit`: out of instructions. */
  end: 'exit' | 'shutdown' | 'halt' | 'limit';
}

/** Entry point of a flat image with a multiboot 1 header with addresses. */
function entryPoint(image: Uint8Array): number {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  for (let at = 0; at + 32 <= Math.min(image.length, 8192); at += 4) {
    if (view.getUint32(at, true) === headerMagic) return view.getUint32(at + 28, true);
  }
  throw new Error('the image has no multiboot header');
}

export class BareMachine {
  readonly engine: WasmEngine;
  readonly map: MemoryMap;
  readonly #view: DataView;
  readonly #cpu = Region.cpuBlocks;
  #exited = false;
  #retired = 0n;
  /** Called for each byte written to the debug console. */
  onByte: (byte: number) => void = () => undefined;

  private constructor(map: MemoryMap, engine: WasmEngine) {
    this.map = map;
    this.engine = engine;
    this.#view = map.view;
  }

  static async create(kind: EngineKind, hotThreshold = 200): Promise<BareMachine> {
    buildModules(() => undefined);
    const map = new MemoryMap({ ramBytes, romBytes: 0, vramBytes: 0 });
    let machine: BareMachine | undefined = undefined;
    const host = {
      ioRead: () => -1,
      ioWrite: (port: number, _size: number, value: number) => {
        if (machine !== undefined) machine.#write(port, value);
      },
      mmioRead: () => -1,
      mmioWrite: () => undefined,
      cpuEvent: () => undefined,
    };
    const engine = await createEngine({
      modules: loadEngineModules(),
      compileRegion,
      memory: map.memory,
      host,
      kind,
      hotThreshold,
    });
    map.view.setUint32(Region.machine + Machine.timeRate, 0x1_0000, true);
    map.prepareWrite = (physical, length) => {
      engine.core.hostWritePrepare(BigInt(physical), length);
    };
    machine = new BareMachine(map, engine);
    installCpuModel(map.view, machine.#cpu, 'x86-64-v2', { apicId: 0, cpuCount: 1 });
    engine.core.resetCpu(machine.#cpu);
    return machine;
  }

  #write(port: number, value: number): void {
    if (port === debugConsolePort) this.onByte(value & 0xff);
    if (port !== debugExitPort) return;
    this.#exited = true;
    this.#view.setInt32(this.#cpu + Cpu.exitRequest, ExitReason.requested, true);
  }

  /** Puts the image at 1 MiB and the processor where a multiboot loader leaves it. */
  load(image: Uint8Array): void {
    const view = this.#view;
    const cpu = this.#cpu;
    this.map.write(loadAddress, image);
    for (let index = 0; index < 6; index++) {
      const at = cpu + Cpu.segments + index * segmentBytes;
      view.setUint16(at + SegmentField.selector, index === Segment.cs ? 8 : 16, true);
      view.setBigInt64(at + SegmentField.base, 0n, true);
      view.setUint32(at + SegmentField.limit, 0xffff_ffff, true);
      view.setUint32(at + SegmentField.attributes, index === Segment.cs ? 0xc09b : 0xc093, true);
      view.setUint32(at + SegmentField.unusable, 0, true);
      view.setBigInt64(at + SegmentField.limitMin, 0n, true);
      view.setBigInt64(at + SegmentField.readEnd, 2n ** 32n, true);
      view.setBigInt64(at + SegmentField.writeEnd, index === Segment.cs ? -1n : 2n ** 32n, true);
    }
    view.setBigInt64(cpu + Cpu.cr0, 0x11n, true);
    view.setBigUint64(cpu + Cpu.gpr, bootloaderMagic, true);
    view.setBigInt64(cpu + Cpu.rip, BigInt(entryPoint(image)), true);
    this.engine.core.updateMode(cpu);
    this.engine.core.flushTlbAll(cpu);
  }

  /** Instructions retired so far; exact inside of `onByte` too. */
  get instructions(): bigint {
    const deadline = this.#view.getBigInt64(this.#cpu + Cpu.deadline, true);
    return this.#retired + deadline - this.#view.getBigInt64(this.#cpu + Cpu.remaining, true);
  }

  run(limit: bigint): BareRun {
    const view = this.#view;
    const cpu = this.#cpu;
    for (;;) {
      const slice = limit - this.#retired < sliceInstructions ? limit - this.#retired : sliceInstructions;
      view.setBigInt64(cpu + Cpu.deadline, slice, true);
      view.setBigInt64(cpu + Cpu.remaining, slice, true);
      const reason = this.engine.run(cpu);
      this.#retired = this.instructions;
      view.setBigInt64(cpu + Cpu.deadline, 0n, true);
      view.setBigInt64(cpu + Cpu.remaining, 0n, true);
      view.setInt32(cpu + Cpu.exitRequest, 0, true);
      const end = this.#exited
        ? 'exit'
        : reason === ExitReason.shutdown
          ? 'shutdown'
          : reason === ExitReason.halt
            ? 'halt'
            : undefined;
      if (end !== undefined) return { instructions: this.#retired, end };
      if (this.#retired >= limit) return { instructions: this.#retired, end: 'limit' };
    }
  }
}
