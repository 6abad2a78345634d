/**
 * Unicorn's interface: one emulator of an x86 program. Methods and constants have the names that its other bindings have; numbers of up to 32 bits are
 * numbers, wider ones BigInt, bytes Uint8Array. Whatever fails throws UnicornError, whose `errno` is one of UC_ERR_.
 */
import { Cpu, type CpuState } from '@revenant/emulator/processor';
import { UnicornError, badArgument } from './errors.ts';
import { Execution } from './execution.ts';
import * as uc from './generated/unicorn.ts';
import { Hooks, type Hook, type HookCallback } from './hooks.ts';
import {
  makeProcessor,
  startAttributes,
  type CodeBits,
  type Processor,
  type ProcessorModules,
  type ProcessorOptions,
} from './processor.ts';
import { ProgramMemory, type DeviceCallbacks, type MemoryRegion } from './program-memory.ts';
import { RegisterFile, type RegisterInput, type RegisterValue } from './register-file.ts';

export type Address = number | bigint;

/** Registers at one moment (`context_save`). */
export interface Context {
  readonly state: CpuState;
}

const modes = new Map<number, CodeBits>([
  [uc.UC_MODE_16, 16],
  [uc.UC_MODE_32, 32],
  [uc.UC_MODE_64, 64],
]);

function integer(what: string, value: Address): bigint {
  if (typeof value === 'number' && !Number.isSafeInteger(value))
    throw badArgument(`${what} ${String(value)}`);
  const wide = BigInt(value);
  if (wide < -(2n ** 63n) || wide >= 2n ** 64n) throw badArgument(`${what} ${String(value)}`);
  return BigInt.asUintN(64, wide);
}

export class Unicorn {
  readonly arch: number;
  readonly mode: number;
  readonly #bits: CodeBits;
  readonly #hooks = new Hooks();
  readonly #execution: Execution;
  readonly #processor: Processor;
  readonly #memory: ProgramMemory;
  readonly #registers: RegisterFile;
  #errno = uc.UC_ERR_OK as number;
  #closed = false;

