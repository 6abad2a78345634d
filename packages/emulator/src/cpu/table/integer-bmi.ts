/** BMI1, BMI2, ADX, LZCNT and TZCNT: bits and multi-word arithmetic in general registers. SDM Vol. 2. */
import * as x from '../../wasm/expr.ts';
import type { Expr, I32, I64, Int } from '../../wasm/expr.ts';
import type { InstructionBuilder } from '../builder.ts';
import { Cpu, CpuFeature, Flag, FpuTrap } from '../layout.ts';
import { scan } from './integer-bit.ts';
import { requireFeature } from './integer-move.ts';
import { row } from './row.ts';
import type { RowDraft, Semantics } from './row.ts';

type Both = Expr<'i32' | 'i64'>;
const bind = (b: InstructionBuilder, value: Int): Int => b.let(value as Both) as Int;
const bits = (b: InstructionBuilder): number => b.size * 8;
const hasFeature = (b: InstructionBuilder, feature: number): I32 =>
  x.ne(x.and(b.field('i64', Cpu.features, 8), x.i64(BigInt(feature))), 0);

/** Semantics behind a VEX prefix without vector registers: there is none outside of protected mode. */
const vex =
  (feature: number, semantics: Semantics): Semantics =>
  (b) => {
    b.guard(
      `vex ${feature}`,
      () => x.or(x.and(b.field('i32', Cpu.fpuTrap), FpuTrap.vexUndefined), x.eqz(hasFeature(b, feature))),
      () => b.raise('ud'),
    );
    semantics(b);
  };
const { bmi1, bmi2 } = CpuFeature;

const zeroCarry = (): I32 => x.i32(0);

const andNot: Semantics = (b) => {
  const inverted = b.read(1);
  const result = bind(b, x.and(x.xor(inverted as Both, -1), b.read(2) as Both) as Int);
  b.write(0, result);
  b.flags.logic(result);
};

/** BLSR, BLSMSK, BLSI: from the source and the source minus 1. CF tells whether the source is 0 (BLSI: is not). */
const lowestBit =
  (change: (source: Both, before: Both) => Both, carry: (source: Int) => I32): Semantics =>
  (b) => {
    const source = b.read(1);
    const result = bind(b, change(source as Both, x.sub(source as Both, 1)) as Int);
    b.write(0, result);
    b.flags.result(result, b.size, b.let(carry(source)), zeroCarry());
  };
const isZero = (source: Int): I32 => x.eqz(source);
const reset = lowestBit((s, before) => x.and(s, before), isZero);
const mask = lowestBit((s, before) => x.xor(s, before), isZero);
const isolate = lowestBit(
  (s, before) => x.and(s, x.xor(before, -1)),
  (s) => x.ne(s, 0),
);

/** A count held in a byte of a register operand, as wide as the operation. */
const byteOf = (b: InstructionBuilder, value: Int, at: number): Int =>
  bind(b, x.and(x.shrU(value as Both, at), 0xff) as Int);
/** The lowest `count` bits set; all of them when there are fewer. */
function lowBits(b: InstructionBuilder, count: Int): Both {
  const some = x.sub(x.shl(x.constant(b.type, 1) as Both, count), 1);
  return x.select(x.geU(count, bits(b)), x.constant(b.type, -1) as Both, some);
}

/** BEXTR: bits 0-7 of the second source say where, bits 8-15 how many. */
const extract: Semantics = (b) => {
  const source = b.read(1);
  const control = b.read(2);
  const start = byteOf(b, control, 0);
  const shifted = x.shrU(source as Both, start);
  const from = x.select(x.geU(start, bits(b)), x.constant(b.type, 0) as Both, shifted);
  const result = bind(b, x.and(from, lowBits(b, byteOf(b, control, 8))) as Int);
  b.write(0, result);
  b.flags.logic(result);
};

const zeroHigh: Semantics = (b) => {
  const source = b.read(1);
  const count = byteOf(b, b.read(2), 0);
  const result = bind(b, x.and(source as Both, lowBits(b, count)) as Int);
  b.write(0, result);
  b.flags.result(result, b.size, b.let(x.geU(count, bits(b))), zeroCarry());
};

const rdx = 2;
/** MULX: the lower half is written first, so that the upper one stays when both go to one register. */
const multiply: Semantics = (b) => {
  const source = b.read(2);
  const factor = b.gpr(rdx, b.size);
  if (b.size === 8) {
    const high = b.callValue('i64', 'multiplyHigh', factor, source);
    b.write(1, b.let(x.mul(factor as I64, source)));
    b.write(0, high);
    return;
  }
  const product = b.let(x.mul(x.extendU(factor as I32), x.extendU(source as I32)));
  b.write(1, x.wrap(product));
  b.write(0, x.wrap(x.shrU(product, 32)));
};

