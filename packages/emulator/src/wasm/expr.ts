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

export function i32(value: number | bigint): I32 {
  const number = Number(BigInt.asIntN(32, BigInt(value)));
  return {
    type: 'i32',
    constant: BigInt(number),
    emit(out) {
      out.u8(0x41);
      out.s32(number);
    },
  };
}

export function i64(value: number | bigint): I64 {
  const number = BigInt.asIntN(64, BigInt(value));
  return {
    type: 'i64',
    constant: number,
    emit(out) {
      out.u8(0x42);
      out.s64(number);
    },
  };
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

function node<T extends WasmType>(type: T, opcode: number, args: readonly Expr[]): Expr<T> {
  return {
    type,
    emit(out) {
      for (const arg of args) arg.emit(out);
      out.u8(opcode);
    },
  };
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
    return node(a.type, opcodeFor(a.type, opcodes, name), [a, b]);
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
    return node('i32', opcodeFor(a.type, opcodes, name), [a, b]);
  };
}
function unary(name: string, opcodes: Opcodes) {
  return <T extends WasmType>(a: Expr<T>): Expr<T> => node(a.type, opcodeFor(a.type, opcodes, name), [a]);
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
export const min = binary('min', [0, 0, 0x96, 0xa4]);
export const max = binary('max', [0, 0, 0x97, 0xa5]);
export const eq = compare('eq', [0x46, 0x51, 0x5b, 0x61], (a, b) => a === b);
export const ne = compare('ne', [0x47, 0x52, 0x5c, 0x62], (a, b) => a !== b);
export const ltS = compare('ltS', [0x48, 0x53, 0, 0], (a, b) => a < b);
export const ltU = compare('ltU', [0x49, 0x54, 0, 0], (a, b) => a < b, true);
export const gtS = compare('gtS', [0x4a, 0x55, 0, 0], (a, b) => a > b);
export const gtU = compare('gtU', [0x4b, 0x56, 0, 0], (a, b) => a > b, true);
export const leS = compare('leS', [0x4c, 0x57, 0, 0], (a, b) => a <= b);
export const leU = compare('leU', [0x4d, 0x58, 0, 0], (a, b) => a <= b, true);
export const geS = compare('geS', [0x4e, 0x59, 0, 0], (a, b) => a >= b);
export const geU = compare('geU', [0x4f, 0x5a, 0, 0], (a, b) => a >= b, true);
export const lt = compare('lt', [0, 0, 0x5d, 0x63]);
export const gt = compare('gt', [0, 0, 0x5e, 0x64]);
export const le = compare('le', [0, 0, 0x5f, 0x65]);
export const ge = compare('ge', [0, 0, 0x60, 0x66]);
export const eqz = (a: Int): I32 => node('i32', opcodeFor(a.type, [0x45, 0x50, 0, 0], 'eqz'), [a]);
export const clz = unary('clz', [0x67, 0x79, 0, 0]);
export const ctz = unary('ctz', [0x68, 0x7a, 0, 0]);
export const popcnt = unary('popcnt', [0x69, 0x7b, 0, 0]);
export const abs = unary('abs', [0, 0, 0x8b, 0x99]);
export const neg = unary('neg', [0, 0, 0x8c, 0x9a]);
export const nearest = unary('nearest', [0, 0, 0x90, 0x9e]);
export const sqrt = unary('sqrt', [0, 0, 0x91, 0x9f]);
export const extend8S = unary('extend8S', [0xc0, 0xc2, 0, 0]);
export const extend16S = unary('extend16S', [0xc1, 0xc3, 0, 0]);
export const extend32S = unary('extend32S', [0, 0xc4, 0, 0]);

export const wrap = (a: I64): I32 => (a.constant !== undefined ? i32(a.constant) : node('i32', 0xa7, [a]));
export const extendS = (a: I32): I64 => (a.constant !== undefined ? i64(a.constant) : node('i64', 0xac, [a]));
export const extendU = (a: I32): I64 =>
  a.constant !== undefined ? i64(BigInt.asUintN(32, a.constant)) : node('i64', 0xad, [a]);
export const convertI32ToF32 = (a: I32): F32 => node('f32', 0xb2, [a]);
export const convertI64ToF32 = (a: I64): F32 => node('f32', 0xb4, [a]);
export const convertI32ToF64 = (a: I32): F64 => node('f64', 0xb7, [a]);
export const convertI64ToF64 = (a: I64): F64 => node('f64', 0xb9, [a]);
export const demote = (a: F64): F32 => node('f32', 0xb6, [a]);
export const promote = (a: F32): F64 => node('f64', 0xbb, [a]);
export const bitsOfF32 = (a: F32): I32 => node('i32', 0xbc, [a]);
export const bitsOfF64 = (a: F64): I64 => node('i64', 0xbd, [a]);
export const f32OfBits = (a: I32): F32 => node('f32', 0xbe, [a]);
export const f64OfBits = (a: I64): F64 => node('f64', 0xbf, [a]);

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

/** Loads of `bytes` bytes at `address + offset`, zero-extended into `type`. */
export function load<T extends WasmType>(type: T, bytes: number, address: I32, offset = 0): Expr<T> {
  const opcodes: Record<string, number> = {
    i32_1: 0x2d, i32_2: 0x2f, i32_4: 0x28, i64_1: 0x31, i64_2: 0x33, i64_4: 0x35, i64_8: 0x29, f32_4: 0x2a, f64_8: 0x2b,
  }; // prettier-ignore
  return loadWith(type, opcodes[`${type}_${bytes}`], address, offset);
}

/** As `load`, sign-extended. */
export function loadS<T extends 'i32' | 'i64'>(type: T, bytes: number, address: I32, offset = 0): Expr<T> {
  const opcodes: Record<string, number> = {
    i32_1: 0x2c, i32_2: 0x2e, i32_4: 0x28, i64_1: 0x30, i64_2: 0x32, i64_4: 0x34, i64_8: 0x29,
  }; // prettier-ignore
  return loadWith(type, opcodes[`${type}_${bytes}`], address, offset);
}

function loadWith<T extends WasmType>(
  type: T,
  opcode: number | undefined,
  address: I32,
  offset: number,
): Expr<T> {
  if (opcode === undefined && type !== 'v128') throw new Error(`no such load for ${type}`);
  return {
    type,
    emit(out) {
      address.emit(out);
      if (opcode === undefined) out.raw([0xfd, 0]);
      else out.u8(opcode);
      out.u8(0); // alignment hint: none
      out.u32(offset);
    },
  };
}

/** Opcode that stores `bytes` bytes of a value of `type`. */
export function storeOpcode(type: WasmType, bytes: number): readonly number[] {
  const opcodes: Record<string, readonly number[]> = {
    i32_1: [0x3a], i32_2: [0x3b], i32_4: [0x36], i64_1: [0x3c], i64_2: [0x3d], i64_4: [0x3e], i64_8: [0x37],
    f32_4: [0x38], f64_8: [0x39], v128_16: [0xfd, 11],
  }; // prettier-ignore
  const opcode = opcodes[`${type}_${bytes}`];
  if (opcode === undefined) throw new Error(`no store of ${bytes} bytes for ${type}`);
  return opcode;
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
