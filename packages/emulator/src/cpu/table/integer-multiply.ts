/** MUL, IMUL, DIV, IDIV (SDM Vol. 2). 64-bit products and quotients of 128 bits are in core/divide.ts. */
import * as x from '../../wasm/expr.ts';
import type { Expr, I32, I64, Int } from '../../wasm/expr.ts';
import type { InstructionBuilder } from '../builder.ts';
import { row } from './row.ts';
import type { RowDraft, Semantics } from './row.ts';

type Both = Expr<'i32' | 'i64'>;
const bind = (b: InstructionBuilder, value: Int): Int => b.let(value as Both) as Int;
const rax = 0;
const rdx = 2;

/** Operand of up to 4 bytes as i64. */
function widened(b: InstructionBuilder, value: Int, signed: boolean): I64 {
  return signed ? b.signed64(value, b.size) : x.extendU(value as I32);
}

/** AX, or (E)DX:(E)AX, from a product of twice the operand size. */
function writeDouble(b: InstructionBuilder, product: I64): void {
  if (b.size === 1) {
    b.setGpr(rax, 2, x.and(x.wrap(product), 0xffff));
    return;
  }
  b.setGpr(rax, b.size, b.narrow(product, b.size));
  b.setGpr(rdx, b.size, b.narrow(x.shrU(product, b.size * 8), b.size));
}

/** One-operand MUL and IMUL: CF and OF tell whether the upper half means something. */
const multiply =
  (signed: boolean): Semantics =>
  (b) => {
    const source = b.read(0);
    const accumulator = b.gpr(rax, b.size);
    if (b.size === 8) {
      const a = accumulator as I64;
      const c = source as I64;
      const high = b.callValue('i64', signed ? 'multiplyHighSigned' : 'multiplyHigh', a, c);
      const low = b.let(x.mul(a, c));
      b.setGpr(rax, 8, low);
      b.setGpr(rdx, 8, high);
      const over = b.let(signed ? x.ne(high, x.shrS(low, 63)) : x.ne(high, 0));
      b.flags.result(low, 8, over, over);
      return;
    }
    const product = b.let(x.mul(widened(b, accumulator, signed), widened(b, source, signed)));
    writeDouble(b, product);
    const low = bind(b, b.narrow(product, b.size));
    const over = b.let(x.ne(product, signed ? b.signed64(low, b.size) : x.extendU(low as I32)));
    b.flags.result(low, b.size, over, over);
  };

/** IMUL with a destination: operands `left` and `right` into operand 0. */
const multiplyInto =
  (left: number, right: number): Semantics =>
  (b) => {
    const a = b.read(left);
    const c = b.read(right);
    if (b.size === 8) {
      const high = b.callValue('i64', 'multiplyHighSigned', a, c);
      const low = b.let(x.mul(a as I64, c));
      b.write(0, low);
      const over = b.let(x.ne(high, x.shrS(low, 63)));
      b.flags.result(low, 8, over, over);
      return;
    }
    const product = b.let(x.mul(widened(b, a, true), widened(b, c, true)));
    const low = bind(b, b.narrow(product, b.size));
    b.write(0, low);
    const over = b.let(x.ne(product, b.signed64(low, b.size)));
    b.flags.result(low, b.size, over, over);
  };

/** The dividend of up to 64 bits: AX, DX:AX or EDX:EAX. */
function dividend(b: InstructionBuilder, signed: boolean): I64 {
  if (b.size === 1) {
    const ax = b.gpr(rax, 2);
    return b.let(signed ? b.signed64(ax, 2) : x.extendU(ax as I32));
  }
  const low = x.extendU(b.gpr(rax, b.size) as I32);
  const high = widened(b, b.gpr(rdx, b.size), signed);
  return b.let(x.or(x.shl(high, b.size * 8), low));
}

function writeQuotient(b: InstructionBuilder, quotient: I64, remainder: I64): void {
  if (b.size === 1) {
    const q = x.and(x.wrap(quotient), 0xff);
    b.setGpr(rax, 2, x.or(q, x.shl(x.and(x.wrap(remainder), 0xff), 8)));
    return;
  }
  b.setGpr(rax, b.size, b.narrow(quotient, b.size));
  b.setGpr(rdx, b.size, b.narrow(remainder, b.size));
}

