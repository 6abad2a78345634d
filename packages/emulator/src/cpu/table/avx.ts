/** What AVX and AVX2 have and SSE has not: broadcasts, lanes that cross the halves, shifts by lane, masked moves, gathers. SDM Vol. 2. */
import * as x from '../../wasm/expr.ts';
import type { Expr, I32, I64, V128 } from '../../wasm/expr.ts';
import type { InstructionBuilder } from '../builder.ts';
import { Cpu, CpuFeature } from '../layout.ts';
import { sseRow } from './avx-derived.ts';
import { row } from './row.ts';
import type { RowDraft, Semantics } from './row.ts';
import {
  and,
  andNot,
  binary,
  bitSelect,
  immediateByte,
  lane64,
  or,
  shuffle,
  splat64,
  splatConstant,
  swizzle,
  v64,
  zeroVector,
} from './simd-common.ts';
import type { Packed } from './simd-common.ts';
import { allTrue, formatOf, fromScratch, noDenormal, scratchSource } from './sse-float.ts';
import type { Bytes } from './sse-float.ts';
import { avxBytes, beginAvx, vexed, writeXmm } from './vex-view.ts';
import type { VexForm } from './vex-view.ts';

const { avx, avx2, f16c } = CpuFeature;
const three = [1, 2, 3];
const two: readonly number[] = [];

/** A vector operand of the row in its halves: one of 128 bits, two of 256. */
const halvesOf = (b: InstructionBuilder, index: number): readonly V128[] =>
  b.operandBytes(index) === avxBytes ? b.readWide(index) : [b.readVector(index)];

/** The destination from its halves. */
function writeHalves(b: InstructionBuilder, [low, high]: readonly V128[]): void {
  if (low === undefined) throw new Error(`${b.row.mnemonic} gives no vector`);
  if (high === undefined) writeXmm(b, 0, low);
  else b.writeWide(0, low, high);
}

/** An operation on each half, or the vector of 128 bits. */
const lanewise = (operation: (b: InstructionBuilder, a: V128, c: V128) => V128, form: VexForm): Semantics =>
  vexed((b) => {
    const c = b.readVector(1);
    const a = b.readVectorRegister(0);
    b.writeVector(0, operation(b, a, c));
  }, form);

// ---- comparisons ----

/** Less, equal and greater of f32x4 and f64x2. */
const relations = { 4: [67, 65, 68], 8: [73, 71, 74] } as const;
/** As in core/sse/sse-float.ts. */
const predicates = 0xf465_0b9a_7ced_8312n;

/** CMPPS with 32 predicates. Without NaNs and denormals it is a choice among three comparisons, and there is no flag to set. */
function compared(b: InstructionBuilder, bytes: Bytes, lanes: number, a: V128, c: V128): V128 {
  const f = formatOf(bytes);
  const predicate = b.let(x.and(immediateByte(b), 31));
  const at = x.extendU(x.shl(x.and(predicate, 15), 2));
  const holds = b.let(x.wrap(x.shrU(x.i64(predicates), at)));
  const chosen = relations[bytes].map((opcode, bit) => {
    const all = x.sub(x.i32(0), x.and(x.shrU(holds, bit), 1));
    return and(binary(opcode, a, c), x.simd('v128', 17, [all]));
  });
  const result = b.variable(or(or(chosen[0] as V128, chosen[1] as V128), chosen[2] as V128));
  b.if(x.eqz(allTrue(f, and(noDenormal(f, a), noDenormal(f, c)))), () => {
    b.setField(Cpu.scratch, a, 16);
    b.setField(scratchSource, c, 16);
    b.call('sseComparePredicate', predicate, x.i32(bytes), x.i32(lanes));
    b.code.set(result, fromScratch(b));
  });
  return result;
}
const comparePacked = (bytes: Bytes): Semantics =>
  lanewise((b, a, c) => compared(b, bytes, 16 / bytes, a, c), { reads: three, feature: avx, raises: true });
const compareScalar = (bytes: Bytes): Semantics =>
  vexed(
    (b) => {
      const splat = (value: Expr): V128 => b.let(x.simd('v128', bytes === 4 ? 17 : 18, [value]));
      const c = splat(b.read(1) as Expr);
      const result = compared(b, bytes, 1, splat(b.readLane(0, bytes, 0) as Expr), c);
      b.writeLane(0, bytes, 0, bytes === 4 ? x.simd('i32', 27, [result], [0]) : lane64(result, 0));
    },
    { reads: three, feature: avx },
  );

