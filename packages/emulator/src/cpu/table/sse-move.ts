/** MMX and SSE data movement, insertion and extraction, MXCSR and state images. SDM Vol. 1, 9-12; Vol. 2. */
import * as x from '../../wasm/expr.ts';
import type { I32, I64, Int } from '../../wasm/expr.ts';
import type { InstructionBuilder } from '../builder.ts';
import { Cpu, CpuFeature } from '../layout.ts';
import { requireFeature } from './integer-move.ts';
import { row } from './row.ts';
import type { RowDraft, RowOptions, Semantics } from './row.ts';
import {
  beginMmx,
  beginSse,
  enterMmx,
  immediateByte,
  shuffle,
  splat64,
  v64,
  writeMmx,
} from './simd-common.ts';

const { sse, sse2, sse3, sse41 } = CpuFeature;
const alignedOption: RowOptions = { aligned: true };

const moveVector =
  (feature: number): Semantics =>
  (b) => {
    beginSse(b, feature);
    b.writeVector(0, b.readVector(1));
  };

/** Load and store forms of a 16-byte move. */
function vectorMoves(
  name: string,
  feature: number,
  o: { load: string; store: string; aligned: boolean },
): RowDraft[] {
  const options = o.aligned ? alignedOption : {};
  return [
    row(o.load, name, 'Vx,Wx', options, moveVector(feature)),
    row(o.store, name, 'Wx,Vx', options, moveVector(feature)),
  ];
}

const storeOnly = (opcode: string, name: string, feature: number): RowDraft =>
  row(opcode, name, 'Mx,Vx', alignedOption, moveVector(feature));

/** Load of 8 bytes into one half; the other stays. */
const loadHalf =
  (feature: number, upper: boolean): Semantics =>
  (b) => {
    beginSse(b, feature);
    b.writeLane(0, 8, upper ? 1 : 0, b.read(1));
  };
const storeHalf =
  (feature: number, upper: boolean): Semantics =>
  (b) => {
    beginSse(b, feature);
    b.write(0, b.readLane(1, 8, upper ? 1 : 0));
  };
/** MOVHLPS (upper to lower) and MOVLHPS (lower to upper). */
const moveHalf =
  (fromUpper: boolean): Semantics =>
  (b) => {
    beginSse(b, sse);
    b.writeLane(0, 8, fromUpper ? 0 : 1, b.readLane(1, 8, fromUpper ? 1 : 0));
  };

/** Scalar load from memory (the rest becomes 0) or from a register (the rest stays). */
const loadScalar =
  (feature: number, bytes: 4 | 8): Semantics =>
  (b) => {
    beginSse(b, feature);
    const value = b.read(1);
    if (b.isMemory) b.writeVectorRegister(0, v64(b.unsigned64(value), x.i64(0)));
    else b.writeLane(0, bytes, 0, value);
  };
const storeScalar =
  (feature: number, bytes: 4 | 8): Semantics =>
  (b) => {
    beginSse(b, feature);
    const value = b.read(1);
    if (b.isMemory) b.write(0, value);
    else b.writeLane(0, bytes, 0, value);
  };

/** A value into the low lane, the rest becomes 0. */
const loadZeroExtended =
  (feature: number): Semantics =>
  (b) => {
    beginSse(b, feature);
    const value = b.unsigned64(b.read(1));
    b.writeVectorRegister(0, v64(value, x.i64(0)));
  };

const lowOfRegister = (b: InstructionBuilder, index: number, bytes: number): Int =>
  (bytes === 8
    ? b.let(x.load('i64', 8, b.registerAddress(index)))
    : b.let(x.load('i32', 4, b.registerAddress(index)))) as Int;

