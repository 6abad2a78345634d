/**
 * Semantics of SSE instructions behind a VEX prefix. Such a row runs the semantics of its SSE row against a view of the builder that names
 * the first source apart from the destination, clears bits 128-255 of the destination, and for 256 bits runs them once for each half:
 * all instructions of AVX but a few work on the halves as if they were two vectors. SDM Vol. 1, 14.1; Vol. 2A, 2.3.
 */
import * as x from '../../wasm/expr.ts';
import type { Expr, I32, I64, Int, V128 } from '../../wasm/expr.ts';
import type { InstructionBuilder } from '../builder.ts';
import { Cpu, FpuTrap } from '../layout.ts';
import type { Semantics } from './row.ts';
import { lane64, v64, zeroVector } from './simd-common.ts';

export const avxBytes = 32;

/** #UD and #NM of VEX instructions on vectors, and the features. */
export function beginAvx(b: InstructionBuilder, feature: number): void {
  const trapped = FpuTrap.avxUndefined | FpuTrap.simdNotAvailable;
  b.guard(
    `avx ${feature}`,
    () => {
      const wanted = BigInt(feature);
      const missing = x.ne(x.and(b.field('i64', Cpu.features, 8), x.i64(wanted)), wanted);
      return x.or(x.and(b.field('i32', Cpu.fpuTrap), trapped), missing);
    },
    () => b.call('avxTrap', x.i64(BigInt(feature))),
  );
}

/** Writes a whole vector register: bits 128-255 become 0. */
export function writeXmm(b: InstructionBuilder, index: number, value: V128): void {
  b.writeVectorRegister(index, value);
  b.writeUpper(index, zeroVector());
}

/** How a VEX row's operands correspond to those of its SSE row. */
export interface VexForm {
  /** The VEX row's operand in place of each operand that the SSE row reads. */
  reads: readonly number[];
  feature: number;
  /** For 256 bits, where it is another one. */
  feature256?: number;
  /** For the upper half, the immediate is shifted right by so many bits. */
  immediateShift?: number;
  /** Floating-point exceptions of both halves count together. */
  raises?: boolean;
  /** Two results of 8 bytes make the destination of 16. */
  narrows?: boolean;
}

type Overrides = Partial<InstructionBuilder>;

