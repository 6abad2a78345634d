/** Near transfers, BOUND, NOP, string instructions, UD. Far transfers and interrupts are in system.ts. */
import * as x from '../../wasm/expr.ts';
import type { I64, Int } from '../../wasm/expr.ts';
import type { InstructionBuilder } from '../builder.ts';
import { Cpu, CpuFeature } from '../layout.ts';
import { requireFeature } from './integer-move.ts';
import { conditionNames, hexOpcode, row } from './row.ts';
import type { RowDraft, RowOptions, Semantics } from './row.ts';

const near: RowOptions = { force64: true, sizes: [2, 4, 8], end: 'branch' };

const jumpIf =
  (
    condition: (b: InstructionBuilder) => x.I32,
    change: (b: InstructionBuilder) => void = () => undefined,
  ): Semantics =>
  (b) => {
    b.if(condition(b), () => {
      b.jumpRelative(true, () => {
        change(b);
      });
    });
    change(b);
    b.jumpRelative(false);
  };

/** Target of an indirect near transfer, checked as the SDM asks before anything is pushed. */
function nearTarget(b: InstructionBuilder, value: Int): I64 {
  const target = b.let(b.unsigned64(value));
  b.checkNearTarget(target);
  return target;
}

function pushReturnAddress(b: InstructionBuilder): void {
  b.push(b.narrow(b.nextRip(), b.size), b.size);
}

const callRelative: Semantics = (b) => {
  b.jumpRelative(true, () => {
    pushReturnAddress(b);
  });
};

const callIndirect: Semantics = (b) => {
  const target = nearTarget(b, b.read(0));
  pushReturnAddress(b);
  b.jump(target);
};

const returnNear =
  (release: boolean): Semantics =>
  (b) => {
    const { value, rsp } = b.peek(b.size);
    const target = nearTarget(b, value);
    b.setStackPointer(release ? x.add(rsp, b.immediate()) : rsp);
    b.jump(target);
  };

/** The count register of LOOP and JrCXZ has the address size. */
function countMask(b: InstructionBuilder): I64 {
  return b.addressMask();
}

/** LOOP counts down only when the jump does not fault. */
const loopIf =
  (condition: (b: InstructionBuilder) => x.I32): Semantics =>
  (b) => {
    const mask = b.let(countMask(b));
    const old = b.let(b.field('i64', Cpu.gpr + 8, 8));
    const count = b.let(x.and(x.sub(old, 1), mask));
    // A 32-bit count clears the upper half as every 32-bit write does; a 16-bit count keeps the rest.
    const kept = x.select(x.eq(mask, 0xffffn), x.and(old, ~0xffffn), 0);
    const counted = b.let(x.or(kept, count));
    const jump = jumpIf(
      () => x.and(x.ne(count, 0), condition(b)),
      () => {
        b.setField(Cpu.gpr + 8, counted);
      },
    );
    jump(b);
  };
const jumpIfNoCount: Semantics = jumpIf((b) => x.eqz(x.and(b.field('i64', Cpu.gpr + 8, 8), countMask(b))));

const bound: Semantics = (b) => {
  const index = b.signed(b.read(0), b.size);
  const bounded = b.let(index as x.I32);
  const la = b.linearAddress(b.size * 2, 'read');
  const lower = b.let(b.signed(b.loadLinear(la, b.size), b.size) as x.I32);
  const upper = b.let(b.signed(b.loadLinear(x.add(la, b.size), b.size), b.size) as x.I32);
  b.if(x.or(x.ltS(bounded, lower), x.gtS(bounded, upper)), () => {
    b.raise('br');
  });
};

/** Processors with long mode take it as a NOP even when CPUID does not tell of it. */
const prefetchForWrite: Semantics = (b) => {
  requireFeature(b, CpuFeature.prefetchw, CpuFeature.longMode);
};
/** Multi-byte NOPs and hints came with the P6 (SDM Vol. 2, NOP, PREFETCHh). */
const hint: Semantics = (b) => {
  requireFeature(b, CpuFeature.nopl);
};
const undefinedInstruction: Semantics = (b) => {
  b.raise('ud');
};

const conditionalJumps = conditionNames.flatMap((name, code) => [
  row(
    hexOpcode(0x70 + code),
    `J${name}`,
    'Jb',
    near,
    jumpIf((b) => b.flags.condition(code)),
  ),
  row(
    `0F ${hexOpcode(0x80 + code)}`,
    `J${name}`,
    'Jz',
    near,
    jumpIf((b) => b.flags.condition(code)),
  ),
]);

const strings = (
  [
    ['MOVS', 0xa4, 'movs'],
    ['CMPS', 0xa6, 'cmps'],
    ['STOS', 0xaa, 'stos'],
    ['LODS', 0xac, 'lods'],
    ['SCAS', 0xae, 'scas'],
  ] as const
).flatMap(([name, opcode, fn]) => [
  row(hexOpcode(opcode), `${name}B`, '', { string: true, record: true, fixedSize: 1 }, (b) => {
    b.string(fn);
  }),
  row(hexOpcode(opcode + 1), name, '', { string: true, record: true, sizes: [2, 4, 8] }, (b) => {
    b.string(fn);
  }),
]);

export const rows: RowDraft[] = [
  ...conditionalJumps,
  row('EB', 'JMP', 'Jb', near, (b) => {
    b.jumpRelative(true);
  }),
  row('E9', 'JMP', 'Jz', near, (b) => {
    b.jumpRelative(true);
  }),
  row('FF /4', 'JMP', 'Ev', near, (b) => {
    b.jump(nearTarget(b, b.read(0)));
  }),
  row('E8', 'CALL', 'Jz', near, callRelative),
  row('FF /2', 'CALL', 'Ev', near, callIndirect),
  row('C3', 'RET', '', near, returnNear(false)),
  row('C2', 'RET', 'Iw', near, returnNear(true)),
  row(
    'E0',
    'LOOPNE',
    'Jb',
    near,
    loopIf((b) => x.eqz(b.flags.zero())),
  ),
  row(
    'E1',
    'LOOPE',
    'Jb',
    near,
    loopIf((b) => b.flags.zero()),
  ),
  row(
    'E2',
    'LOOP',
    'Jb',
    near,
    loopIf(() => x.i32(1)),
  ),
  row('E3', 'JRCXZ', 'Jb', near, jumpIfNoCount),
  ...strings,
  row('62 mem', 'BOUND', 'Gv,Ma', { no64: true, sizes: [2, 4] }, bound),
  row('0F 1F', 'NOP', 'Ev', {}, hint),
  ...[0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e].map((opcode) =>
    row(`0F ${hexOpcode(opcode)}`, 'NOP', 'Ev', {}, hint),
  ),
  row('0F 0D', 'PREFETCHW', 'Ev', {}, prefetchForWrite),
  row('0F 0B', 'UD2', '', { end: 'branch' }, undefinedInstruction),
  row('0F B9', 'UD1', 'Gv,Ev', { end: 'branch' }, undefinedInstruction),
  row('0F FF', 'UD0', 'Gv,Ev', { end: 'branch' }, undefinedInstruction),
];