/** MOVD and MOVQ to a general register or memory. */
const storeLow: Semantics = (b) => {
  beginSse(b, sse2);
  b.write(0, b.readLane(1, b.size === 8 ? 8 : 4, 0));
};
const loadMmx: Semantics = (b) => {
  beginMmx(b);
  const value = b.unsigned64(b.let(b.read(1) as I64) as Int);
  enterMmx(b);
  writeMmx(b, 0, value);
};
const storeMmxLow: Semantics = (b) => {
  beginMmx(b);
  b.write(0, lowOfRegister(b, 1, b.size));
  enterMmx(b);
};

const duplicate = (opcode: string, name: string, lanes: readonly number[]): RowDraft =>
  row(opcode, name, 'Vx,Wx', alignedOption, (b) => {
    beginSse(b, sse3);
    const c = b.readVector(1);
    b.writeVector(0, shuffle(c, c, lanes));
  });

const moves: RowDraft[] = [
  ...vectorMoves('MOVUPS', sse, { load: 'NP 0F 10', store: 'NP 0F 11', aligned: false }),
  ...vectorMoves('MOVUPD', sse2, { load: '66 0F 10', store: '66 0F 11', aligned: false }),
  ...vectorMoves('MOVAPS', sse, { load: 'NP 0F 28', store: 'NP 0F 29', aligned: true }),
  ...vectorMoves('MOVAPD', sse2, { load: '66 0F 28', store: '66 0F 29', aligned: true }),
  ...vectorMoves('MOVDQA', sse2, { load: '66 0F 6F', store: '66 0F 7F', aligned: true }),
  ...vectorMoves('MOVDQU', sse2, { load: 'F3 0F 6F', store: 'F3 0F 7F', aligned: false }),
  row('F2 0F F0', 'LDDQU', 'Vx,Mx', {}, moveVector(sse3)),
  row('66 0F 38 2A', 'MOVNTDQA', 'Vx,Mx', alignedOption, moveVector(sse41)),
  storeOnly('NP 0F 2B', 'MOVNTPS', sse),
  storeOnly('66 0F 2B', 'MOVNTPD', sse2),
  storeOnly('66 0F E7', 'MOVNTDQ', sse2),
  row('F3 0F 10', 'MOVSS', 'Vd,Wd', {}, loadScalar(sse, 4)),
  row('F3 0F 11', 'MOVSS', 'Wd,Vd', {}, storeScalar(sse, 4)),
  row('F2 0F 10', 'MOVSD', 'Vq,Wq', {}, loadScalar(sse2, 8)),
  row('F2 0F 11', 'MOVSD', 'Wq,Vq', {}, storeScalar(sse2, 8)),
  row('NP 0F 12', 'MOVLPS', 'Vq,Mq', {}, loadHalf(sse, false)),
  row('NP 0F 13', 'MOVLPS', 'Mq,Vq', {}, storeHalf(sse, false)),
  row('NP 0F 16', 'MOVHPS', 'Vq,Mq', {}, loadHalf(sse, true)),
  row('NP 0F 17', 'MOVHPS', 'Mq,Vq', {}, storeHalf(sse, true)),
  row('66 0F 12', 'MOVLPD', 'Vq,Mq', {}, loadHalf(sse2, false)),
  row('66 0F 13', 'MOVLPD', 'Mq,Vq', {}, storeHalf(sse2, false)),
  row('66 0F 16', 'MOVHPD', 'Vq,Mq', {}, loadHalf(sse2, true)),
  row('66 0F 17', 'MOVHPD', 'Mq,Vq', {}, storeHalf(sse2, true)),
  row('NP 0F 12', 'MOVHLPS', 'Vq,Uq', {}, moveHalf(true)),
  row('NP 0F 16', 'MOVLHPS', 'Vq,Uq', {}, moveHalf(false)),
  duplicate('F3 0F 12', 'MOVSLDUP', [0, 1, 2, 3, 0, 1, 2, 3, 8, 9, 10, 11, 8, 9, 10, 11]),
  duplicate('F3 0F 16', 'MOVSHDUP', [4, 5, 6, 7, 4, 5, 6, 7, 12, 13, 14, 15, 12, 13, 14, 15]),
  row('F2 0F 12', 'MOVDDUP', 'Vx,Wq', {}, (b) => {
    beginSse(b, sse3);
    b.writeVectorRegister(0, splat64(b.read(1) as I64));
  }),
  row('66 0F 6E', 'MOVD', 'Vx,Ey', { sizes: [4, 8] }, loadZeroExtended(sse2)),
  row('66 0F 7E', 'MOVD', 'Ey,Vx', { sizes: [4, 8] }, storeLow),
  row('NP 0F 6E', 'MOVD', 'Pq,Ey', { sizes: [4, 8] }, loadMmx),
  row('NP 0F 7E', 'MOVD', 'Ey,Pq', { sizes: [4, 8] }, storeMmxLow),
  row('F3 0F 7E', 'MOVQ', 'Vx,Wq', {}, loadZeroExtended(sse2)),
  row('66 0F D6', 'MOVQ', 'Wq,Vq', {}, (b) => {
    beginSse(b, sse2);
    const value = b.read(1) as I64;
    if (b.isMemory) b.write(0, value);
    else b.writeVectorRegister(0, v64(value, x.i64(0)));
  }),
  row('NP 0F 6F', 'MOVQ', 'Pq,Qq', {}, loadMmx),
  row('NP 0F 7F', 'MOVQ', 'Qq,Pq', {}, (b) => {
    beginMmx(b);
    const value = b.let(b.read(1) as I64);
    if (b.isMemory) b.write(0, value);
    enterMmx(b);
    if (!b.isMemory) writeMmx(b, 0, value);
  }),
  row('NP 0F E7', 'MOVNTQ', 'Mq,Pq', {}, (b) => {
    beginMmx(b, sse);
    b.write(0, b.read(1));
    enterMmx(b);
  }),
  row('F3 0F D6', 'MOVQ2DQ', 'Vx,Nq', {}, (b) => {
    beginMmx(b, sse2);
    const value = b.let(b.read(1) as I64);
    enterMmx(b);
    b.writeVectorRegister(0, v64(value, x.i64(0)));
  }),
  row('F2 0F D6', 'MOVDQ2Q', 'Pq,Uq', {}, (b) => {
    beginMmx(b, sse2);
    const value = b.let(b.read(1) as I64);
    enterMmx(b);
    writeMmx(b, 0, value);
  }),
  row('NP 0F C3', 'MOVNTI', 'My,Gy', { sizes: [4, 8] }, (b) => {
    b.if(x.eqz(x.and(x.wrap(b.field('i64', Cpu.features, 8)), x.i32(sse2))), () => b.raise('ud'));
    b.write(0, b.read(1));
  }),
];