/** RDX:RAX by a bound 64-bit divisor. A dividend of 64 bits, the usual one, needs one division. */
function divideWide(b: InstructionBuilder, divisor: I64, signed: boolean): void {
  const low = b.gpr(rax, 8) as I64;
  const high = b.gpr(rdx, 8) as I64;
  const quotient = b.variable(x.i64(0));
  const set = (value: I64): void => {
    b.code.set(quotient, value);
  };
  if (signed) {
    // 0 and -1, where the quotient may not exist, take the general path.
    const usual = x.and(x.eq(high, x.shrS(low, 63)), x.gtU(x.add(divisor, 1), 1));
    b.if(
      usual,
      () => {
        set(x.divS(low, divisor));
      },
      () => {
        b.if(x.eqz(b.callValue('i32', 'fitsSigned128', high, low, divisor)), () => b.raise('de'));
        set(b.callValue('i64', 'quotientSigned128', high, low, divisor));
      },
    );
  } else {
    // Also true for a divisor of 0.
    b.if(x.geU(high, divisor), () => b.raise('de'));
    b.if(
      x.eqz(high),
      () => {
        set(x.divU(low, divisor));
      },
      () => {
        set(b.callValue('i64', 'quotient128', high, low, divisor));
      },
    );
  }
  b.setGpr(rax, 8, quotient);
  b.setGpr(rdx, 8, x.sub(low, x.mul(quotient, divisor)));
}

/** #DE for a divisor of 0 and for a quotient that does not fit; the flags stay (undefined in the manual). */
const divideUnsigned: Semantics = (b) => {
  const source = b.read(0);
  if (b.size === 8) {
    divideWide(b, source as I64, false);
    return;
  }
  const divisor = b.let(x.extendU(source as I32));
  const n = dividend(b, false);
  b.if(x.eqz(divisor), () => b.raise('de'));
  const quotient = b.let(x.divU(n, divisor));
  b.if(x.wrap(x.shrU(x.shrU(quotient, b.size * 4), b.size * 4)), () => b.raise('de'));
  writeQuotient(b, quotient, x.remU(n, divisor));
};

const divideSigned: Semantics = (b) => {
  const source = b.read(0);
  if (b.size === 8) {
    divideWide(b, source as I64, true);
    return;
  }
  const divisor = b.let(b.signed64(source, b.size));
  const n = dividend(b, true);
  b.if(x.eqz(divisor), () => b.raise('de'));
  // The one quotient that WebAssembly can't form.
  if (b.size === 4) {
    const extreme = x.and(x.eq(n, -0x8000_0000_0000_0000n), x.eq(divisor, -1));
    b.if(extreme, () => b.raise('de'));
  }
  const quotient = b.let(x.divS(n, divisor));
  const fits = b.signed64(b.narrow(quotient, b.size), b.size);
  b.if(x.ne(quotient, fits), () => b.raise('de'));
  writeQuotient(b, quotient, x.remS(n, divisor));
};

export const rows: RowDraft[] = [
  row('F6 /4', 'MUL', 'Eb', {}, multiply(false)),
  row('F7 /4', 'MUL', 'Ev', {}, multiply(false)),
  row('F6 /5', 'IMUL', 'Eb', {}, multiply(true)),
  row('F7 /5', 'IMUL', 'Ev', {}, multiply(true)),
  row('F6 /6', 'DIV', 'Eb', {}, divideUnsigned),
  row('F7 /6', 'DIV', 'Ev', {}, divideUnsigned),
  row('F6 /7', 'IDIV', 'Eb', {}, divideSigned),
  row('F7 /7', 'IDIV', 'Ev', {}, divideSigned),
  row('0F AF', 'IMUL', 'Gv,Ev', {}, multiplyInto(0, 1)),
  row('69', 'IMUL', 'Gv,Ev,Iz', {}, multiplyInto(1, 2)),
  row('6B', 'IMUL', 'Gv,Ev,Ibs', {}, multiplyInto(1, 2)),
];
