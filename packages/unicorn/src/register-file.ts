/** All registers of a program by their numbers: values in, values out. */
import { Cpu } from '@revenant/emulator/processor';
import { badArgument } from './errors.ts';
import { UC_X86_REG_FPTAG, UC_X86_REG_MSR, UC_X86_REG_ST0, UC_X86_REG_ST7 } from './generated/x86.ts';
import type { Processor } from './processor.ts';
import type { ProgramMemory } from './program-memory.ts';
import {
  controlRegisters,
  flagRegisters,
  instructionPointers,
  plainRegisters,
  segmentRegisters,
} from './registers.ts';
import { SystemRegisters, type SystemTable } from './system-registers.ts';

export type RegisterValue = number | bigint | Uint8Array | SystemTable;
export type RegisterInput =
  | number
  | bigint
  | Uint8Array
  | readonly number[]
  | Partial<SystemTable>
  | { rid: number; value: number | bigint };

function toBigInt(bytes: ArrayLike<number>): bigint {
  let value = 0n;
  for (let n = bytes.length - 1; n >= 0; n--) value = (value << 8n) | BigInt((bytes[n] as number) & 0xff);
  return value;
}

function toBytes(value: bigint, count: number): Uint8Array {
  return Uint8Array.from({ length: count }, (_, n) => Number((value >> BigInt(n * 8)) & 0xffn));
}

/** A register's value of `bytes` bytes as it is given to callers. */
const given = (value: bigint, bytes: number): number | bigint => (bytes <= 4 ? Number(value) : value);

function takenValue(regid: number, value: RegisterInput): bigint {
  if (typeof value === 'bigint') return value;
  if (typeof value === 'number') {
    if (Number.isSafeInteger(value)) return BigInt(value);
  } else if (value instanceof Uint8Array || Array.isArray(value)) return toBigInt(value as ArrayLike<number>);
  throw badArgument(`register ${String(regid)} = ${typeof value === 'number' ? String(value) : 'an object'}`);
}

export class RegisterFile {
  readonly system: SystemRegisters;
  readonly #processor: Processor;
  readonly #bytes: Uint8Array;

  constructor(processor: Processor, memory: ProgramMemory) {
    this.#processor = processor;
    this.#bytes = processor.map.bytes;
    this.system = new SystemRegisters(processor.block, processor.engine, memory);
  }

  /** With `size`: the first bytes of the register, zeros behind its own. */
  read(regid: number, size?: number): RegisterValue {
    if (regid === UC_X86_REG_MSR) return this.system.readMsr(size ?? -1);
    const table = this.system.readTable(regid);
    if (table !== undefined) return table;
    const { value, bytes } = this.#value(regid);
    if (size === undefined) return given(value, bytes);
    if (!Number.isInteger(size) || size < 1 || size > 64)
      throw badArgument(`reg_read of ${String(size)} bytes`);
    return toBytes(value, size);
  }

  #value(regid: number): { value: bigint; bytes: number } {
    const flags = flagRegisters.get(regid);
    const { block, engine } = this.#processor;
    if (flags !== undefined)
      return {
        value: BigInt.asUintN(flags * 8, BigInt(engine.core.readFlags(block.address) >>> 0)),
        bytes: flags,
      };
    const segment = segmentRegisters.get(regid);
    if (segment !== undefined) return { value: BigInt(block.segment(segment).selector), bytes: 2 };
    if (regid === UC_X86_REG_FPTAG) return { value: BigInt(this.system.tagWord), bytes: 2 };
    const { offset, bytes } = this.#place(regid);
    const at = block.address + offset;
    return { value: toBigInt(this.#bytes.subarray(at, at + bytes)), bytes };
  }

  #place(regid: number): { offset: number; bytes: number; extend?: boolean } {
    if (regid >= UC_X86_REG_ST0 && regid <= UC_X86_REG_ST7)
      return { offset: this.system.stackRegister(regid - UC_X86_REG_ST0), bytes: 10 };
    const plain = plainRegisters.get(regid);
    if (plain === undefined) throw badArgument(`register ${String(regid)}`);
    return plain;
  }

  /** True when it was the instruction pointer. */
  write(regid: number, input: RegisterInput): boolean {
    if (regid === UC_X86_REG_MSR) {
      if (typeof input !== 'object' || !('rid' in input))
        throw badArgument('an MSR is written as { rid, value }');
      this.system.writeMsr(input.rid, BigInt(input.value));
      return false;
    }
    if (typeof input === 'object' && !(input instanceof Uint8Array) && !Array.isArray(input)) {
      if (!this.system.writeTable(regid, input as Partial<SystemTable>))
        throw badArgument(`register ${String(regid)} = an object`);
      return false;
    }
    this.#store(regid, takenValue(regid, input));
    return instructionPointers.has(regid);
  }

  #store(regid: number, value: bigint): void {
    const { block, engine } = this.#processor;
    const flags = flagRegisters.get(regid);
    const segment = segmentRegisters.get(regid);
    if (flags !== undefined) {
      const mask = flags === 2 ? 0xffff : -1;
      engine.core.writeFlags(block.address, Number(BigInt.asIntN(32, value)) | 2, mask);
      this.system.changed();
    } else if (segment !== undefined) this.system.loadSegment(segment, Number(BigInt.asUintN(16, value)));
    else if (regid === UC_X86_REG_FPTAG) this.system.tagWord = Number(BigInt.asUintN(16, value));
    else {
      const { offset, bytes, extend = false } = this.#place(regid);
      const at = block.address + offset;
      this.#bytes.set(toBytes(BigInt.asUintN(bytes * 8, value), extend ? 8 : bytes), at);
      if (offset >= Cpu.fpr && offset < Cpu.fpr + 128) this.#filled(offset);
      if (controlRegisters.has(regid)) this.system.changed();
    }
  }

  /** An x87 register that got a value is not empty. */
  #filled(offset: number): void {
    this.#bytes[this.#processor.block.address + Cpu.ftags + ((offset - Cpu.fpr) >> 4)] = 0;
  }
}
