/**
 * Expression values: trees that emit WebAssembly when they are used. An expression may be used once; one that is
 * needed twice is bound to a local by `Code.let`. Operators take their type from their first operand; a number or
 * bigint stands for a constant of that type. Constants are folded where it is cheap.
 */
import type { Bytes } from './bytes.ts';

export type WasmType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128';

export interface Expr<T extends WasmType = WasmType> {
  readonly type: T;
  readonly constant?: bigint | undefined;
  /** The 16 bytes of a v128 constant. */
  readonly vectorConstant?: readonly number[] | undefined;
  emit(out: Bytes): void;
}
export type I32 = Expr<'i32'>;
export type I64 = Expr<'i64'>;
export type F32 = Expr<'f32'>;
export type F64 = Expr<'f64'>;
export type V128 = Expr<'v128'>;
export type Int = I32 | I64;
/** An expression or a literal for it. */
export type Operand = Expr | number | bigint;

/** Translated code is made while the guest waits: values are objects of few classes, so that emitting them is fast. */
class ConstantI32 implements I32 {
  readonly type = 'i32';
  readonly constant: bigint;
  readonly #value: number;

  constructor(value: number) {
    this.#value = value;
    this.constant = BigInt(value);
  }

  emit(out: Bytes): void {
    out.u8(0x41);
    out.s32(this.#value);
  }
}

class ConstantI64 implements I64 {
  readonly type = 'i64';
  readonly constant: bigint;

  constructor(value: bigint) {
    this.constant = value;
  }

  emit(out: Bytes): void {
    out.u8(0x42);
    out.s64(this.constant);
  }
}

class Unary<T extends WasmType> implements Expr<T> {
  readonly type: T;
  readonly constant = undefined;
  readonly #opcode: number;
  readonly #a: Expr;

  constructor(type: T, opcode: number, a: Expr) {
    this.type = type;
    this.#opcode = opcode;
    this.#a = a;
  }

  emit(out: Bytes): void {
    this.#a.emit(out);
    out.u8(this.#opcode);
  }
}

class Binary<T extends WasmType> implements Expr<T> {
  readonly type: T;
  readonly constant = undefined;
  readonly #opcode: number;
  readonly #a: Expr;
  readonly #b: Expr;

  constructor(type: T, opcode: number, a: Expr, b: Expr) {
    this.type = type;
    this.#opcode = opcode;
    this.#a = a;
    this.#b = b;
  }

  emit(out: Bytes): void {
    this.#a.emit(out);
    this.#b.emit(out);
    out.u8(this.#opcode);
  }
}

class Load<T extends WasmType> implements Expr<T> {
  readonly type: T;
  readonly constant = undefined;
  /** 0: v128.load, which has two bytes. */
  readonly #opcode: number;
  readonly #address: I32;
  readonly #offset: number;

  constructor(type: T, opcode: number, address: I32, offset: number) {
    this.type = type;
    this.#opcode = opcode;
    this.#address = address;
    this.#offset = offset;
  }

