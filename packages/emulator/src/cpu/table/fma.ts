/** FMA: a product and a sum with one rounding, in core/sse/sse-fused.ts. SDM Vol. 2, VFMADD and so on; Vol. 1, 14.5. */
import * as x from '../../wasm/expr.ts';
import { Cpu, CpuFeature } from '../layout.ts';
import type { InstructionBuilder } from '../builder.ts';
import { hexOpcode, row } from './row.ts';
import type { RowDraft, Semantics } from './row.ts';
import { lane64 } from './simd-common.ts';
import { fromScratch, scratchSource } from './sse-float.ts';
import type { Bytes } from './sse-float.ts';
import { vexed } from './vex-view.ts';

const { fma } = CpuFeature;
/** In Cpu.scratch, beside those of SSE. */
const scratchThird = Cpu.scratch + 48;

/** The three orders: 132 multiplies the first and third operand, 213 the second and first, 231 the second and third. */
const orders = [
  ['132', 0x90, 0],
  ['213', 0xa0, 1],
  ['231', 0xb0, 2],
] as const;
/** Bits of `control` of sseMultiplyAdd. */
const negateProduct = 4;
const negateAddend = 8;
const alternates = 16;
const kinds = [
  ['VFMADDSUB', 6, alternates],
  ['VFMSUBADD', 7, alternates | negateAddend],
  ['VFMADD', 8, 0],
  ['VFMSUB', 10, negateAddend],
  ['VFNMADD', 12, negateProduct],
  ['VFNMSUB', 14, negateProduct | negateAddend],
] as const;

const packed = (control: number, bytes: Bytes): Semantics =>
  vexed(
    (b) => {
      const third = b.readVector(2);
      b.setField(Cpu.scratch, b.readVectorRegister(0), 16);
      b.setField(scratchSource, b.readVectorRegister(1), 16);
      b.setField(scratchThird, third, 16);
      b.call('sseMultiplyAdd', x.i32(control), x.i32(bytes), x.i32(16 / bytes));
      b.writeVector(0, fromScratch(b));
    },
    { reads: [], feature: fma, raises: true },
  );
const scalar = (control: number, bytes: Bytes): Semantics =>
  vexed(
    (b: InstructionBuilder) => {
      const third = b.read(2);
      b.setField(Cpu.scratch, b.readLane(0, bytes, 0), bytes);
      b.setField(scratchSource, b.readLane(1, bytes, 0), bytes);
      b.setField(scratchThird, third, bytes);
      b.call('sseMultiplyAdd', x.i32(control), x.i32(bytes), x.i32(1));
      const result = fromScratch(b);
      b.writeLane(0, bytes, 0, bytes === 4 ? x.simd('i32', 27, [result], [0]) : lane64(result, 0));
    },
    { reads: [], feature: fma },
  );

export const rows: RowDraft[] = orders.flatMap(([order, base, orderBits]) =>
  kinds.flatMap(([name, digit, signs]) => {
    const control = orderBits | signs;
    const opcode = (offset: number): string => `VEX 66 0F 38 ${hexOpcode(base + digit + offset)}`;
    const whole = [
      row(`${opcode(0)} W0`, `${name}${order}PS`, 'Vx,Hx,Wx', {}, packed(control, 4)),
      row(`${opcode(0)} W1`, `${name}${order}PD`, 'Vx,Hx,Wx', {}, packed(control, 8)),
    ];
    if ((signs & alternates) !== 0) return whole;
    return [
      ...whole,
      row(`${opcode(1)} W0`, `${name}${order}SS`, 'Vd,Hd,Wd', {}, scalar(control, 4)),
      row(`${opcode(1)} W1`, `${name}${order}SD`, 'Vq,Hq,Wq', {}, scalar(control, 8)),
    ];
  }),
);