// ---- bits of lanes ----

/** VMOVMSKPS, VMOVMSKPD, VPMOVMSKB: opcode of WebAssembly's bitmask. */
const moveMask =
  (opcode: number, lanes: number, feature256: number): Semantics =>
  (b) => {
    beginAvx(b, b.size === avxBytes ? feature256 : avx);
    const bits = (value: V128): I32 => x.simd('i32', opcode, [value]);
    const low = bits(b.readVectorRegister(1));
    b.write(0, b.size === avxBytes ? x.or(low, x.shl(bits(b.readUpper(1)), lanes)) : low);
  };

/** VPTEST, VTESTPS, VTESTPD: ZF = no common bits, CF = source within destination, of the bits in `mask`. */
const test =
  (mask: () => V128): Semantics =>
  (b) => {
    beginAvx(b, avx);
    const c = halvesOf(b, 1);
    const a = halvesOf(b, 0);
    const none = (operation: Packed): I32 => {
      const bits = a.map((half, i) => and(operation(c[i] as V128, half), mask()));
      const all = bits.length === 1 ? bits[0] : or(bits[0] as V128, bits[1] as V128);
      return b.let(x.eqz(x.simd('i32', 83, [all as V128])));
    };
    const common = none(and);
    const outside = none(andNot);
    b.flags.setZeroParityCarry(common, x.i32(0), outside);
  };

// ---- permutations ----

const repeated = (b: InstructionBuilder, value: V128): readonly V128[] => {
  const bound = b.let(value);
  return b.size === avxBytes ? [bound, bound] : [bound];
};
/** Splat opcodes of WebAssembly by lane bytes. */
const splats = { 1: 15, 2: 16, 4: 17, 8: 18 } as const;
const broadcast =
  (bytes: 1 | 2 | 4 | 8, feature: number): Semantics =>
  (b) => {
    beginAvx(b, feature);
    const value =
      b.isMemory || bytes >= 4
        ? b.read(1)
        : x.simd<'i32'>('i32', bytes === 1 ? 22 : 25, [b.readVectorRegister(1)], [0]);
    writeHalves(b, repeated(b, x.simd('v128', splats[bytes], [value as Expr])));
  };
const broadcastHalf =
  (feature: number): Semantics =>
  (b) => {
    beginAvx(b, feature);
    writeHalves(b, repeated(b, b.readVector(1)));
  };

/** A bit of the immediate. */
const bit = (b: InstructionBuilder, n: number): I32 => b.let(x.and(immediateByte(b), 1 << n));

const extractHalf =
  (feature: number): Semantics =>
  (b) => {
    beginAvx(b, feature);
    const value = b.let(x.select(bit(b, 0), b.readUpper(1), b.readVectorRegister(1)));
    if (b.isMemory) b.writeVector(0, value);
    else writeXmm(b, 0, value);
  };
const insertHalf =
  (feature: number): Semantics =>
  (b) => {
    beginAvx(b, feature);
    const value = b.readVector(2);
    const upper = bit(b, 0);
    const low = b.let(x.select(upper, b.readVectorRegister(1), value));
    const high = b.let(x.select(upper, value, b.readUpper(1)));
    b.writeWide(0, low, high);
  };
const permuteHalves =
  (feature: number): Semantics =>
  (b) => {
    beginAvx(b, feature);
    const [c0, c1] = b.readWide(2);
    const [a0, a1] = b.readWide(1);
    const half = (at: number): V128 => {
      const first = x.select(bit(b, at), a1, a0);
      const chosen = x.select(bit(b, at + 1), x.select(bit(b, at), c1, c0), first);
      return b.let(x.select(bit(b, at + 3), zeroVector(), chosen));
    };
    const low = half(0);
    b.writeWide(0, low, half(4));
  };

