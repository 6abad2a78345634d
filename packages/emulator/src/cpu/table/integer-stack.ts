/** PUSH, POP, PUSHA, POPA, PUSHF, POPF, ENTER, LEAVE. SDM Vol. 1, 6.2. */
import * as x from '../../wasm/expr.ts';
import type { Int } from '../../wasm/expr.ts';
import { Cpu } from '../layout.ts';
import { row } from './row.ts';
import type { RowDraft, Semantics } from './row.ts';

const rsp = 4;
const rbp = 5;

const pushOperand: Semantics = (b) => {
  b.push(b.read(0), b.size);
};

const popRegister: Semantics = (b) => {
  const { value, rsp: next } = b.peek(b.size);
  // POP rSP keeps the value that was read: the register is written last.
  b.setStackPointer(next);
  b.write(0, value);
};

/** The address of a memory destination is computed with RSP already moved (SDM, POP). */
const popMemory: Semantics = (b) => {
  const { value, rsp: next } = b.peek(b.size);
  const old = b.let(b.field('i64', Cpu.gpr + rsp * 8, 8));
  b.setStackPointer(next);
  const offset = b.let(b.effectiveAddress());
  // The segment check may fault: with the old RSP.
  b.setField(Cpu.gpr + rsp * 8, old);
  const la = b.implicitAddress(offset, b.size, 'write');
  b.storeLinear(la, value, b.size, 'operand');
  b.setStackPointer(next);
};

const pushAll: Semantics = (b) => {
  for (let number = 0; number < 8; number++) {
    const offset = b.stackPointer(-(number + 1) * b.size);
    b.storeLinear(b.stackAddress(offset, b.size, 'write'), b.gpr(number, b.size), b.size, 'stack');
  }
  b.setStackPointer(b.stackPointer(-8 * b.size));
};

const popAll: Semantics = (b) => {
  const values: Int[] = [];
  for (let i = 0; i < 8; i++) values.push(b.peek(b.size, i * b.size).value);
  const next = b.stackPointer(8 * b.size);
  values.forEach((value, i) => {
    if (7 - i !== rsp) b.setGpr(7 - i, b.size, value);
  });
  b.setStackPointer(next);
};

const pushFlags: Semantics = (b) => {
  const image = b.callValue('i32', 'pushFlagsImage', x.i32(b.size));
  b.push(b.size === 8 ? x.extendU(image) : b.cut(image, b.size), b.size);
};

const popFlags: Semantics = (b) => {
  const { value, rsp: next } = b.peek(b.size);
  const image = value.type === 'i64' ? x.wrap(value) : value;
  b.call('popFlags', image, x.i32(b.size));
  b.setStackPointer(next);
};

/**
 * ENTER (SDM Vol. 2): pushes go to memory one after the other, and what was pushed before a fault stays there; RSP and RBP change at the
 * end, after a probe of the new stack top for writing. RBP gets the whole stack pointer after the first push, also on a 16-bit stack.
 */
const enter: Semantics = (b) => {
  const { code, size } = b;
  const level = b.let(x.and(b.immediate2(), 31));
  const allocation = b.let(x.and(b.immediate(), 0xffff));
  const mask = b.let(b.field('i64', Cpu.stackMask));
  const pointer = code.variable(b.stackPointer(-size));
  b.storeLinear(b.stackAddress(pointer, size, 'write'), b.gpr(rbp, size), size, 'stack');
  const old = b.let(b.field('i64', Cpu.gpr + rsp * 8, 8));
  const frame = b.let(x.or(x.and(old, x.xor(mask, -1)), pointer));
  b.if(level, () => {
    const from = code.variable(x.and(b.field('i64', Cpu.gpr + rbp * 8, 8), mask));
    const left = code.variable(x.sub(level, 1));
    code.block((done) => {
      code.loop((again) => {
        code.brIf(done, x.eqz(left));
        code.set(from, x.and(x.sub(from, size), mask));
        code.set(pointer, x.and(x.sub(pointer, size), mask));
        const value = b.loadLinear(b.stackAddress(from, size, 'read'), size, 'stack');
        b.storeLinear(b.stackAddress(pointer, size, 'write'), value, size, 'stack');
        code.set(left, x.sub(left, 1));
        code.br(again);
      });
    });
    code.set(pointer, x.and(x.sub(pointer, size), mask));
    b.storeLinear(b.stackAddress(pointer, size, 'write'), b.narrow(frame, size), size, 'stack');
  });
  const top = b.let(x.and(x.sub(pointer, allocation), mask));
  b.probeWrite(b.stackAddress(top, 1, 'write'), 1, 'stack');
  b.setGpr(rbp, size, b.narrow(frame, size));
  b.setStackPointer(top);
};

const leave: Semantics = (b) => {
  const mask = b.field('i64', Cpu.stackMask);
  const frame = b.let(x.and(b.field('i64', Cpu.gpr + rbp * 8, 8), mask));
  const value = b.loadLinear(b.stackAddress(frame, b.size, 'read'), b.size, 'stack');
  b.setStackPointer(x.add(frame, b.size));
  b.setGpr(rbp, b.size, value);
};

export const rows: RowDraft[] = [
  row('50+r', 'PUSH', 'Zv', { default64: true }, pushOperand),
  row('58+r', 'POP', 'Zv', { default64: true }, popRegister),
  row('68', 'PUSH', 'Iz', { default64: true, sizes: [2, 4, 8] }, pushOperand),
  row('6A', 'PUSH', 'Ibs', { default64: true, sizes: [2, 4, 8] }, pushOperand),
  row('FF /6', 'PUSH', 'Ev', { default64: true }, pushOperand),
  row('8F /0 mem', 'POP', 'Ev', { default64: true }, popMemory),
  row('8F /0 reg', 'POP', 'Ev', { default64: true }, popRegister),
  row('60', 'PUSHA', '', { no64: true, sizes: [2, 4] }, pushAll),
  row('61', 'POPA', '', { no64: true, sizes: [2, 4] }, popAll),
  row('9C', 'PUSHF', '', { default64: true, sizes: [2, 4, 8] }, pushFlags),
  row('9D', 'POPF', '', { default64: true, sizes: [2, 4, 8], end: 'exit' }, popFlags),
  row('C8', 'ENTER', 'Iw,Ib', { default64: true, sizes: [2, 4, 8] }, enter),
  row('C9', 'LEAVE', '', { default64: true, sizes: [2, 4, 8] }, leave),
];