/** PDEP and PEXT. */
const scatter =
  (name: 'depositBits' | 'extractBits'): Semantics =>
  (b) => {
    const source = b.unsigned64(b.read(1));
    const chosen = b.unsigned64(b.read(2));
    b.write(0, b.narrow(b.callValue('i64', name, source, chosen), b.size));
  };

/** RORX, SARX, SHLX, SHRX: WebAssembly cuts the count as the processor does. */
const shift =
  (operation: (value: Both, count: Both) => Both): Semantics =>
  (b) => {
    const value = b.read(1);
    b.write(0, operation(value as Both, b.read(2) as Both) as Int);
  };
const rotate: Semantics = (b) => {
  b.write(0, x.rotr(b.read(1) as Both, b.narrow(b.immediate(), b.size)) as Int);
};

/** ADCX by CF, ADOX by OF; the other flags stay. */
const addWith =
  (flag: 'carry' | 'overflow'): Semantics =>
  (b) => {
    requireFeature(b, CpuFeature.adx);
    const c = b.read(1);
    const a = b.read(0);
    const carry = b.let(flag === 'carry' ? b.flags.carry() : b.flags.overflow());
    const partial = bind(b, x.add(a as Both, c) as Int);
    const wide = (b.size === 8 ? x.extendU(carry) : carry) as Both;
    const result = bind(b, x.add(partial as Both, wide) as Int);
    const out = b.let(x.or(x.ltU(partial, a), x.ltU(result, partial)));
    b.write(0, result);
    const bit = flag === 'carry' ? Flag.cf : Flag.of;
    const shifted = flag === 'carry' ? out : x.shl(out, 11);
    b.setFlagAux(x.or(x.and(b.getFlagAux(), ~bit), shifted));
  };

/** LZCNT and TZCNT; on a processor without them the prefix means nothing: BSR and BSF. */
const count =
  (feature: number, leading: boolean): Semantics =>
  (b) => {
    const source = b.read(1);
    b.if(
      hasFeature(b, feature),
      () => {
        let zeros: Both;
        if (leading) zeros = x.sub(x.clz(source as Both), b.size === 2 ? 16 : 0);
        else zeros = x.ctz(b.size === 2 ? x.or(source as I32, 0x1_0000) : (source as Both));
        const result = bind(b, zeros as Int);
        b.write(0, result);
        b.flags.result(result, b.size, b.let(x.eqz(source)), zeroCarry());
      },
      () => {
        scan(b, !leading, source);
      },
    );
  };

const of = (
  opcode: string,
  name: string,
  operands: string,
  feature: number,
  semantics: Semantics,
): RowDraft => row(`VEX ${opcode} L0`, name, operands, {}, vex(feature, semantics));

export const rows: RowDraft[] = [
  row('F3 0F BC', 'TZCNT', 'Gv,Ev', {}, count(bmi1, false)),
  row('F3 0F BD', 'LZCNT', 'Gv,Ev', {}, count(CpuFeature.lzcnt, true)),
  row('66 0F 38 F6', 'ADCX', 'Gy,Ey', { sizes: [4, 8] }, addWith('carry')),
  row('F3 0F 38 F6', 'ADOX', 'Gy,Ey', { sizes: [4, 8] }, addWith('overflow')),
  of('NP 0F 38 F2', 'ANDN', 'Gy,By,Ey', bmi1, andNot),
  of('NP 0F 38 F3 /1', 'BLSR', 'By,Ey', bmi1, reset),
  of('NP 0F 38 F3 /2', 'BLSMSK', 'By,Ey', bmi1, mask),
  of('NP 0F 38 F3 /3', 'BLSI', 'By,Ey', bmi1, isolate),
  of('NP 0F 38 F7', 'BEXTR', 'Gy,Ey,By', bmi1, extract),
  of('NP 0F 38 F5', 'BZHI', 'Gy,Ey,By', bmi2, zeroHigh),
  of('F2 0F 38 F6', 'MULX', 'Gy,By,Ey', bmi2, multiply),
  of('F2 0F 38 F5', 'PDEP', 'Gy,By,Ey', bmi2, scatter('depositBits')),
  of('F3 0F 38 F5', 'PEXT', 'Gy,By,Ey', bmi2, scatter('extractBits')),
  of('F2 0F 3A F0', 'RORX', 'Gy,Ey,Ib', bmi2, rotate),
  of('66 0F 38 F7', 'SHLX', 'Gy,Ey,By', bmi2, shift(x.shl)),
  of('F2 0F 38 F7', 'SHRX', 'Gy,Ey,By', bmi2, shift(x.shrU)),
  of('F3 0F 38 F7', 'SARX', 'Gy,Ey,By', bmi2, shift(x.shrS)),
];
