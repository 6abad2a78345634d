/**
 * System instructions: segment registers, far transfers, interrupts, ports, control and debug registers, tables, MSRs.
 * Their semantics are core functions, which check privilege in the order of SDM Vol. 2; the rows fetch the operands.
 * All but a few that change nothing else end their block.
 */
import * as x from '../../wasm/expr.ts';
import type { I32, I64, Int } from '../../wasm/expr.ts';
import { callExpr } from '../../wasm/code.ts';
import type { InstructionBuilder } from '../builder.ts';
import type { CoreFunctionName } from '../core-functions.ts';
import {
  Cpu,
  CpuFeature,
  EventKind,
  InterruptShadow,
  Segment,
  SegmentField,
  segmentBytes,
} from '../layout.ts';
import { requireFeature } from './integer-move.ts';
import { row } from './row.ts';
import type { RowDraft, RowOptions, Semantics } from './row.ts';

const exit: RowOptions = { end: 'exit' };
const branch: RowOptions = { end: 'branch' };
const zeroFlag = 0x40;
/** Bit n: CRn exists. */
const controlRegisters = 0x11d;
const rax = 0;
const rcx = 1;
const rdx = 2;

function wide(value: Int): I64 {
  return value.type === 'i64' ? value : x.extendU(value);
}

function low(value: Int): I32 {
  return value.type === 'i64' ? x.wrap(value) : value;
}

function selectorField(segment: number): number {
  return Cpu.segments + segment * segmentBytes + SegmentField.selector;
}

/** A core function without operands. */
const only =
  (name: CoreFunctionName): Semantics =>
  (b) => {
    b.call(name);
  };

/** A core function that gets the address of the next instruction, and sets RIP. */
const transfer =
  (name: 'syscall' | 'sysenter'): Semantics =>
  (b) => {
    b.call(name, b.nextRip());
    b.leave();
  };

// ---- segment registers ----

const storeSelector: Semantics = (b) => {
  const segment = x.add(b.cpu, x.mul(b.registerNumber(1), segmentBytes));
  const selector = x.load('i32', 2, segment, Cpu.segments + SegmentField.selector);
  b.write(0, b.operandBytes(0) === 8 ? x.extendU(selector) : selector);
};

/** MOV SS and POP SS hold interrupts and traps off until the end of the next instruction (SDM Vol. 3A 6.8.3). */
function openStackShadow(b: InstructionBuilder): void {
  b.setField(Cpu.interruptShadow, x.i32(InterruptShadow.movSs));
}

const loadSelector: Semantics = (b) => {
  const number = b.let(b.registerNumber(0));
  b.if(x.eq(number, Segment.cs), () => {
    b.raise('ud');
  });
  b.call('loadSegment', number, low(b.read(1)));
  b.if(x.eq(number, Segment.ss), () => {
    openStackShadow(b);
  });
};

const pushSelector =
  (segment: number): Semantics =>
  (b) => {
    const selector = b.field('i32', selectorField(segment), 2);
    b.push(b.size === 8 ? x.extendU(selector) : selector, b.size);
  };

const popSelector =
  (segment: number): Semantics =>
  (b) => {
    b.call('popSegment', x.i32(segment), x.i32(b.size));
    if (segment === Segment.ss) openStackShadow(b);
  };

/** LDS and its family: offset, then selector. */
const loadFarPointer =
  (segment: number): Semantics =>
  (b) => {
    const la = b.linearAddress(b.size + 2, 'read');
    const offset = b.let(b.loadLinear(la, b.size) as x.Expr<'i32' | 'i64'>) as Int;
    const selector = b.loadLinear(x.add(la, b.size), 2);
    b.call('loadSegment', x.i32(segment), low(selector));
    b.write(0, offset);
  };

// ---- far transfers ----

const farDirect =
  (name: 'farJump' | 'farCall'): Semantics =>
  (b) => {
    const offset = b.let(b.immediate());
    b.call(name, b.immediate2(), offset, x.i32(b.size), b.nextRip());
    b.leave();
  };

const farIndirect =
  (name: 'farJump' | 'farCall'): Semantics =>
  (b) => {
    const la = b.linearAddress(b.size + 2, 'read');
    const offset = b.let(wide(b.loadLinear(la, b.size)));
    const selector = b.let(low(b.loadLinear(x.add(la, b.size), 2)));
    b.call(name, selector, offset, x.i32(b.size), b.nextRip());
    b.leave();
  };

