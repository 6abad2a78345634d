/** A processor with memory and no devices, for tests: set it up, run bytes, look at the result. */
import { gprNames } from '../registers.ts';
import { buildModules } from '../../build.ts';
import { createEngine } from '../../engine/engine.ts';
import type { EngineOptions, WasmEngine } from '../../engine/engine.ts';
import { compileRegion, loadEngineModules } from '../../host-node/modules.ts';
import { MemoryMap } from '../../machine/memory-map.ts';
import {
  Cpu,
  CpuEvent,
  ExitReason,
  Flag,
  Machine,
  ModeKey,
  Region,
  Segment,
  SegmentField,
  lookReserve,
  segmentBytes,
} from '../layout.ts';

export interface PortAccess {
  port: number;
  size: number;
  value: number;
}

function wordAt(bytes: Uint8Array, at: number, size: number): number {
  let value = 0;
  for (let n = 0; n < size; n++) value |= (bytes[at + n] ?? 0) << (n * 8);
  return value >>> 0;
}

/** What the ports give, byte after byte; of each 64 bytes the last item goes by itself. */
export class PortInput {
  at = 0;
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  item(size: number): number {
    this.at += size;
    return wordAt(this.bytes, this.at - size, size);
  }

  block(into: Uint8Array, size: number): number {
    const whole = Math.floor((63 - (this.at % 64)) / size) * size;
    const bytes = Math.min(whole, into.length);
    into.set(this.bytes.subarray(this.at, this.at + bytes));
    this.at += bytes;
    return bytes / size;
  }
}

export class TestCpu {
  input: PortInput | undefined;
  readonly map: MemoryMap;
  readonly view: DataView;
  readonly cpu = Region.cpuBlocks;
  readonly engine: WasmEngine;
  /** Everything written to ports, in order. */
  readonly output: PortAccess[];
  /** Not 0: a run is looked at each so many instructions, and goes on. */
  lookEvery = 0;
  #end = 0n;

  private constructor(map: MemoryMap, engine: WasmEngine, output: PortAccess[]) {
    this.map = map;
    this.view = map.view;
    this.engine = engine;
    this.output = output;
  }

  static async create(
    options: { ramBytes?: number } & Pick<EngineOptions, 'kind' | 'hotThreshold' | 'bounds'> = {},
  ): Promise<TestCpu> {
    const { ramBytes = 4 * 2 ** 20, ...engineOptions } = options;
    buildModules(() => undefined);
    const map = new MemoryMap({ ramBytes, romBytes: 0, vramBytes: 0 });
    const output: PortAccess[] = [];
    const host = {
      ioRead: (_port: number, size: number) => test.input?.item(size) ?? -1,
      ioWrite: (port: number, size: number, value: number) => {
        output.push({ port, size, value });
      },
      ioReadBlock: (_port: number, size: number, target: number, count: number) =>
        test.input?.block(map.bytes.subarray(target, target + count * size), size) ?? 0,
      // Takes one less than there are, and at most nine.
      ioWriteBlock: (port: number, size: number, source: number, count: number) => {
        const taken = Math.min(count - 1, 9);
        for (let n = 0; n < taken; n++)
          output.push({ port, size, value: wordAt(map.bytes, source + n * size, size) });
        return taken;
      },
      mmioRead: () => -1,
      mmioWrite: () => undefined,
      cpuEvent: (_cpu: number, what: number) => {
        if (what === CpuEvent.look) test.#lookAgain();
      },
    };
    const engine = await createEngine({
      modules: loadEngineModules(),
      compileRegion,
      memory: map.memory,
      host,
      kind: 'interpreter',
      ...engineOptions,
    });
    map.view.setUint32(Region.machine + Machine.timeRate, 0x1_0000, true);
    map.prepareWrite = (physical, length) => {
      engine.core.hostWritePrepare(BigInt(physical), length);
    };
    const test = new TestCpu(map, engine, output);
    // Every feature there is, 40 physical address bits.
    map.view.setBigInt64(test.cpu + Cpu.features, -1n, true);
    map.view.setBigInt64(test.cpu + Cpu.physicalMask, 2n ** 40n - 1n, true);
    map.view.setBigInt64(test.cpu + Cpu.cr4Valid, 0x37_0fffn, true);
    map.view.setBigInt64(test.cpu + Cpu.eferValid, 0xd01n, true);
    engine.core.resetCpu(test.cpu);
    return test;
  }