/** VPERMQ and VPERMPD: four quadwords, each chosen by two bits of the immediate. */
const permuteQuadwords: Semantics = (b) => {
  beginAvx(b, avx2);
  const [low, high] = b.readWide(1);
  b.setField(Cpu.scratch, low, 16);
  b.setField(Cpu.scratch + 16, high, 16);
  const lane = (n: number): I64 => {
    const number = x.and(x.shrU(immediateByte(b), n * 2), 3);
    return b.let(x.load('i64', 8, x.add(b.cpu, x.shl(number, 3)), Cpu.scratch));
  };
  b.writeWide(0, b.let(v64(lane(0), lane(1))), b.let(v64(lane(2), lane(3))));
};
/** VPERMD and VPERMPS: eight doublewords, each chosen by a lane of the first source. */
const permuteDoublewords: Semantics = (b) => {
  beginAvx(b, avx2);
  const [low, high] = b.readWide(2);
  const indices = b.readWide(1);
  b.setField(Cpu.scratch, low, 16);
  b.setField(Cpu.scratch + 16, high, 16);
  const half = (index: V128): V128 =>
    [0, 1, 2, 3].reduce((vector, lane) => {
      const number = x.and(x.simd<'i32'>('i32', 27, [index], [lane]), 7);
      const value = x.load('i32', 4, x.add(b.cpu, x.shl(number, 2)), Cpu.scratch);
      return x.simd<'v128'>('v128', 28, [vector, value], [lane]);
    }, zeroVector());
  const result = b.let(half(indices[0]));
  b.writeWide(0, result, b.let(half(indices[1])));
};

/** VPERMILPS by the second source: two bits of each lane. */
const permuteSingles = lanewise(
  (_b, a, c) => {
    const bytes = binary(181, and(c, splatConstant(4, 3)), splatConstant(4, 0x0404_0404));
    return swizzle(a, binary(174, bytes, splatConstant(4, 0x0302_0100)));
  },
  { reads: three, feature: avx },
);
/** VPERMILPD by the second source: bit 1 of each lane. */
const permuteDoubles = lanewise(
  (_b, a, c) => {
    const upper = x.simd<'v128'>('v128', 204, [x.simd('v128', 203, [c, x.i32(62)]), x.i32(63)]);
    return bitSelect(splat64(lane64(a, 1)), splat64(lane64(a, 0)), upper);
  },
  { reads: three, feature: avx },
);
const permuteDoublesImmediate = vexed(
  (b) => {
    const c = b.readVector(1);
    const imm = immediateByte(b);
    const lane = (mask: number): I64 => x.select(x.and(imm, mask), lane64(c, 1), lane64(c, 0));
    b.writeVector(0, v64(lane(1), lane(2)));
  },
  { reads: two, feature: avx, immediateShift: 2 },
);
const duplicateDoubles = [
  row('VEX F2 0F 12 L0', 'VMOVDDUP', 'Vdq,Wq', {}, (b) => {
    beginAvx(b, avx);
    writeXmm(b, 0, splat64(b.read(1) as I64));
  }),
  row('VEX F2 0F 12 L1', 'VMOVDDUP', 'Vx,Wx', {}, (b) => {
    beginAvx(b, avx);
    const [low, high] = b.readWide(1);
    const lanes = [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7];
    b.writeWide(0, b.let(shuffle(low, low, lanes)), b.let(shuffle(high, high, lanes)));
  }),
];

// ---- shifts by lane ----

/** WebAssembly shifts all lanes alike: one lane after the other. */
const shiftByLane = (
  bytes: 4 | 8,
  shift: (value: I64 | I32, count: I64 | I32) => Expr,
  arithmetic: boolean,
): Semantics =>
  lanewise(
    (b, a, c) => {
      const type = bytes === 4 ? 'i32' : 'i64';
      const [get, put] = bytes === 4 ? [27, 28] : [29, 30];
      let result = zeroVector();
      for (let lane = 0; lane < 16 / bytes; lane++) {
        const value = b.let(x.simd<'i32'>(type as 'i32', get, [a], [lane]));
        const count = b.let(x.simd<'i32'>(type as 'i32', put === 28 ? 27 : 29, [c], [lane]));
        const large = x.gtU(count, bytes * 8 - 1);
        const shifted = arithmetic
          ? shift(value, x.select(large, x.constant(type, bytes * 8 - 1) as I32, count))
          : x.select(large, x.constant(type, 0) as I32, shift(value, count) as I32);
        result = x.simd('v128', put, [result, shifted], [lane]);
      }
      return result;
    },
    { reads: three, feature: avx2 },
  );

// ---- masked moves and gathers ----