  /** Throws UC_ERR_ARCH for another architecture than UC_ARCH_X86, UC_ERR_MODE for another mode than UC_MODE_16, _32 or _64. */
  constructor(arch: number, mode: number, modules: ProcessorModules, options: ProcessorOptions = {}) {
    if (arch !== uc.UC_ARCH_X86) throw new UnicornError(uc.UC_ERR_ARCH, `Unicorn(${String(arch)})`);
    const bits = modes.get(mode);
    if (bits === undefined) throw new UnicornError(uc.UC_ERR_MODE, `Unicorn(UC_ARCH_X86, ${String(mode)})`);
    this.arch = arch;
    this.mode = mode;
    this.#bits = bits;
    this.#execution = new Execution(this, this.#hooks);
    this.#processor = makeProcessor(bits, modules, options, this.#execution.host());
    const { map, engine, block } = this.#processor;
    this.#memory = new ProgramMemory(map, {
      prepareWrite: (physical, length) => {
        engine.core.hostWritePrepare(BigInt(physical), length);
      },
      flush: () => {
        engine.core.flushTlbAll(block.address);
      },
    });
    this.#registers = new RegisterFile(this.#processor, this.#memory);
    for (const name of ['es', 'cs', 'ss', 'ds', 'fs', 'gs'] as const)
      this.#registers.system.setFlat(name, 0, 0n, startAttributes(bits, name === 'cs'));
    this.#registers.system.changed();
    this.#execution.attach({ engine, block, view: map.view, memory: this.#memory, bits });
  }

  /** Runs `call` with errno of what it throws. */
  #do<T>(call: () => T): T {
    try {
      if (this.#closed) throw new UnicornError(uc.UC_ERR_HANDLE, 'Unicorn');
      const result = call();
      this.#errno = uc.UC_ERR_OK;
      return result;
    } catch (error) {
      if (error instanceof UnicornError) this.#errno = error.errno;
      throw error;
    }
  }

  // --- memory ---

  /** Whole pages of 4 KiB, zeroed; `perms` of UC_PROT_. */
  mem_map(address: Address, size: Address, perms: number = uc.UC_PROT_ALL): void {
    this.#do(() => {
      this.#memory.map(integer('address', address), integer('size', size), perms);
    });
  }

  /** Memory that is not there: each access of the program calls, with the offset in the region. Without `write`, writes vanish. */
  mmio_map(
    address: Address,
    size: Address,
    read?: (handle: Unicorn, offset: number, size: number, userData: unknown) => number,
    readData?: unknown,
    write?: (handle: Unicorn, offset: number, size: number, value: number, userData: unknown) => void,
    writeData?: unknown,
  ): void {
    const callbacks: DeviceCallbacks = {
      read: read && ((offset, bytes) => read(this, offset, bytes, readData)),
      write:
        write &&
        ((offset, bytes, value) => {
          write(this, offset, bytes, value, writeData);
        }),
    };
    this.#do(() => {
      this.#memory.map(
        integer('address', address),
        integer('size', size),
        uc.UC_PROT_READ | uc.UC_PROT_WRITE,
        callbacks,
      );
    });
  }

  mem_unmap(address: Address, size: Address): void {
    this.#do(() => {
      this.#memory.unmap(integer('address', address), integer('size', size));
    });
  }

  mem_protect(address: Address, size: Address, perms: number = uc.UC_PROT_ALL): void {
    this.#do(() => {
      this.#memory.protect(integer('address', address), integer('size', size), perms);
    });
  }

  /** By address. */
  mem_regions(): MemoryRegion[] {
    return this.#do(() => this.#memory.regions());
  }

  /** Whatever the rights of the memory. */
  mem_read(address: Address, size: number): Uint8Array {
    return this.#do(() => {
      if (!Number.isSafeInteger(size) || size < 0) throw badArgument(`mem_read of ${String(size)} bytes`);
      return this.#memory.read(integer('address', address), size);
    });
  }

  /** Whatever the rights of the memory; all of it or nothing. */
  mem_write(address: Address, bytes: ArrayLike<number>): void {
    this.#do(() => {
      const whole = bytes instanceof Uint8Array ? bytes : Uint8Array.from(bytes);
      this.#memory.write(integer('address', address), whole);
    });
  }

  // --- registers ---

  /**
   * A register (UC_X86_REG_): a number, BigInt above 32 bits, an object for GDTR, IDTR, LDTR and TR. With a size: its first bytes. Of
   * UC_X86_REG_MSR the second argument is the MSR's number.
   */
  reg_read(regid: number): RegisterValue;
  reg_read(regid: number, size: number): Uint8Array | bigint;
  reg_read(regid: number, size?: number): RegisterValue {
    return this.#do(() => this.#registers.read(regid, size));
  }

  /** Takes what `reg_read` gives, or bytes from the lowest on; of UC_X86_REG_MSR `{ rid, value }`. */
  reg_write(regid: number, value: RegisterInput): void {
    this.#do(() => {
      if (this.#registers.write(regid, value)) this.#execution.pointerWritten();
    });
  }

  reg_read_batch(regids: readonly number[]): RegisterValue[] {
    return regids.map((regid) => this.reg_read(regid));
  }

  reg_write_batch(regids: readonly number[], values: readonly RegisterInput[]): void {
    if (regids.length !== values.length)
      this.#do(() => {
        throw badArgument(
          `reg_write_batch of ${String(regids.length)} registers, ${String(values.length)} values`,
        );
      });
    regids.forEach((regid, n) => {
      this.reg_write(regid, values[n] as RegisterInput);
    });
  }

  reg_read_i8(regid: number): number {
    return this.#part(regid, 1).getInt8(0);
  }
  reg_read_i16(regid: number): number {
    return this.#part(regid, 2).getInt16(0, true);
  }
  reg_read_i32(regid: number): number {
    return this.#part(regid, 4).getInt32(0, true);
  }
  reg_read_i64(regid: number): bigint {
    return this.#part(regid, 8).getBigInt64(0, true);
  }
  reg_read_float(regid: number): number {
    return this.#part(regid, 4).getFloat32(0, true);
  }
  reg_read_double(regid: number): number {
    return this.#part(regid, 8).getFloat64(0, true);
  }
  reg_write_i8(regid: number, value: Address): void {
    this.reg_write(regid, BigInt.asUintN(8, BigInt(value)));
  }
  reg_write_i16(regid: number, value: Address): void {
    this.reg_write(regid, BigInt.asUintN(16, BigInt(value)));
  }
  reg_write_i32(regid: number, value: Address): void {
    this.reg_write(regid, BigInt.asUintN(32, BigInt(value)));
  }
  reg_write_i64(regid: number, value: Address): void {
    this.reg_write(regid, BigInt.asUintN(64, BigInt(value)));
  }
  reg_write_float(regid: number, value: number): void {
    this.reg_write(regid, new Uint8Array(Float32Array.of(value).buffer));
  }
  reg_write_double(regid: number, value: number): void {
    this.reg_write(regid, new Uint8Array(Float64Array.of(value).buffer));
  }

  #part(regid: number, size: number): DataView {
    const bytes = this.reg_read(regid, size) as Uint8Array;
    return new DataView(bytes.buffer, bytes.byteOffset, size);
  }

  // --- hooks ---

  /**
   * Calls back at what `type` (UC_HOOK_ bits) says, within the linear addresses from `begin` to `end`, both included; everywhere when begin lies
   * behind end. `extra`: for UC_HOOK_INSN one of UC_X86_INS_IN, OUT, SYSCALL, SYSENTER, CPUID.
   */
  hook_add(
    type: number,
    callback: HookCallback,
    userData?: unknown,
    begin: Address = 1,
    end: Address = 0,
    extra = 0,
  ): Hook {
    return this.#do(() => {
      const range = { begin: integer('begin', begin), end: integer('end', end) };
      const hook: Hook = { type, callback, userData, ...range, instruction: extra };
      this.#hooks.add(hook);
      return hook;
    });
  }

  hook_del(hook: Hook): void {
    this.#do(() => {
      if (!this.#hooks.delete(hook)) throw badArgument('hook_del of a hook that is not there');
    });
  }

  // --- running ---

  /**
   * Runs from `begin` until the instruction at `until` would be next, `timeout` microseconds passed, `count` instructions were executed, HLT, or
   * `emu_stop`; 0 is no limit.
   */
  emu_start(begin: Address, until: Address, timeout = 0, count: Address = 0): void {
    this.#do(() => {
      if (this.#execution.running) throw badArgument('emu_start within a hook');
      if (!(timeout >= 0)) throw badArgument(`timeout ${String(timeout)}`);
      this.#setPointer(integer('begin', begin));
      this.#execution.run({
        until: this.#bits === 64 ? integer('until', until) : integer('until', until) & 0xffff_ffffn,
        count: integer('count', count),
        timeoutMs: timeout / 1000,
      });
    });
  }

  #setPointer(begin: bigint): void {
    const { block } = this.#processor;
    const offset = begin - block.segment('cs').base;
    block.setWide(Cpu.rip, this.#bits === 64 ? BigInt.asIntN(64, begin) : BigInt.asUintN(this.#bits, offset));
  }

  /** Ends the run behind the instruction that is being executed. */
  emu_stop(): void {
    this.#do(() => {
      this.#execution.stop();
    });
  }

  // --- contexts and questions ---

  /** All registers; memory is none of them. */
  context_save(): Context {
    return this.#do(() => ({ state: this.#processor.block.save() }));
  }

  context_restore(context: Context): void {
    this.#do(() => {
      this.#processor.block.restore(context.state);
      this.#registers.system.changed();
      this.#execution.pointerWritten();
    });
  }

  /** UC_QUERY_MODE, _PAGE_SIZE, _ARCH, or _TIMEOUT: 1 when the last run ended by it. */
  query(type: number): number {
    return this.#do(() => {
      if (type === uc.UC_QUERY_MODE) return this.mode;
      if (type === uc.UC_QUERY_PAGE_SIZE) return 4096;
      if (type === uc.UC_QUERY_ARCH) return this.arch;
      if (type === uc.UC_QUERY_TIMEOUT) return this.#execution.timedOut ? 1 : 0;
      throw badArgument(`query ${String(type)}`);
    });
  }

  /** Error of the last call; UC_ERR_OK when it went well. */
  errno(): number {
    return this.#errno;
  }

  /** Nothing can be called any more. */
  close(): void {
    this.#do(() => {
      if (this.#execution.running) throw badArgument('close within a hook');
      this.#closed = true;
    });
  }
}
