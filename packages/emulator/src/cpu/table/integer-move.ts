/** Data movement: MOV, MOVZX, MOVSX, LEA, XCHG, XADD, CMPXCHG, CMOV, SETcc, sign extension, flag images. */
import { callExpr } from '../../wasm/code.ts';
import * as x from '../../wasm/expr.ts';
import type { Expr, Int } from '../../wasm/expr.ts';
import type { InstructionBuilder } from '../builder.ts';
import { Cpu, CpuFeature, ModeKey } from '../layout.ts';
import { conditionNames, hexOpcode, row } from './row.ts';
import type { RowDraft, Semantics } from './row.ts';

type Both = Expr<'i32' | 'i64'>;
const bind = (b: InstructionBuilder, value: Int): Int => b.let(value as Both) as Int;

const move: Semantics = (b) => {
  b.write(0, b.read(1));
};

/** `value` of `from` bytes, extended to the operand size. */
const extend =
  (signed: boolean): Semantics =>
  (b) => {
    const from = b.operandBytes(1);
    const value = b.read(1);
    if (b.size === 8) b.write(0, signed ? b.signed64(value, from) : b.unsigned64(value));
    else b.write(0, b.cut(signed ? b.signed(value, from) : value, b.size));
  };

const loadEffectiveAddress: Semantics = (b) => {
  b.write(0, b.narrow(b.effectiveAddress(), b.size));
};

const exchange: Semantics = (b) => {
  const a = b.modify(0);
  const c = b.read(1);
  b.write(0, c);
  b.write(1, a);
};

const exchangeAdd: Semantics = (b) => {
  const a = b.modify(0);
  const c = b.read(1);
  const r = bind(b, b.cut(x.add(a as Both, c) as Int, b.size));
  // With both operands one register, the sum stays: it is written last.
  if (b.isMemory) b.write(0, r);
  b.write(1, a);
  if (!b.isMemory) b.write(0, r);
  b.flags.add(a, c, r);
};

const compareExchange: Semantics = (b) => {
  const destination = b.modify(0);
  const accumulator = b.gpr(0, b.size);
  const source = b.read(1);
  const r = bind(b, b.cut(x.sub(accumulator as Both, destination) as Int, b.size));
  const equal = b.let(x.eq(accumulator, destination));
  // The destination is written in either case, so that a read-only page faults always (SDM, CMPXCHG).
  if (b.isMemory) b.write(0, x.select(equal, source as Both, destination) as Int);
  else {
    b.if(equal, () => {
      b.write(0, source);
    });
  }
  b.if(x.eqz(equal), () => {
    b.setGpr(0, b.size, destination);
  });
  b.flags.sub(accumulator, destination, r);
};

/** CMPXCHG8B/16B: compares rDX:rAX with memory of twice `half` bytes. */
const compareExchangePair =
  (half: 4 | 8): Semantics =>
  (b) => {
    requireFeature(b, half === 4 ? CpuFeature.cx8 : CpuFeature.cx16);
    const la = b.linearAddress(half * 2, 'write');
    if (half === 8) {
      b.if(x.and(x.wrap(la), 15), () => {
        b.raiseError('gp', 0);
      });
    }
    b.probeWrite(la, half * 2, 'operand');
    const upper = b.let(x.add(la, half));
    const low = b.loadLinear(la, half);
    const high = b.loadLinear(upper, half);
    const equal = b.let(x.and(x.eq(low, b.gpr(0, half)), x.eq(high, b.gpr(2, half))));
    b.storeLinear(la, x.select(equal, b.gpr(3, half) as Both, low) as Int, half);
    b.storeLinear(upper, x.select(equal, b.gpr(1, half) as Both, high) as Int, half);
    b.if(x.eqz(equal), () => {
      b.setGpr(0, half, low);
      b.setGpr(2, half, high);
    });
    // ZF alone changes.
    const flags = callExpr('i32', b.coreFunction('readFlags'), b.cpu);
    b.call('writeFlags', x.or(x.and(flags, ~0x40), x.shl(equal, 6)), x.i32(0x8d5));
  };

/** #UD unless the processor model has one of the features. */
export function requireFeature(b: InstructionBuilder, ...features: number[]): void {
  const mask = features.reduce((all, feature) => all | BigInt(feature), 0n);
  const present = x.ne(x.and(b.field('i64', Cpu.features, 8), x.i64(mask)), 0);
  b.if(x.eqz(present), () => {
    b.raise('ud');
  });
}

const conditional = conditionNames.flatMap((name, code) => [
  row(`0F ${hexOpcode(0x40 + code)}`, `CMOV${name}`, 'Gv,Ev', {}, (b) => {
    requireFeature(b, CpuFeature.cmov);
    const source = b.read(1);
    // A 32-bit destination is zero-extended even when the condition is false.
    const old = b.read(0);
    b.write(0, x.select(b.flags.condition(code), source as Both, old) as Int);
  }),
  row(`0F ${hexOpcode(0x90 + code)}`, `SET${name}`, 'Eb', {}, (b) => {
    b.write(0, b.flags.condition(code));
  }),
]);

/** CBW, CWDE, CDQE. */
const extendAccumulator: Semantics = (b) => {
  const half = b.size / 2;
  const value = b.gpr(0, half);
  b.setGpr(0, b.size, b.size === 8 ? b.signed64(value, 4) : b.cut(b.signed(value, half), b.size));
};