function maskToScratch(b: InstructionBuilder, index: number, at: number): void {
  halvesOf(b, index).forEach((half, i) => {
    b.setField(at + i * 16, half, 16);
  });
}
const maskedLoad =
  (bytes: 4 | 8, feature: number): Semantics =>
  (b) => {
    beginAvx(b, feature);
    maskToScratch(b, 1, Cpu.scratch);
    b.call('maskedLoad', b.record(), b.effectiveAddress(), x.i32(bytes), x.i32(b.size));
    const at = Cpu.scratch + 32;
    const low = b.field('v128', at, 16);
    writeHalves(b, b.size === avxBytes ? [low, b.field('v128', at + 16, 16)] : [low]);
  };
const maskedStore =
  (bytes: 4 | 8, feature: number): Semantics =>
  (b) => {
    beginAvx(b, feature);
    maskToScratch(b, 1, Cpu.scratch);
    maskToScratch(b, 2, Cpu.scratch + 32);
    b.call('maskedStore', b.record(), b.effectiveAddress(), x.i32(bytes), x.i32(b.size));
  };
const gather =
  (indexBytes: 4 | 8, bytes: 4 | 8): Semantics =>
  (b) => {
    beginAvx(b, avx2);
    b.call('gather', b.record(), x.i32(indexBytes), x.i32(bytes), x.i32(b.size));
  };
const gathers = (['VPGATHER', 'VGATHER'] as const).flatMap((name, kind) =>
  ([4, 8] as const).flatMap((indexBytes) =>
    ([4, 8] as const).map((bytes) => {
      const letters = kind === 0 ? ['D', 'Q'] : ['PS', 'PD'];
      const mnemonic = `${name}${indexBytes === 4 ? 'D' : 'Q'}${letters[bytes === 4 ? 0 : 1] ?? ''}`;
      const opcode = `9${kind * 2 + (indexBytes === 4 ? 0 : 1)}`;
      return row(
        `VEX 66 0F 38 ${opcode} W${bytes === 4 ? 0 : 1}`,
        mnemonic,
        // Four indices of quadwords load as many doublewords, half a vector.
        indexBytes > bytes ? 'Vxh,Xd,Hxh' : `Vx,X${bytes === 4 ? 'd' : 'q'},Hx`,
        { record: true },
        gather(indexBytes, bytes),
      );
    }),
  ),
);

// ---- halves of floating-point numbers ----

const fromHalves = vexed(
  (b) => {
    b.setField(scratchSource, b.read(1) as I64, 8);
    b.call('sseFromHalves');
    b.writeVector(0, fromScratch(b));
  },
  { reads: two, feature: f16c, raises: true },
);
/** To a register of which the rest becomes 0, or to memory of half the vector's size. */
const toHalves: Semantics = (b) => {
  beginAvx(b, f16c);
  const source = halvesOf(b, 1);
  const converted = (half: V128): I64 => {
    b.setField(scratchSource, half, 16);
    b.call('sseToHalves', immediateByte(b));
    return lane64(fromScratch(b), 0);
  };
  if (source.length === 1) {
    if (b.isMemory) b.probeWrite(b.linearAddress(8, 'write'), 8, 'operand');
    const value = b.let(converted(source[0] as V128));
    if (b.isMemory) b.write(0, value);
    else writeXmm(b, 0, v64(value, x.i64(0)));
    return;
  }
  const unmasked = (): I32 => x.ne(x.and(b.field('i32', Cpu.mxcsr), 0x1f80), 0x1f80);
  if (b.isMemory) b.probeWrite(b.linearAddress(16, 'write'), 16, 'operand');
  b.if(unmasked(), () => b.call('sseHold'));
  const low = b.let(converted(source[0] as V128));
  const value = b.let(v64(low, converted(source[1] as V128)));
  b.if(unmasked(), () => b.call('sseRelease'));
  if (b.isMemory) b.writeVector(0, value);
  else writeXmm(b, 0, value);
};

const signs = (bytes: number) => (): V128 => splatConstant(bytes, 1n << BigInt(bytes * 8 - 1));
const everything = (): V128 => splatConstant(1, 0xff);
const blend = (sse: string, form: VexForm): Semantics => vexed(sseRow(sse).semantics, form);