// ---- insertion and extraction ----

/** Address of lane `lane` (masked) of an XMM or MMX register operand. */
function laneAddress(b: InstructionBuilder, index: number, bytes: number, registerBytes: number): I32 {
  const lane = x.and(immediateByte(b), registerBytes / bytes - 1);
  return b.let(x.add(b.registerAddress(index), x.mul(lane, bytes)));
}

/** i8x16, i16x8, i32x4 and i64x2 extract_lane (unsigned) and replace_lane. */
const laneOpcodes = { 1: [22, 23], 2: [25, 26], 4: [27, 28], 8: [29, 30] } as const;

/** The lane that the immediate chooses. */
function chosenLane(b: InstructionBuilder, index: number, bytes: 1 | 2 | 4 | 8): Int {
  const lane = b.immediate().constant;
  const type = bytes === 8 ? 'i64' : 'i32';
  const value =
    lane === undefined
      ? x.load(type, bytes, laneAddress(b, index, bytes, 16))
      : x.simd(type, laneOpcodes[bytes][0], [b.readVectorRegister(index)], [Number(lane) & (16 / bytes - 1)]);
  return b.let(value as I32) as Int;
}
function setChosenLane(b: InstructionBuilder, index: number, bytes: 1 | 2 | 4 | 8, value: Int): void {
  const lane = b.immediate().constant;
  if (lane === undefined) {
    b.code.store(bytes, laneAddress(b, index, bytes, 16), value);
    return;
  }
  const lanes = [Number(lane) & (16 / bytes - 1)];
  b.writeVectorRegister(
    index,
    x.simd('v128', laneOpcodes[bytes][1], [b.readVectorRegister(index), value], lanes),
  );
}