const farReturn =
  (release: boolean): Semantics =>
  (b) => {
    b.call('farReturn', x.i32(b.size), release ? x.wrap(b.immediate()) : x.i32(0));
    b.leave();
  };

const interruptReturn: Semantics = (b) => {
  b.call('interruptReturn', x.i32(b.size), b.nextRip());
  b.leave();
};

/** `opcode` 1: INT n, which virtual-8086 mode treats in its own way. */
function interrupt(b: InstructionBuilder, vector: I32, kind: number, opcode: number): void {
  b.call('softwareInterrupt', vector, b.nextRip(), x.i32(kind), x.i32(opcode));
}

const interruptOnOverflow: Semantics = (b) => {
  b.if(b.flags.overflow(), () => {
    interrupt(b, x.i32(4), EventKind.software, 0);
    b.code.return(x.i32(0));
  });
  b.leaveTo(b.nextRip());
};

// ---- ports ----

const inImmediate: Semantics = (b) => {
  b.write(0, b.callValue('i32', 'portIn', x.wrap(b.immediate()), x.i32(b.operandBytes(0))));
};
const inRegister: Semantics = (b) => {
  b.write(0, b.callValue('i32', 'portIn', b.gpr(rdx, 2) as I32, x.i32(b.operandBytes(0))));
};
const outImmediate: Semantics = (b) => {
  b.call('portOut', x.wrap(b.immediate()), x.i32(b.operandBytes(1)), low(b.read(1)));
};
const outRegister: Semantics = (b) => {
  b.call('portOut', b.gpr(rdx, 2) as I32, x.i32(b.operandBytes(1)), low(b.read(1)));
};

const stringPorts =
  (name: 'ins' | 'outs'): Semantics =>
  (b) => {
    const rip = b.let(b.currentRip());
    b.if(x.eqz(callExpr('i32', b.coreFunction(name), b.cpu, b.record())), () => {
      b.leaveTo(rip);
    });
  };
const portString: RowOptions = { string: true, record: true, end: 'exit' };

// ---- control ----

const setInterruptFlag: Semantics = (b) => {
  b.if(b.callValue('i32', 'setInterruptFlag'), () => {
    b.setField(Cpu.interruptShadow, x.i32(InterruptShadow.sti));
  });
};

function writePair(b: InstructionBuilder, value: I64): void {
  b.setGpr(rax, 4, x.wrap(value));
  b.setGpr(rdx, 4, x.wrap(x.shrU(value, 32)));
}

const readTimestamp =
  (withProcessor: boolean): Semantics =>
  (b) => {
    requireFeature(b, withProcessor ? CpuFeature.rdtscp : CpuFeature.tsc);
    writePair(b, b.callValue('i64', 'timestampCounter'));
    if (withProcessor) b.setGpr(rcx, 4, b.field('i32', Cpu.tscAux));
  };

/** STAC and CLAC: CPL 0, else #UD. */
const alignmentFlag =
  (value: number): Semantics =>
  (b) => {
    requireFeature(b, CpuFeature.smap);
    b.if(b.field('i32', Cpu.cpl), () => {
      b.raise('ud');
    });
    b.call('setAlignmentFlag', x.i32(value));
  };

function writeZero(b: InstructionBuilder, set: I32): void {
  b.call('writeFlags', x.mul(set, zeroFlag), x.i32(zeroFlag));
}

/** LAR and LSL: -1 means not visible, ZF is cleared and the destination stays. */
const inspect =
  (name: 'loadAccessRights' | 'loadSegmentLimit'): Semantics =>
  (b) => {
    const value = b.callValue('i64', name, low(b.read(1)));
    const visible = b.let(x.ne(value, -1n));
    b.if(visible, () => {
      b.write(0, b.narrow(value, b.size));
    });
    writeZero(b, visible);
  };

const verify =
  (name: 'verifyRead' | 'verifyWrite'): Semantics =>
  (b) => {
    writeZero(b, b.callValue('i32', name, low(b.read(0))));
  };

const storeSystemSelector =
  (segment: number): Semantics =>
  (b) => {
    const selector = b.callValue('i32', 'storeSystemSelector', x.i32(segment));
    b.write(0, b.operandBytes(0) === 8 ? x.extendU(selector) : selector);
  };