  emit(out: Bytes): void {
    this.#address.emit(out);
    if (this.#opcode === 0) out.u8(0xfd);
    out.u8(this.#opcode);
    out.u8(0); // alignment hint: none
    out.u32(this.#offset);
  }
}

export function i32(value: number | bigint): I32 {
  return new ConstantI32(typeof value === 'number' ? value | 0 : Number(BigInt.asIntN(32, value)));
}

export function i64(value: number | bigint): I64 {
  return new ConstantI64(BigInt.asIntN(64, BigInt(value)));
}

export function f64(value: number): F64 {
  const bytes = new Uint8Array(new Float64Array([value]).buffer);
  return {
    type: 'f64',
    emit(out) {
      out.u8(0x44);
      out.raw(bytes);
    },
  };
}

export function f32(value: number): F32 {
  const bytes = new Uint8Array(new Float32Array([value]).buffer);
  return {
    type: 'f32',
    emit(out) {
      out.u8(0x43);
      out.raw(bytes);
    },
  };
}

/** A constant of `type` (i32 or i64). */
export function constant<T extends 'i32' | 'i64'>(type: T, value: number | bigint): Expr<T> {
  return (type === 'i32' ? i32(value) : i64(value)) as Expr<T>;
}

/** `operand` as an expression; a literal takes `type`. */
export function coerce<T extends WasmType>(type: T, operand: Operand): Expr<T> {
  if (typeof operand === 'number' || typeof operand === 'bigint') {
    if (type === 'i32' || type === 'i64') return constant(type, operand) as unknown as Expr<T>;
    if (type === 'f64') return f64(Number(operand)) as unknown as Expr<T>;
    if (type === 'f32') return f32(Number(operand)) as unknown as Expr<T>;
    throw new Error(`no literal of type ${type}`);
  }
  if (operand.type !== type) throw new Error(`expected ${type}, got ${operand.type}`);
  return operand as Expr<T>;
}

/** [i32, i64, f32, f64] opcodes; 0 where there is none. */
type Opcodes = readonly [number, number, number, number];
function opcodeFor(type: WasmType, opcodes: Opcodes, name: string): number {
  const opcode =
    type === 'i32'
      ? opcodes[0]
      : type === 'i64'
        ? opcodes[1]
        : type === 'f32'
          ? opcodes[2]
          : type === 'f64'
            ? opcodes[3]
            : 0;
  if (opcode === 0) throw new Error(`${name} has no form for ${type}`);
  return opcode;
}

type Fold = (a: bigint, b: bigint, bits: bigint) => bigint;
type Identity = { right?: bigint };

function binary(name: string, opcodes: Opcodes, fold?: Fold, identity: Identity = {}) {
  return <T extends WasmType>(a: Expr<T>, operand: Operand): Expr<T> => {
    const b = coerce(a.type, operand);
    if (a.type === 'i32' || a.type === 'i64') {
      if (b.constant !== undefined) {
        if (identity.right !== undefined && b.constant === identity.right) return a;
        if (fold !== undefined && a.constant !== undefined)
          return constant(
            a.type,
            fold(a.constant, b.constant, a.type === 'i32' ? 32n : 64n),
          ) as unknown as Expr<T>;
      }
    }
    return new Binary(a.type, opcodeFor(a.type, opcodes, name), a, b);
  };
}
type Predicate = (a: bigint, b: bigint) => boolean;
/** `holds` folds constants, which it gets as unsigned numbers when `unsigned`. */
function compare(name: string, opcodes: Opcodes, holds?: Predicate, unsigned = false) {
  return (a: Expr, operand: Operand): I32 => {
    const b = coerce(a.type, operand);
    if (holds !== undefined && a.constant !== undefined && b.constant !== undefined) {
      const bits = a.type === 'i32' ? 32 : 64;
      const value = (n: bigint): bigint => (unsigned ? BigInt.asUintN(bits, n) : n);
      return i32(holds(value(a.constant), value(b.constant)) ? 1 : 0);
    }
    return new Binary('i32', opcodeFor(a.type, opcodes, name), a, b);
  };
}
function unary(name: string, opcodes: Opcodes) {
  return <T extends WasmType>(a: Expr<T>): Expr<T> => new Unary(a.type, opcodeFor(a.type, opcodes, name), a);
}

export const add = binary('add', [0x6a, 0x7c, 0x92, 0xa0], (a, b) => a + b, { right: 0n });
export const sub = binary('sub', [0x6b, 0x7d, 0x93, 0xa1], (a, b) => a - b, { right: 0n });
export const mul = binary('mul', [0x6c, 0x7e, 0x94, 0xa2], (a, b) => a * b, { right: 1n });
export const divS = binary('divS', [0x6d, 0x7f, 0, 0]);
export const divU = binary('divU', [0x6e, 0x80, 0, 0]);
export const remS = binary('remS', [0x6f, 0x81, 0, 0]);
export const remU = binary('remU', [0x70, 0x82, 0, 0]);
export const div = binary('div', [0, 0, 0x95, 0xa3]);
export const and = binary('and', [0x71, 0x83, 0, 0], (a, b) => a & b, { right: -1n });
export const or = binary('or', [0x72, 0x84, 0, 0], (a, b) => a | b, { right: 0n });
export const xor = binary('xor', [0x73, 0x85, 0, 0], (a, b) => a ^ b, { right: 0n });
export const shl = binary('shl', [0x74, 0x86, 0, 0], (a, b, bits) => a << (b & (bits - 1n)), { right: 0n });
export const shrS = binary('shrS', [0x75, 0x87, 0, 0], (a, b, bits) => a >> (b & (bits - 1n)), { right: 0n });
export const shrU = binary(
  'shrU',
  [0x76, 0x88, 0, 0],
  (a, b, bits) => BigInt.asUintN(Number(bits), a) >> (b & (bits - 1n)),
  { right: 0n },
);
export const rotl = binary('rotl', [0x77, 0x89, 0, 0]);
export const rotr = binary('rotr', [0x78, 0x8a, 0, 0]);
export const eq = compare('eq', [0x46, 0x51, 0x5b, 0x61], (a, b) => a === b);
export const ne = compare('ne', [0x47, 0x52, 0x5c, 0x62], (a, b) => a !== b);
export const ltS = compare('ltS', [0x48, 0x53, 0, 0], (a, b) => a < b);
export const ltU = compare('ltU', [0x49, 0x54, 0, 0], (a, b) => a < b, true);
export const gtS = compare('gtS', [0x4a, 0x55, 0, 0], (a, b) => a > b);
export const gtU = compare('gtU', [0x4b, 0x56, 0, 0], (a, b) => a > b, true);
export const leS = compare('leS', [0x4c, 0x57, 0, 0], (a, b) => a <= b);
export const geS = compare('geS', [0x4e, 0x59, 0, 0], (a, b) => a >= b);
export const geU = compare('geU', [0x4f, 0x5a, 0, 0], (a, b) => a >= b, true);
export const lt = compare('lt', [0, 0, 0x5d, 0x63]);
export const gt = compare('gt', [0, 0, 0x5e, 0x64]);
export const le = compare('le', [0, 0, 0x5f, 0x65]);
export const eqz = (a: Int): I32 => new Unary('i32', opcodeFor(a.type, [0x45, 0x50, 0, 0], 'eqz'), a);
export const clz = unary('clz', [0x67, 0x79, 0, 0]);
export const ctz = unary('ctz', [0x68, 0x7a, 0, 0]);
export const popcnt = unary('popcnt', [0x69, 0x7b, 0, 0]);
export const abs = unary('abs', [0, 0, 0x8b, 0x99]);
export const nearest = unary('nearest', [0, 0, 0x90, 0x9e]);
export const sqrt = unary('sqrt', [0, 0, 0x91, 0x9f]);
export const extend8S = unary('extend8S', [0xc0, 0xc2, 0, 0]);
export const extend16S = unary('extend16S', [0xc1, 0xc3, 0, 0]);

export const wrap = (a: I64): I32 => (a.constant !== undefined ? i32(a.constant) : new Unary('i32', 0xa7, a));
export const extendS = (a: I32): I64 =>
  a.constant !== undefined ? i64(a.constant) : new Unary('i64', 0xac, a);
export const extendU = (a: I32): I64 =>
  a.constant !== undefined ? i64(BigInt.asUintN(32, a.constant)) : new Unary('i64', 0xad, a);
export const convertI64ToF32 = (a: I64): F32 => new Unary('f32', 0xb4, a);
export const convertI32ToF64 = (a: I32): F64 => new Unary('f64', 0xb7, a);
export const convertI64ToF64 = (a: I64): F64 => new Unary('f64', 0xb9, a);
export const bitsOfF32 = (a: F32): I32 => new Unary('i32', 0xbc, a);
export const bitsOfF64 = (a: F64): I64 => new Unary('i64', 0xbd, a);
export const f32OfBits = (a: I32): F32 => new Unary('f32', 0xbe, a);
export const f64OfBits = (a: I64): F64 => new Unary('f64', 0xbf, a);

/** `condition ? a : b`, both evaluated. */
export function select<T extends WasmType>(condition: I32, a: Expr<T>, operand: Operand): Expr<T> {
  const b = coerce(a.type, operand);
  if (condition.constant !== undefined) return condition.constant === 0n ? b : a;
  return {
    type: a.type,
    emit(out) {
      a.emit(out);
      b.emit(out);
      condition.emit(out);
      if (a.type === 'v128') out.raw([0x1c, 1, 0x7b]);
      else out.u8(0x1b);
    },
  };
}

type AccessOpcodes = Readonly<Record<WasmType, Readonly<Record<number, number>>>>;
const loadOpcodes: AccessOpcodes = {
  i32: { 1: 0x2d, 2: 0x2f, 4: 0x28 },
  i64: { 1: 0x31, 2: 0x33, 4: 0x35, 8: 0x29 },
  f32: { 4: 0x2a },
  f64: { 8: 0x2b },
  v128: { 16: 0 },
};
/** v128.store is 0xfd 11. */
const storeOpcodes: AccessOpcodes = {
  i32: { 1: 0x3a, 2: 0x3b, 4: 0x36 },
  i64: { 1: 0x3c, 2: 0x3d, 4: 0x3e, 8: 0x37 },
  f32: { 4: 0x38 },
  f64: { 8: 0x39 },
  v128: { 16: 11 },
};

function accessOpcode(what: string, opcodes: AccessOpcodes, type: WasmType, bytes: number): number {
  const opcode = opcodes[type][bytes];
  if (opcode === undefined) throw new Error(`no ${what} of ${bytes} bytes for ${type}`);
  return opcode;
}

/** Loads of `bytes` bytes at `address + offset`, zero-extended into `type`. */
export function load<T extends WasmType>(type: T, bytes: number, address: I32, offset = 0): Expr<T> {
  return new Load(type, accessOpcode('load', loadOpcodes, type, bytes), address, offset);
}

/** Emits the instruction that stores `bytes` bytes of a value of `type`, both operands being on the stack. */
export function emitStore(out: Bytes, type: WasmType, bytes: number, offset: number): void {
  const opcode = accessOpcode('store', storeOpcodes, type, bytes);
  if (type === 'v128') out.u8(0xfd);
  out.u8(opcode);
  out.u8(0); // alignment hint: none
  out.u32(offset);
}

/** A SIMD instruction by its opcode (WebAssembly 2.0, 5.4.8), operands on the stack, then an optional lane. */
export function simd<T extends WasmType>(
  type: T,
  opcode: number,
  args: readonly Expr[],
  lanes: readonly number[] = [],
): Expr<T> {
  return {
    type,
    emit(out) {
      for (const arg of args) arg.emit(out);
      out.u8(0xfd);
      out.u32(opcode);
      out.raw(lanes);
    },
  };
}

/** A v128 constant from 16 bytes. */
export const v128 = (bytes: readonly number[]): V128 => ({
  ...simd('v128', 12, [], bytes),
  vectorConstant: bytes,
});