const extract =
  (bytes: 1 | 2 | 4 | 8): Semantics =>
  (b) => {
    beginSse(b, sse41);
    const value = chosenLane(b, 1, bytes);
    if (b.isMemory || bytes >= 4) b.write(0, value);
    else b.code.store(8, b.registerAddress(0), x.extendU(value as I32));
  };
const insert =
  (feature: number, bytes: 1 | 2 | 4 | 8): Semantics =>
  (b) => {
    beginSse(b, feature);
    setChosenLane(b, 0, bytes, b.read(1));
  };
/** PEXTRW to a general register. */
const extractWord: Semantics = (b) => {
  beginSse(b, sse2);
  const value = chosenLane(b, 1, 2) as I32;
  b.write(0, b.size === 8 ? x.extendU(value) : value);
};

const insertSingle: Semantics = (b) => {
  beginSse(b, sse41);
  const imm = immediateByte(b);
  const value = b.isMemory
    ? (b.read(1) as I32)
    : b.let(x.load('i32', 4, x.add(b.registerAddress(1), x.shl(x.and(x.shrU(imm, 6), 3), 2))));
  const target = b.let(b.registerAddress(0));
  b.code.store(4, x.add(target, x.shl(x.and(x.shrU(imm, 4), 3), 2)), value);
  for (let lane = 0; lane < 4; lane++) {
    b.if(x.and(imm, 1 << lane), () => b.code.store(4, target, x.i32(0), lane * 4));
  }
};

const insertions: RowDraft[] = [
  row('66 0F 3A 14 mem', 'PEXTRB', 'Mb,Vx,Ib', {}, extract(1)),
  row('66 0F 3A 14 reg', 'PEXTRB', 'Rd,Vx,Ib', {}, extract(1)),
  row('66 0F 3A 15', 'PEXTRW', 'Ew,Vx,Ib', {}, extract(2)),
  row('66 0F 3A 16 W0', 'PEXTRD', 'Ed,Vx,Ib', {}, extract(4)),
  row('66 0F 3A 16 W1', 'PEXTRQ', 'Eq,Vx,Ib', {}, extract(8)),
  row('66 0F 3A 17', 'EXTRACTPS', 'Ed,Vx,Ib', {}, extract(4)),
  row('66 0F 3A 20 mem', 'PINSRB', 'Vx,Mb,Ib', {}, insert(sse41, 1)),
  row('66 0F 3A 20 reg', 'PINSRB', 'Vx,Rd,Ib', {}, insert(sse41, 1)),
  row('66 0F 3A 21', 'INSERTPS', 'Vx,Wd,Ib', {}, insertSingle),
  row('66 0F 3A 22 W0', 'PINSRD', 'Vx,Ed,Ib', {}, insert(sse41, 4)),
  row('66 0F 3A 22 W1', 'PINSRQ', 'Vx,Eq,Ib', {}, insert(sse41, 8)),
  row('66 0F C4', 'PINSRW', 'Vx,Ew,Ib', {}, insert(sse2, 2)),
  row('66 0F C5', 'PEXTRW', 'Gy,Ux,Ib', { sizes: [4, 8] }, extractWord),
  row('NP 0F C4', 'PINSRW', 'Pq,Ew,Ib', {}, (b) => {
    beginMmx(b, sse);
    const value = b.read(1);
    enterMmx(b);
    b.code.store(2, laneAddress(b, 0, 2, 8), value);
    b.code.store(8, b.registerAddress(0), x.i64(0xffff), 8);
  }),
  row('NP 0F C5', 'PEXTRW', 'Gy,Nq,Ib', { sizes: [4, 8] }, (b) => {
    beginMmx(b, sse);
    const value = b.let(x.load('i32', 2, laneAddress(b, 1, 2, 8)));
    enterMmx(b);
    b.write(0, b.size === 8 ? x.extendU(value) : value);
  }),
];