const adjustPrivilege: Semantics = (b) => {
  b.call('requireProtectedMode');
  const destination = b.let(b.read(0) as I32);
  const rpl = b.let(x.and(b.read(1) as I32, 3));
  const raised = b.let(x.ltU(x.and(destination, 3), rpl));
  // Written only when it changes: a selector in a read-only segment or page may be asked about.
  b.if(raised, () => {
    const value = b.let(x.or(x.and(destination, 0xfffc), rpl));
    if (b.isMemory) b.storeLinear(b.linearAddress(2, 'write'), value, 2, 'operand');
    else b.write(0, value);
  });
  writeZero(b, raised);
};

const storeStatus: Semantics = (b) => {
  b.write(0, b.narrow(b.callValue('i64', 'storeMachineStatus'), b.operandBytes(0)));
};

const storeTable =
  (table: number): Semantics =>
  (b) => {
    b.call('storeTable', x.i32(table), b.linearAddress(6, 'write'));
  };
const loadTable =
  (table: number): Semantics =>
  (b) => {
    b.call('requirePrivilege');
    b.call('loadTable', x.i32(table), b.linearAddress(6, 'read'), x.i32(b.size));
  };

const segmentRows: RowDraft[] = [
  row('8C mem', 'MOV', 'Mw,Sw', {}, storeSelector),
  row('8C reg', 'MOV', 'Rv,Sw', {}, storeSelector),
  row('8E', 'MOV', 'Sw,Ew', exit, loadSelector),
  row('06', 'PUSH', '', { no64: true, sizes: [2, 4] }, pushSelector(Segment.es)),
  row('0E', 'PUSH', '', { no64: true, sizes: [2, 4] }, pushSelector(Segment.cs)),
  row('16', 'PUSH', '', { no64: true, sizes: [2, 4] }, pushSelector(Segment.ss)),
  row('1E', 'PUSH', '', { no64: true, sizes: [2, 4] }, pushSelector(Segment.ds)),
  row('0F A0', 'PUSH', '', { default64: true, sizes: [2, 4, 8] }, pushSelector(Segment.fs)),
  row('0F A8', 'PUSH', '', { default64: true, sizes: [2, 4, 8] }, pushSelector(Segment.gs)),
  row('07', 'POP', '', { no64: true, sizes: [2, 4], end: 'exit' }, popSelector(Segment.es)),
  row('17', 'POP', '', { no64: true, sizes: [2, 4], end: 'exit' }, popSelector(Segment.ss)),
  row('1F', 'POP', '', { no64: true, sizes: [2, 4], end: 'exit' }, popSelector(Segment.ds)),
  row('0F A1', 'POP', '', { default64: true, sizes: [2, 4, 8], end: 'exit' }, popSelector(Segment.fs)),
  row('0F A9', 'POP', '', { default64: true, sizes: [2, 4, 8], end: 'exit' }, popSelector(Segment.gs)),
  row('C4 mem', 'LES', 'Gv,Mp', { no64: true, sizes: [2, 4], end: 'exit' }, loadFarPointer(Segment.es)),
  row('C5 mem', 'LDS', 'Gv,Mp', { no64: true, sizes: [2, 4], end: 'exit' }, loadFarPointer(Segment.ds)),
  row('0F B2 mem', 'LSS', 'Gv,Mp', exit, loadFarPointer(Segment.ss)),
  row('0F B4 mem', 'LFS', 'Gv,Mp', exit, loadFarPointer(Segment.fs)),
  row('0F B5 mem', 'LGS', 'Gv,Mp', exit, loadFarPointer(Segment.gs)),
];