/** The builder itself but for some methods. */
function viewOf(b: InstructionBuilder, overrides: Overrides): InstructionBuilder {
  return new Proxy(b, {
    get(target, key) {
      if (Object.hasOwn(overrides, key)) return overrides[key as keyof Overrides];
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

/** The checks of SSE are not those of VEX instructions, which have been made. */
const guarded = (b: InstructionBuilder): InstructionBuilder['guard'] =>
  function guard(key, condition, trap) {
    if (!key.startsWith('sse ')) b.guard(key, condition, trap);
  };

const laneOpcode = { i32: 28, i64: 30, f32: 32, f64: 34 } as const;

function narrowView(b: InstructionBuilder, reads: readonly number[]): InstructionBuilder {
  const from = (index: number): number => reads[index] ?? index;
  let copied = false;
  const withLane = (lane: number, value: Expr): void => {
    const opcode = laneOpcode[value.type as keyof typeof laneOpcode];
    writeXmm(b, 0, x.simd('v128', opcode, [b.readVectorRegister(from(0)), value], [lane]));
  };
  return viewOf(b, {
    guard: guarded(b),
    read: (index) => b.read(from(index)),
    readVector: (index) => b.readVector(from(index)),
    readVectorRegister: (index) => b.readVectorRegister(from(index)),
    readLane: (index, bytes, lane) => b.readLane(from(index), bytes, lane),
    readFloat: (index, bytes) => b.readFloat(from(index), bytes),
    readVector0: () => b.readVectorRegister(from(3)),
    write: (index, value) => {
      b.write(index, value);
    },
    writeVector: (index, value) => {
      if (b.isMemory && isMemoryDestination(b)) b.writeVector(index, value);
      else writeXmm(b, index, value);
    },
    writeVectorRegister: (index, value) => {
      writeXmm(b, index, value);
    },
    writeVector0: (value) => {
      b.writeVector0(value);
      b.clearUpper0();
    },
    writeLane: (_index, _bytes, lane, value) => {
      withLane(lane, value);
    },
    writeFloat: (_index, value) => {
      withLane(0, value);
    },
    registerAddress: (index) => {
      // What is changed in place is a copy of the first source; the other one has been read.
      if (index === 0 && from(0) !== 0 && !copied) {
        copied = true;
        writeXmm(b, 0, b.readVectorRegister(from(0)));
      }
      return b.registerAddress(index === 0 ? 0 : from(index));
    },
  });
}

const isMemoryDestination = (b: InstructionBuilder): boolean => {
  const place = b.row.operands[0]?.place;
  return place === 'rm' || place === 'memory';
};

/** Parts of an operand that is narrower than the vector, for the half in question. */
function partOf(b: InstructionBuilder, index: number, half: number, cache: Map<number, Expr>): Int {
  const bytes = b.operandBytes(index);
  const bind = <T extends Expr>(make: () => T): T => {
    const known = cache.get(index) ?? make();
    cache.set(index, known);
    return known as T;
  };
  if (bytes === 16)
    return b.let(
      lane64(
        bind(() => b.readVector(index)),
        half,
      ),
    );
  if (bytes === 8) {
    const whole = bind(() => b.let(b.read(index) as I64));
    return b.let(x.wrap(half === 0 ? whole : x.shrU(whole, 32)));
  }
  const whole = bind(() => b.let(b.read(index) as I32));
  return b.let(half === 0 ? x.and(whole, 0xffff) : x.shrU(whole, 16));
}

type Halves = Map<number, readonly [V128, V128]>;

/** The vector in memory, if there is one: it is read before anything that must not be left half done. */
function readMemory(b: InstructionBuilder): Halves {
  const index = b.row.operands.findIndex(
    ({ place, file }) => file === 'xmm' && (place === 'rm' || place === 'memory'),
  );
  const isSource = b.isMemory && index > 0;
  return new Map(isSource && b.operandBytes(index) === avxBytes ? [[index, b.readWide(index)]] : []);
}

function runHalves(
  b: InstructionBuilder,
  semantics: Semantics,
  form: VexForm,
  wide: Halves,
  parts: Map<number, Expr>,
): readonly V128[] {
  const results: V128[] = [];
  for (const half of [0, 1] as const) {
    const from = (index: number): number => form.reads[index] ?? index;
    const register = (index: number): V128 =>
      half === 0 ? b.readVectorRegister(from(index)) : b.readUpper(from(index));
    const write = (_index: number, value: V128): void => {
      results[half] = b.let(value);
    };
    semantics(
      viewOf(b, {
        guard: guarded(b),
        read: (index) => partOf(b, from(index), half, parts),
        readVector: (index) => {
          const operand = from(index);
          if (b.operandBytes(operand) === 16) {
            const known = (parts.get(operand) ?? b.readVector(operand)) as V128;
            parts.set(operand, known);
            return known;
          }
          const halves = wide.get(operand) ?? b.readWide(operand);
          wide.set(operand, halves);
          return halves[half];
        },
        readVectorRegister: register,
        readVector0: () => register(3),
        writeVector: write,
        writeVectorRegister: write,
        immediate: () => (half === 0 ? b.immediate() : x.shrU(b.immediate(), form.immediateShift ?? 0)),
      }),
    );
  }
  return results;
}

const unmasked = (b: InstructionBuilder): I32 => x.ne(x.and(b.field('i32', Cpu.mxcsr), 0x1f80), 0x1f80);

/** What `semantics`, those of an SSE row, do behind a VEX prefix. */
export function vexed(semantics: Semantics, form: VexForm): Semantics {
  return (b) => {
    if (b.size !== avxBytes) {
      beginAvx(b, form.feature);
      semantics(narrowView(b, form.reads));
      return;
    }
    beginAvx(b, form.feature256 ?? form.feature);
    const wide = readMemory(b);
    const parts = new Map<number, Expr>();
    const half = b.row.operands.findIndex(({ fraction }) => fraction === 2);
    if (half > 0) parts.set(half, b.readVector(half));
    if (form.raises === true) b.if(unmasked(b), () => b.call('sseHold'));
    const [low, high] = runHalves(b, semantics, form, wide, parts);
    if (low === undefined || high === undefined) throw new Error(`${b.row.mnemonic} gives no whole vector`);
    if (form.raises === true) b.if(unmasked(b), () => b.call('sseRelease'));
    if (form.narrows === true) writeXmm(b, 0, v64(lane64(low, 0), lane64(high, 0)));
    else b.writeWide(0, low, high);
  };
}