export const rows: RowDraft[] = [
  row('VEX NP 0F C2', 'VCMPPS', 'Vx,Hx,Wx,Ib', {}, comparePacked(4)),
  row('VEX 66 0F C2', 'VCMPPD', 'Vx,Hx,Wx,Ib', {}, comparePacked(8)),
  row('VEX F3 0F C2', 'VCMPSS', 'Vd,Hd,Wd,Ib', {}, compareScalar(4)),
  row('VEX F2 0F C2', 'VCMPSD', 'Vq,Hq,Wq,Ib', {}, compareScalar(8)),
  row('VEX NP 0F 50', 'VMOVMSKPS', 'Gd,Ux', {}, moveMask(164, 4, avx)),
  row('VEX 66 0F 50', 'VMOVMSKPD', 'Gd,Ux', {}, moveMask(196, 2, avx)),
  row('VEX 66 0F D7', 'VPMOVMSKB', 'Gd,Ux', {}, moveMask(100, 16, avx2)),
  row('VEX 66 0F 38 17', 'VPTEST', 'Vx,Wx', {}, test(everything)),
  row('VEX 66 0F 38 0E W0', 'VTESTPS', 'Vx,Wx', {}, test(signs(4))),
  row('VEX 66 0F 38 0F W0', 'VTESTPD', 'Vx,Wx', {}, test(signs(8))),
  row('VEX 66 0F 38 18 mem W0', 'VBROADCASTSS', 'Vx,Md', {}, broadcast(4, avx)),
  row('VEX 66 0F 38 18 reg W0', 'VBROADCASTSS', 'Vx,Ud', {}, broadcast(4, avx2)),
  row('VEX 66 0F 38 19 mem W0 L1', 'VBROADCASTSD', 'Vx,Mq', {}, broadcast(8, avx)),
  row('VEX 66 0F 38 19 reg W0 L1', 'VBROADCASTSD', 'Vx,Uq', {}, broadcast(8, avx2)),
  row('VEX 66 0F 38 1A W0 L1', 'VBROADCASTF128', 'Vx,Mdq', {}, broadcastHalf(avx)),
  row('VEX 66 0F 38 5A W0 L1', 'VBROADCASTI128', 'Vx,Mdq', {}, broadcastHalf(avx2)),
  row('VEX 66 0F 38 78 W0', 'VPBROADCASTB', 'Vx,Wb', {}, broadcast(1, avx2)),
  row('VEX 66 0F 38 79 W0', 'VPBROADCASTW', 'Vx,Ww', {}, broadcast(2, avx2)),
  row('VEX 66 0F 38 58 W0', 'VPBROADCASTD', 'Vx,Wd', {}, broadcast(4, avx2)),
  row('VEX 66 0F 38 59 W0', 'VPBROADCASTQ', 'Vx,Wq', {}, broadcast(8, avx2)),
  row('VEX 66 0F 3A 19 W0 L1', 'VEXTRACTF128', 'Wdq,Vx,Ib', {}, extractHalf(avx)),
  row('VEX 66 0F 3A 39 W0 L1', 'VEXTRACTI128', 'Wdq,Vx,Ib', {}, extractHalf(avx2)),
  row('VEX 66 0F 3A 18 W0 L1', 'VINSERTF128', 'Vx,Hx,Wdq,Ib', {}, insertHalf(avx)),
  row('VEX 66 0F 3A 38 W0 L1', 'VINSERTI128', 'Vx,Hx,Wdq,Ib', {}, insertHalf(avx2)),
  row('VEX 66 0F 3A 06 W0 L1', 'VPERM2F128', 'Vx,Hx,Wx,Ib', {}, permuteHalves(avx)),
  row('VEX 66 0F 3A 46 W0 L1', 'VPERM2I128', 'Vx,Hx,Wx,Ib', {}, permuteHalves(avx2)),
  row('VEX 66 0F 3A 00 W1 L1', 'VPERMQ', 'Vx,Wx,Ib', {}, permuteQuadwords),
  row('VEX 66 0F 3A 01 W1 L1', 'VPERMPD', 'Vx,Wx,Ib', {}, permuteQuadwords),
  row('VEX 66 0F 38 36 W0 L1', 'VPERMD', 'Vx,Hx,Wx', {}, permuteDoublewords),
  row('VEX 66 0F 38 16 W0 L1', 'VPERMPS', 'Vx,Hx,Wx', {}, permuteDoublewords),
  row('VEX 66 0F 38 0C W0', 'VPERMILPS', 'Vx,Hx,Wx', {}, permuteSingles),
  row('VEX 66 0F 38 0D W0', 'VPERMILPD', 'Vx,Hx,Wx', {}, permuteDoubles),
  row(
    'VEX 66 0F 3A 04 W0',
    'VPERMILPS',
    'Vx,Wx,Ib',
    {},
    blend('66 0F 70 Vx,Wx,Ib', { reads: two, feature: avx }),
  ),
  row('VEX 66 0F 3A 05 W0', 'VPERMILPD', 'Vx,Wx,Ib', {}, permuteDoublesImmediate),
  ...duplicateDoubles,
  row(
    'VEX 66 0F 3A 02 W0',
    'VPBLENDD',
    'Vx,Hx,Wx,Ib',
    {},
    blend('66 0F 3A 0C Vx,Wx,Ib', { reads: three, feature: avx2, immediateShift: 4 }),
  ),
  row(
    'VEX 66 0F 3A 4A W0',
    'VBLENDVPS',
    'Vx,Hx,Wx,Lx',
    {},
    blend('66 0F 38 14 Vx,Wx', { reads: three, feature: avx }),
  ),
  row(
    'VEX 66 0F 3A 4B W0',
    'VBLENDVPD',
    'Vx,Hx,Wx,Lx',
    {},
    blend('66 0F 38 15 Vx,Wx', { reads: three, feature: avx }),
  ),
  row(
    'VEX 66 0F 3A 4C W0',
    'VPBLENDVB',
    'Vx,Hx,Wx,Lx',
    {},
    blend('66 0F 38 10 Vx,Wx', { reads: three, feature: avx, feature256: avx2 }),
  ),
  row('VEX 66 0F 38 45 W0', 'VPSRLVD', 'Vx,Hx,Wx', {}, shiftByLane(4, x.shrU as never, false)),
  row('VEX 66 0F 38 45 W1', 'VPSRLVQ', 'Vx,Hx,Wx', {}, shiftByLane(8, x.shrU as never, false)),
  row('VEX 66 0F 38 46 W0', 'VPSRAVD', 'Vx,Hx,Wx', {}, shiftByLane(4, x.shrS as never, true)),
  row('VEX 66 0F 38 47 W0', 'VPSLLVD', 'Vx,Hx,Wx', {}, shiftByLane(4, x.shl as never, false)),
  row('VEX 66 0F 38 47 W1', 'VPSLLVQ', 'Vx,Hx,Wx', {}, shiftByLane(8, x.shl as never, false)),
  row('VEX 66 0F 38 2C W0', 'VMASKMOVPS', 'Vx,Hx,Mx', { record: true }, maskedLoad(4, avx)),
  row('VEX 66 0F 38 2D W0', 'VMASKMOVPD', 'Vx,Hx,Mx', { record: true }, maskedLoad(8, avx)),
  row('VEX 66 0F 38 2E W0', 'VMASKMOVPS', 'Mx,Hx,Vx', { record: true }, maskedStore(4, avx)),
  row('VEX 66 0F 38 2F W0', 'VMASKMOVPD', 'Mx,Hx,Vx', { record: true }, maskedStore(8, avx)),
  row('VEX 66 0F 38 8C W0', 'VPMASKMOVD', 'Vx,Hx,Mx', { record: true }, maskedLoad(4, avx2)),
  row('VEX 66 0F 38 8C W1', 'VPMASKMOVQ', 'Vx,Hx,Mx', { record: true }, maskedLoad(8, avx2)),
  row('VEX 66 0F 38 8E W0', 'VPMASKMOVD', 'Mx,Hx,Vx', { record: true }, maskedStore(4, avx2)),
  row('VEX 66 0F 38 8E W1', 'VPMASKMOVQ', 'Mx,Hx,Vx', { record: true }, maskedStore(8, avx2)),
  ...gathers,
  row('VEX 66 0F 38 13 W0', 'VCVTPH2PS', 'Vx,Wxh', {}, fromHalves),
  row('VEX 66 0F 3A 1D W0', 'VCVTPS2PH', 'Wxh,Vx,Ib', {}, toHalves),
  row('VEX NP 0F 77 L0', 'VZEROUPPER', '', {}, (b) => {
    beginAvx(b, avx);
    b.clearVectors(false);
  }),
  row('VEX NP 0F 77 L1', 'VZEROALL', '', {}, (b) => {
    beginAvx(b, avx);
    b.clearVectors(true);
  }),
];