const transferRows: RowDraft[] = [
  row('EA', 'JMP', 'Ap', { no64: true, sizes: [2, 4], end: 'branch' }, farDirect('farJump')),
  row('9A', 'CALL', 'Ap', { no64: true, sizes: [2, 4], end: 'branch' }, farDirect('farCall')),
  row('FF /5 mem', 'JMP', 'Mp', { sizes: [2, 4, 8], end: 'branch' }, farIndirect('farJump')),
  row('FF /3 mem', 'CALL', 'Mp', { sizes: [2, 4, 8], end: 'branch' }, farIndirect('farCall')),
  row('CB', 'RETF', '', { sizes: [2, 4, 8], end: 'branch' }, farReturn(false)),
  row('CA', 'RETF', 'Iw', { sizes: [2, 4, 8], end: 'branch' }, farReturn(true)),
  row('CF', 'IRET', '', { sizes: [2, 4, 8], end: 'branch' }, interruptReturn),
  row('CC', 'INT3', '', branch, (b) => {
    interrupt(b, x.i32(3), EventKind.software, 0);
    b.leave();
  }),
  row('CD', 'INT', 'Ib', branch, (b) => {
    interrupt(b, x.wrap(b.immediate()), EventKind.software, 1);
    b.leave();
  }),
  row('CE', 'INTO', '', { no64: true, end: 'branch' }, interruptOnOverflow),
  row('F1', 'INT1', '', branch, (b) => {
    interrupt(b, x.i32(1), EventKind.icebp, 0);
    b.leave();
  }),
  row('0F 05', 'SYSCALL', '', branch, transfer('syscall')),
  row('0F 07', 'SYSRET', '', { sizes: [4, 8], end: 'branch' }, (b) => {
    b.call('sysret', x.i32(b.size));
    b.leave();
  }),
  row('0F 34', 'SYSENTER', '', branch, transfer('sysenter')),
  row('0F 35', 'SYSEXIT', '', { sizes: [4, 8], end: 'branch' }, (b) => {
    b.call('sysexit', x.i32(b.size));
    b.leave();
  }),
];

const portRows: RowDraft[] = [
  row('E4', 'IN', 'AL,Ib', exit, inImmediate),
  row('E5', 'IN', 'rAX,Ib', { sizes: [2, 4], end: 'exit' }, inImmediate),
  row('EC', 'IN', 'AL,DX', exit, inRegister),
  row('ED', 'IN', 'rAX,DX', { sizes: [2, 4], end: 'exit' }, inRegister),
  row('E6', 'OUT', 'Ib,AL', exit, outImmediate),
  row('E7', 'OUT', 'Ib,rAX', { sizes: [2, 4], end: 'exit' }, outImmediate),
  row('EE', 'OUT', 'DX,AL', exit, outRegister),
  row('EF', 'OUT', 'DX,rAX', { sizes: [2, 4], end: 'exit' }, outRegister),
  row('6C', 'INSB', '', { ...portString, fixedSize: 1 }, stringPorts('ins')),
  row('6D', 'INS', '', { ...portString, sizes: [2, 4] }, stringPorts('ins')),
  row('6E', 'OUTSB', '', { ...portString, fixedSize: 1 }, stringPorts('outs')),
  row('6F', 'OUTS', '', { ...portString, sizes: [2, 4] }, stringPorts('outs')),
];