  /** Flat segments at CPL 0 in 16-, 32- or 64-bit code; 64-bit mode with identity pages for the first 2 MiB × 512. */
  flat(bits: 16 | 32 | 64): void {
    const { view, cpu } = this;
    const segment = (index: number, attributes: number): void => {
      const at = cpu + Cpu.segments + index * segmentBytes;
      view.setUint16(at + SegmentField.selector, index === Segment.cs ? 8 : 16, true);
      view.setBigInt64(at + SegmentField.base, 0n, true);
      view.setUint32(at + SegmentField.limit, 0xffff_ffff, true);
      view.setUint32(at + SegmentField.attributes, attributes, true);
      view.setUint32(at + SegmentField.unusable, 0, true);
      view.setBigInt64(at + SegmentField.limitMin, bits === 64 ? -(2n ** 63n) : 0n, true);
      view.setBigInt64(at + SegmentField.readEnd, bits === 64 ? 2n ** 63n - 1n : 2n ** 32n, true);
      view.setBigInt64(at + SegmentField.writeEnd, bits === 64 ? 2n ** 63n - 1n : 2n ** 32n, true);
    };
    for (let index = 0; index < 6; index++)
      segment(index, index === Segment.cs ? (bits === 64 ? 0xa09b : bits === 32 ? 0xc09b : 0x809b) : 0xc093);
    view.setBigInt64(cpu + Cpu.cr0, bits === 64 ? 0x8000_0033n : 0x33n, true);
    view.setBigInt64(cpu + Cpu.cr4, bits === 64 ? 0x620n : 0x600n, true);
    view.setBigInt64(cpu + Cpu.efer, bits === 64 ? 0x500n : 0n, true);
    if (bits === 64) this.#identityPages(0x1000);
    this.engine.core.updateMode(cpu);
    this.engine.core.flushTlb(cpu);
  }

  #identityPages(at: number): void {
    const table = new Uint8Array(3 * 4096);
    const t = new DataView(table.buffer);
    t.setBigUint64(0, BigInt(at + 4096) | 7n, true);
    t.setBigUint64(4096, BigInt(at + 8192) | 7n, true);
    for (let i = 0; i < 512; i++) t.setBigUint64(8192 + i * 8, (BigInt(i) << 21n) | 0x87n, true);
    this.map.write(at, table);
    this.view.setBigInt64(this.cpu + Cpu.cr3, BigInt(at), true);
  }

  write(address: number, bytes: ArrayLike<number>): void {
    this.map.write(address, Uint8Array.from(bytes));
  }

  read(address: number, length: number): Uint8Array {
    return this.map.read(address, length);
  }

  set(register: string, value: bigint | number): void {
    this.view.setBigUint64(this.cpu + this.#offset(register), BigInt.asUintN(64, BigInt(value)), true);
  }

  get(register: string): bigint {
    return this.view.getBigUint64(this.cpu + this.#offset(register), true);
  }

  #offset(register: string): number {
    if (register === 'rip') return Cpu.rip;
    const n = (gprNames as readonly string[]).indexOf(register);
    if (n < 0) throw new Error(`no register ${register}`);
    return Cpu.gpr + n * 8;
  }

  get flags(): number {
    return this.engine.core.readFlags(this.cpu);
  }

  set flags(value: number) {
    this.engine.core.writeFlags(this.cpu, value, ~0 & ~Flag.vm);
  }

  /** Pending event's vector, -1 = none. */
  get pending(): number {
    return this.view.getInt32(this.cpu + Cpu.pendingVector, true);
  }

  /** Runs for `count` instructions; returns the ExitReason. */
  run(count: number): number {
    this.#end = BigInt(count);
    this.view.setBigInt64(this.cpu + Cpu.deadline, 0n, true);
    this.view.setBigInt64(this.cpu + Cpu.remaining, 0n, true);
    for (;;) {
      this.#lookAgain();
      const reason = this.engine.run(this.cpu);
      const looks = this.view.getBigInt64(this.cpu + Cpu.deadline, true) !== this.#end;
      if (reason === ExitReason.deadline && looks) continue;
      if (looks) this.#setDeadline(this.#end);
      return reason;
    }
  }

  /** Sets the deadline to the next look, or to where the run ends; the processor is where Cpu.remaining says. */
  #lookAgain(): void {
    const next = this.#done + BigInt(this.lookEvery);
    this.#setDeadline(this.lookEvery > 0 && next < this.#end ? next : this.#end);
  }

  get #done(): bigint {
    return this.view.getBigInt64(this.cpu + Cpu.deadline, true) - this.remaining;
  }

  #setDeadline(count: bigint): void {
    const done = this.#done;
    this.view.setBigInt64(this.cpu + Cpu.deadline, count, true);
    this.view.setBigInt64(this.cpu + Cpu.remaining, count - done, true);
    const inPlace = count < this.#end && count - done >= 2 * lookReserve;
    this.view.setBigInt64(this.cpu + Cpu.reserve, inPlace ? BigInt(lookReserve) : 0n, true);
  }

  get remaining(): bigint {
    return this.view.getBigInt64(this.cpu + Cpu.remaining, true);
  }

  /** One instruction; 0 = retired, 1 = an event is pending. */
  step(): number {
    return this.engine.stepRaw(this.cpu);
  }

  get modeKey(): number {
    return this.view.getInt32(this.cpu + Cpu.modeKey, true) & (ModeKey.count - 1);
  }
}