/** CWD, CDQ, CQO. */
const extendIntoD: Semantics = (b) => {
  const value = b.signed(b.gpr(0, b.size), b.size);
  b.setGpr(2, b.size, b.cut(x.shrS(value as Both, b.size === 8 ? 63 : 31) as Int, b.size));
};

/** LAHF and SAHF are optional in 64-bit mode (CPUID 8000_0001h, ECX bit 0). */
function requireAhFlags(b: InstructionBuilder): void {
  const key = b.field('i32', Cpu.modeKey);
  b.if(x.eq(x.and(key, ModeKey.codeMask), ModeKey.code64), () => {
    requireFeature(b, CpuFeature.lahf64);
  });
}

const loadFlagsIntoAh: Semantics = (b) => {
  requireAhFlags(b);
  const flags = callExpr('i32', b.coreFunction('readFlags'), b.cpu);
  b.setField(Cpu.gpr + 1, x.or(x.and(flags, 0xd5), 2), 1);
};

const storeAhIntoFlags: Semantics = (b) => {
  requireAhFlags(b);
  b.call('writeFlags', b.field('i32', Cpu.gpr + 1, 1), x.i32(0xd5));
};

const complementCarry: Semantics = (b) => {
  b.setFlagAux(x.xor(b.getFlagAux(), 1));
};

/** XLAT: AL = [segment:rBX + AL]. */
const translate: Semantics = (b) => {
  const offset = x.add(b.field('i64', Cpu.gpr + 3 * 8, 8), b.unsigned64(b.gpr(0, 1)));
  b.setGpr(0, 1, b.loadLinear(b.implicitAddress(offset, 1, 'read'), 1));
};

export const rows: RowDraft[] = [
  row('88', 'MOV', 'Eb,Gb', {}, move),
  row('89', 'MOV', 'Ev,Gv', {}, move),
  row('8A', 'MOV', 'Gb,Eb', {}, move),
  row('8B', 'MOV', 'Gv,Ev', {}, move),
  row('A0', 'MOV', 'AL,Ob', {}, move),
  row('A1', 'MOV', 'rAX,Ov', {}, move),
  row('A2', 'MOV', 'Ob,AL', {}, move),
  row('A3', 'MOV', 'Ov,rAX', {}, move),
  row('B0+r', 'MOV', 'Zb,Ib', {}, move),
  row('B8+r', 'MOV', 'Zv,Iv', {}, move),
  row('C6 /0', 'MOV', 'Eb,Ib', {}, move),
  row('C7 /0', 'MOV', 'Ev,Iz', {}, move),
  row('0F B6', 'MOVZX', 'Gv,Eb', {}, extend(false)),
  row('0F B7', 'MOVZX', 'Gv,Ew', {}, extend(false)),
  row('0F BE', 'MOVSX', 'Gv,Eb', {}, extend(true)),
  row('0F BF', 'MOVSX', 'Gv,Ew', {}, extend(true)),
  row('63', 'MOVSXD', 'Gv,Ed', { only64: true }, (b) => {
    const value = b.read(1);
    b.write(0, b.size === 8 ? b.signed64(value, 4) : b.cut(value, b.size));
  }),
  row('8D', 'LEA', 'Gv,M', {}, loadEffectiveAddress),
  row('86', 'XCHG', 'Eb,Gb', { lock: true }, exchange),
  row('87', 'XCHG', 'Ev,Gv', { lock: true }, exchange),
  row('90+r', 'XCHG', 'Zv,rAX', {}, exchange),
  row('0F C0', 'XADD', 'Eb,Gb', { lock: true }, exchangeAdd),
  row('0F C1', 'XADD', 'Ev,Gv', { lock: true }, exchangeAdd),
  row('0F B0', 'CMPXCHG', 'Eb,Gb', { lock: true }, compareExchange),
  row('0F B1', 'CMPXCHG', 'Ev,Gv', { lock: true }, compareExchange),
  row('0F C7 /1 mem', 'CMPXCHG8B', 'Mq', { lock: true, fixedSize: 4 }, compareExchangePair(4)),
  row('0F C7 /1 mem W1', 'CMPXCHG16B', 'Mdq', { lock: true, fixedSize: 8 }, compareExchangePair(8)),
  ...conditional,
  row('98', 'CBW', '', { sizes: [2, 4, 8] }, extendAccumulator),
  row('99', 'CWD', '', { sizes: [2, 4, 8] }, extendIntoD),
  row('9E', 'SAHF', '', {}, storeAhIntoFlags),
  row('9F', 'LAHF', '', {}, loadFlagsIntoAh),
  row('F5', 'CMC', '', {}, complementCarry),
  row('F8', 'CLC', '', {}, (b) => {
    b.flags.setCarry(x.i32(0));
  }),
  row('F9', 'STC', '', {}, (b) => {
    b.flags.setCarry(x.i32(1));
  }),
  row('FC', 'CLD', '', {}, (b) => {
    b.setField(Cpu.systemFlags, x.and(b.field('i32', Cpu.systemFlags, 4), ~0x400));
  }),
  row('FD', 'STD', '', {}, (b) => {
    b.setField(Cpu.systemFlags, x.or(b.field('i32', Cpu.systemFlags, 4), 0x400));
  }),
  row('D6', 'SALC', '', { no64: true }, (b) => {
    b.setGpr(0, 1, x.and(x.sub(x.i32(0), b.flags.carry()), 0xff));
  }),
  row('D7', 'XLAT', '', {}, translate),
];