const registerRows: RowDraft[] = [
  // Reading changes nothing else, so the block goes on.
  row('0F 20', 'MOV', 'Rq,Cq', { fixedSize: 8 }, (b) => {
    const number = b.let(b.registerNumber(1));
    const exists = x.and(x.shrU(x.i32(controlRegisters), number), 1);
    b.if(x.or(b.field('i32', Cpu.cpl), x.eqz(exists)), () => {
      b.call('requireControl', number);
    });
    const [cr0, cr2, cr3, cr4, cr8] = [Cpu.cr0, Cpu.cr2, Cpu.cr3, Cpu.cr4, Cpu.cr8].map((at) =>
      b.field('i64', at, 8),
    ) as [I64, I64, I64, I64, I64];
    const upper = x.select(x.eq(number, 4), cr4, cr8);
    b.write(
      0,
      x.select(x.eqz(number), cr0, x.select(x.eq(number, 2), cr2, x.select(x.eq(number, 3), cr3, upper))),
    );
  }),
  row('0F 22', 'MOV', 'Cq,Rq', { fixedSize: 8, end: 'exit' }, (b) => {
    b.call('writeControl', b.registerNumber(0), b.read(1));
  }),
  row('0F 21', 'MOV', 'Rq,Dq', { fixedSize: 8, end: 'exit' }, (b) => {
    b.write(0, b.callValue('i64', 'readDebug', b.registerNumber(1)));
  }),
  row('0F 23', 'MOV', 'Dq,Rq', { fixedSize: 8, end: 'exit' }, (b) => {
    b.call('writeDebug', b.registerNumber(0), b.read(1));
  }),
  row('0F 06', 'CLTS', '', exit, only('clearTaskSwitched')),
  row('0F 08', 'INVD', '', exit, only('flushCaches')),
  row('0F 09', 'WBINVD', '', exit, only('flushCaches')),
  row('F4', 'HLT', '', exit, only('halt')),
  row('FA', 'CLI', '', exit, only('clearInterruptFlag')),
  row('FB', 'STI', '', exit, setInterruptFlag),
  row('0F 30', 'WRMSR', '', exit, (b) => {
    requireFeature(b, CpuFeature.msr);
    b.call('writeMsr');
  }),
  row('0F 32', 'RDMSR', '', exit, (b) => {
    requireFeature(b, CpuFeature.msr);
    b.call('readMsr');
  }),
  row('0F 31', 'RDTSC', '', exit, readTimestamp(false)),
  row('0F 01 F9', 'RDTSCP', '', exit, readTimestamp(true)),
  row('0F 33', 'RDPMC', '', exit, only('readPerformanceCounter')),
  row('0F A2', 'CPUID', '', exit, (b) => {
    requireFeature(b, CpuFeature.cpuid);
    b.call('cpuid');
  }),
  row('NP 0F 01 D0', 'XGETBV', '', exit, only('readExtendedControl')),
  row('NP 0F 01 D1', 'XSETBV', '', exit, only('writeExtendedControl')),
  row('0F 01 F8', 'SWAPGS', '', { only64: true, end: 'exit' }, only('swapgs')),
  row('NP 0F 01 CA', 'CLAC', '', exit, alignmentFlag(0)),
  row('NP 0F 01 CB', 'STAC', '', exit, alignmentFlag(1)),
];

const tableRows: RowDraft[] = [
  row('0F 01 /0 mem', 'SGDT', 'M', exit, storeTable(0)),
  row('0F 01 /1 mem', 'SIDT', 'M', exit, storeTable(1)),
  row('0F 01 /2 mem', 'LGDT', 'M', { sizes: [2, 4, 8], end: 'exit' }, loadTable(0)),
  row('0F 01 /3 mem', 'LIDT', 'M', { sizes: [2, 4, 8], end: 'exit' }, loadTable(1)),
  row('0F 01 /4 mem', 'SMSW', 'Mw', exit, storeStatus),
  row('0F 01 /4 reg', 'SMSW', 'Rv', exit, storeStatus),
  row('0F 01 /6', 'LMSW', 'Ew', exit, (b) => {
    b.call('requirePrivilege');
    b.call('loadMachineStatus', low(b.read(0)));
  }),
  row('0F 01 /7 mem', 'INVLPG', 'M', exit, (b) => {
    b.call('requirePrivilege');
    b.call('invalidatePage', b.linearAddress(1, 'read'));
  }),
  row('0F 00 /0 mem', 'SLDT', 'Mw', exit, storeSystemSelector(Segment.ldtr)),
  row('0F 00 /0 reg', 'SLDT', 'Rv', exit, storeSystemSelector(Segment.ldtr)),
  row('0F 00 /1 mem', 'STR', 'Mw', exit, storeSystemSelector(Segment.tr)),
  row('0F 00 /1 reg', 'STR', 'Rv', exit, storeSystemSelector(Segment.tr)),
  row('0F 00 /2', 'LLDT', 'Ew', exit, (b) => {
    b.call('requireProtectedMode');
    b.call('requirePrivilege');
    b.call('loadLocalTable', low(b.read(0)));
  }),
  row('0F 00 /3', 'LTR', 'Ew', exit, (b) => {
    b.call('requireProtectedMode');
    b.call('requirePrivilege');
    b.call('loadTaskRegister', low(b.read(0)));
  }),
  row('0F 00 /4', 'VERR', 'Ew', {}, verify('verifyRead')),
  row('0F 00 /5', 'VERW', 'Ew', {}, verify('verifyWrite')),
  row('0F 02', 'LAR', 'Gv,Ew', {}, inspect('loadAccessRights')),
  row('0F 03', 'LSL', 'Gv,Ew', {}, inspect('loadSegmentLimit')),
  row('63', 'ARPL', 'Ew,Gw', { no64: true }, adjustPrivilege),
];

export const rows: RowDraft[] = [...segmentRows, ...transferRows, ...portRows, ...registerRows, ...tableRows];