// ---- masked moves, control, state ----

/** Bytes of `value` with the sign of the mask byte set go to DS:(E/R)DI. */
function maskedMove(b: InstructionBuilder, bytes: 8 | 16): void {
  const la = b.let(b.implicitAddress(b.gpr(7, 8) as I64, bytes, 'write'));
  const value = b.let(b.registerAddress(0));
  const mask = b.let(b.registerAddress(1));
  b.call('maskedMove', la, value, mask, x.i32(bytes));
}

const state: RowDraft[] = [
  row('66 0F F7', 'MASKMOVDQU', 'Vx,Ux', {}, (b) => {
    beginSse(b, sse2);
    maskedMove(b, 16);
  }),
  row('NP 0F F7', 'MASKMOVQ', 'Pq,Nq', {}, (b) => {
    beginMmx(b, sse);
    enterMmx(b);
    maskedMove(b, 8);
  }),
  row('NP 0F 77', 'EMMS', '', {}, (b) => {
    beginMmx(b);
    b.setField(Cpu.fsw, x.and(b.field('i32', Cpu.fsw), ~0x3800));
    b.setField(Cpu.ftags, x.i64(0x0101_0101_0101_0101n));
  }),
  row('NP 0F AE /2 mem', 'LDMXCSR', 'Md', {}, (b) => {
    beginSse(b, sse);
    const value = b.let(b.read(0) as I32);
    // Bits that can be set: flags, DAZ, masks, rounding, FTZ (MXCSR_MASK of FXSAVE).
    b.if(x.and(value, ~0xffff), () => b.raiseError('gp', 0));
    b.setField(Cpu.mxcsr, value);
  }),
  row('NP 0F AE /3 mem', 'STMXCSR', 'Md', {}, (b) => {
    beginSse(b, sse);
    b.write(0, b.field('i32', Cpu.mxcsr));
  }),
  ...(['FXSAVE', 'FXRSTOR'] as const).map((name, n) =>
    row(`NP 0F AE /${n} mem`, name, 'M', { sizes: [2, 4, 8] }, (b) => {
      const la = b.linearAddress(512, n === 0 ? 'write' : 'read');
      b.call(n === 0 ? 'fxsave' : 'fxrstor', la, x.i32(b.size));
    }),
  ),
  row('NP 0F AE /4 mem', 'XSAVE', 'M', { sizes: [2, 4, 8] }, (b) => {
    b.call('xsave', b.linearAddress(576, 'write'), x.i32(b.size), x.i32(0));
  }),
  row('NP 0F AE /5 mem', 'XRSTOR', 'M', { sizes: [2, 4, 8] }, (b) => {
    b.call('xrstor', b.linearAddress(576, 'read'), x.i32(b.size));
  }),
  row('NP 0F AE /6 mem', 'XSAVEOPT', 'M', { sizes: [2, 4, 8] }, (b) => {
    requireFeature(b, CpuFeature.xsaveopt);
    b.call('xsave', b.linearAddress(576, 'write'), x.i32(b.size), x.i32(1));
  }),
  row('NP 0F C7 /4 mem', 'XSAVEC', 'M', { sizes: [2, 4, 8] }, (b) => {
    requireFeature(b, CpuFeature.xsavec);
    b.call('xsavec', b.linearAddress(576, 'write'), x.i32(b.size));
  }),
];

export const rows: RowDraft[] = [...moves, ...insertions, ...state];
