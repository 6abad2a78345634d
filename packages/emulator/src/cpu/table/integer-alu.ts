/** Two-operand arithmetic and logic, INC, DEC, NEG, NOT, TEST. SDM Vol. 2; flags of SDM Vol. 1 appendix A. */
import * as x from '../../wasm/expr.ts';
import type { Expr, Int } from '../../wasm/expr.ts';
import type { InstructionBuilder } from '../builder.ts';
import { hexOpcode, row } from './row.ts';
import type { RowDraft, Semantics } from './row.ts';

type Both = Expr<'i32' | 'i64'>;

/** What the operation does with bound operands: the bound result, flags set by a second step (after the write). */
type Operation = (b: InstructionBuilder, a: Int, c: Int) => { r: Int; flags: () => void };

const bind = (b: InstructionBuilder, value: Int): Int => b.let(value as Both) as Int;

function carryIn(b: InstructionBuilder): { narrow: x.I32; wide: Int } {
  const narrow = b.let(b.flags.carry());
  return { narrow, wide: b.size === 8 ? x.extendU(narrow) : narrow };
}

const add: Operation = (b, a, c) => {
  const r = bind(b, b.cut(x.add(a as Both, c) as Int, b.size));
  return { r, flags: () => b.flags.add(a, c, r) };
};
const adc: Operation = (b, a, c) => {
  const carry = carryIn(b);
  const r = bind(b, b.cut(x.add(x.add(a as Both, c), carry.wide) as Int, b.size));
  // With a carry in, r == a means a carry out as well.
  return { r, flags: () => b.flags.add(a, c, r, b.size, x.or(x.ltU(r, a), x.and(carry.narrow, x.eq(r, a)))) };
};
const sub: Operation = (b, a, c) => {
  const r = bind(b, b.cut(x.sub(a as Both, c) as Int, b.size));
  return { r, flags: () => b.flags.sub(a, c, r) };
};
const sbb: Operation = (b, a, c) => {
  const borrow = carryIn(b);
  const r = bind(b, b.cut(x.sub(x.sub(a as Both, c), borrow.wide) as Int, b.size));
  return {
    r,
    flags: () => b.flags.sub(a, c, r, b.size, x.or(x.ltU(a, c), x.and(borrow.narrow, x.eq(a, c)))),
  };
};
function logic(combine: (a: Both, c: Int) => Both): Operation {
  return (b, a, c) => {
    const r = bind(b, combine(a as Both, c) as Int);
    return { r, flags: () => b.flags.logic(r) };
  };
}
const or = logic((a, c) => x.or(a, c));
const and = logic((a, c) => x.and(a, c));
const xor = logic((a, c) => x.xor(a, c));

const writing =
  (operation: Operation): Semantics =>
  (b) => {
    const a = b.modify(0);
    const { r, flags } = operation(b, a, b.read(1));
    b.write(0, r);
    flags();
  };
const comparing =
  (operation: Operation): Semantics =>
  (b) => {
    const a = b.read(0);
    operation(b, a, b.read(1)).flags();
  };

/** The eight operations of the classic pattern, by ModRM.reg of 80-83 and by the high bits of 00-3D. */
const groups: readonly [string, Semantics, boolean][] = [
  ['ADD', writing(add), true],
  ['OR', writing(or), true],
  ['ADC', writing(adc), true],
  ['SBB', writing(sbb), true],
  ['AND', writing(and), true],
  ['SUB', writing(sub), true],
  ['XOR', writing(xor), true],
  ['CMP', comparing(sub), false],
];

const classic = groups.flatMap(([name, semantics, lock], n): RowDraft[] => {
  const base = n * 8;
  const lockable = lock ? { lock: true } : {};
  return [
    row(hexOpcode(base), name, 'Eb,Gb', lockable, semantics),
    row(hexOpcode(base + 1), name, 'Ev,Gv', lockable, semantics),
    row(hexOpcode(base + 2), name, 'Gb,Eb', {}, semantics),
    row(hexOpcode(base + 3), name, 'Gv,Ev', {}, semantics),
    row(hexOpcode(base + 4), name, 'AL,Ib', {}, semantics),
    row(hexOpcode(base + 5), name, 'rAX,Iz', {}, semantics),
    row(`80 /${n}`, name, 'Eb,Ib', lockable, semantics),
    row(`81 /${n}`, name, 'Ev,Iz', lockable, semantics),
    row(`82 /${n}`, name, 'Eb,Ib', { ...lockable, no64: true }, semantics),
    row(`83 /${n}`, name, 'Ev,Ibs', lockable, semantics),
  ];
});

const one = (b: InstructionBuilder): Int => x.constant(b.type, 1) as Int;

const increment: Semantics = (b) => {
  const a = b.modify(0);
  const r = bind(b, b.cut(x.add(a as Both, one(b)) as Int, b.size));
  b.write(0, r);
  b.flags.increment(r);
};
const decrement: Semantics = (b) => {
  const a = b.modify(0);
  const r = bind(b, b.cut(x.sub(a as Both, one(b)) as Int, b.size));
  b.write(0, r);
  b.flags.decrement(r);
};
const negate: Semantics = (b) => {
  const a = b.modify(0);
  const zero = x.constant(b.type, 0) as Int;
  const r = bind(b, b.cut(x.sub(zero as Both, a) as Int, b.size));
  b.write(0, r);
  b.flags.sub(zero, a, r);
};
const complement: Semantics = (b) => {
  const a = b.modify(0);
  b.write(0, b.cut(x.xor(a as Both, -1) as Int, b.size));
};
const test = comparing(and);

export const rows: RowDraft[] = [
  ...classic,
  row('40+r', 'INC', 'Zv', { no64: true }, increment),
  row('48+r', 'DEC', 'Zv', { no64: true }, decrement),
  row('FE /0', 'INC', 'Eb', { lock: true }, increment),
  row('FF /0', 'INC', 'Ev', { lock: true }, increment),
  row('FE /1', 'DEC', 'Eb', { lock: true }, decrement),
  row('FF /1', 'DEC', 'Ev', { lock: true }, decrement),
  row('F6 /2', 'NOT', 'Eb', { lock: true }, complement),
  row('F7 /2', 'NOT', 'Ev', { lock: true }, complement),
  row('F6 /3', 'NEG', 'Eb', { lock: true }, negate),
  row('F7 /3', 'NEG', 'Ev', { lock: true }, negate),
  row('84', 'TEST', 'Eb,Gb', {}, test),
  row('85', 'TEST', 'Ev,Gv', {}, test),
  row('A8', 'TEST', 'AL,Ib', {}, test),
  row('A9', 'TEST', 'rAX,Iz', {}, test),
  row('F6 /0', 'TEST', 'Eb,Ib', {}, test),
  row('F7 /0', 'TEST', 'Ev,Iz', {}, test),
  row('F6 /1', 'TEST', 'Eb,Ib', {}, test), // undocumented alias
  row('F7 /1', 'TEST', 'Ev,Iz', {}, test),
];
