/**
 * A region: hot blocks of one page that jump to, call and return to each other, translated into one WebAssembly function with the signature of
 * an interpreter handler, (vCPU block, record) → next record or 0. It is entered from the head record of its first block.
 *
 * Always: on leaving, the vCPU block holds the state exactly as the interpreter would have it at that record; the
 * budget (Cpu.remaining) has been paid up to the end of the block in which the region is left.
 */
import { callExpr, callIndirect } from '../wasm/code.ts';
import type { Code, Label, Local } from '../wasm/code.ts';
import * as x from '../wasm/expr.ts';
import type { I64 } from '../wasm/expr.ts';
import type { CoreFunctionRefs } from '../cpu/builder.ts';
import { Cpu, Machine, ModeKey, Record, Region, recordBytes } from '../cpu/layout.ts';
import type { DecodedBlock, DecodedInstruction } from './decoded.ts';
import { nestScopes } from './scopes.ts';
import type { Edge, Scope } from './scopes.ts';
import { NotTranslatable } from './region-state.ts';
import type { RegionState } from './region-state.ts';
import { TranslatorBuilder } from './translator-builder.ts';
import { StraightLine } from './straight-line.ts';

export interface RegionGraph {
  /** In reverse postorder; the first is the entry. */
  blocks: readonly DecodedBlock[];
  edges: readonly Edge[];
}

/** Offset in the page that a relative jump reaches, or undefined when it leaves the page or cuts RIP to 16 bits. */
export function jumpOffset(instruction: DecodedInstruction): number | undefined {
  if (instruction.size === 2 || !instruction.row.operands.some((o) => o.place === 'relative'))
    return undefined;
  const target = instruction.pageOffset + instruction.length + Number(instruction.immediate);
  return target >= 0 && target < 4096 ? target : undefined;
}

/** Offsets at which control can go on inside of the page. */
export function successors(block: DecodedBlock): number[] {
  const last = block.instructions.at(-1);
  if (last === undefined) return [];
  const result: number[] = [];
  const isCall = last.row.mnemonic === 'CALL';
  const isJump = last.row.mnemonic === 'JMP';
  if (
    (block.fallsThrough ||
      (last.row.options.end === 'branch' && !isCall && !isJump && jumpsRelative(last))) &&
    block.end < 4096
  )
    result.push(block.end);
  const target = jumpOffset(last);
  if (target !== undefined) result.push(target);
  return result;
}

/** True when the block ends in a near return, which is translated. */
export function isReturn(block: DecodedBlock): boolean {
  const last = block.instructions.at(-1);
  return last?.row.mnemonic === 'RET' && last.row.options.end === 'branch';
}

function jumpsRelative(instruction: DecodedInstruction): boolean {
  return instruction.row.operands.some((o) => o.place === 'relative');
}

interface RegionOptions {
  code: Code;
  graph: RegionGraph;
  functions: CoreFunctionRefs;
  handlerTypeIndex: number;
}

export class RegionEmitter {
  private readonly code: Code;
  private readonly graph: RegionGraph;
  private readonly functions: CoreFunctionRefs;
  private readonly handlerTypeIndex: number;
  private readonly state: RegionState;
  private readonly remaining: Local<'i64'>;
  private readonly exitRip: Local<'i64'>;
  private readonly exitRecord: Local<'i32'>;
  private readonly exitTaken: Local<'i32'>;
  private readonly scratch: Local<'i32'>;
  private readonly codeChanges: Local<'i32'>;
  private readonly open: { scope: Scope; label: Label }[] = [];
  private readonly nodeAt = new Map<number, number>();
  private bailLabel: Label | undefined;
  private linkLabel: Label | undefined;
  private indirectLabel: Label | undefined;
  private node = 0;
  /** Instructions executed through their interpreter handler. */
  callouts = 0;

  constructor(
    options: RegionOptions,
    known: RegionState['used'] = { registers: 0, written: 0, flags: false, vectors: 0, vectorsWritten: 0 },
  ) {
    const { code } = options;
    this.code = code;
    this.graph = options.graph;
    this.functions = options.functions;
    this.handlerTypeIndex = options.handlerTypeIndex;
    const cpu = code.param('i32', 0);
    this.remaining = code.local('i64');
    this.state = {
      remaining: this.remaining,
      cpu,
      xmm: Array.from({ length: 16 }, () => code.local('v128')),
      straight: new StraightLine(code, cpu),
      gpr: Array.from({ length: 16 }, () => code.local('i64')),
      flagResult: code.local('i64'),
      flagAux: code.local('i32'),
      ripPage: code.local('i64'),
      tlbRead: code.local('i32'),
      tlbWrite: code.local('i32'),
      used: { ...known },
    };
    this.exitRip = code.local('i64');
    this.exitRecord = code.local('i32');
    this.exitTaken = code.local('i32');
    this.scratch = code.local('i32');
    this.codeChanges = code.local('i32');
    this.graph.blocks.forEach((block, i) => this.nodeAt.set(block.pageOffset, i));
  }

  get used(): RegionState['used'] {
    return this.state.used;
  }

  /** Emits the whole function body. */
  emit(): void {
    const { code } = this;
    this.linkLabel = code.open('block');
    this.bailLabel = code.open('block');
    this.indirectLabel = code.open('block');
    this.emitNodes();
    code.unreachable();
    code.close();
    code.store(8, this.state.cpu, this.exitRip, Cpu.rip);
    this.flush();
    code.return(callExpr('i32', this.functions.followJump, this.state.cpu));
    code.close();
    this.flush();
    code.return(this.exitRecord);
    code.close();
    code.store(8, this.state.cpu, this.exitRip, Cpu.rip);
    this.flush();
    code.return(callExpr('i32', this.functions.linkJump, this.state.cpu, this.exitRecord, this.exitTaken));
    code.unreachable();
    code.prologue(() => {
      this.emitPrologue();
    });
  }

  private emitPrologue(): void {
    const { code, state } = this;
    code.set(state.ripPage, x.load('i64', 8, state.cpu, Cpu.ripPage));
    code.set(state.tlbRead, x.load('i32', 4, state.cpu, Cpu.tlbRead));
    code.set(state.tlbWrite, x.load('i32', 4, state.cpu, Cpu.tlbWrite));
    // Whoever entered has paid for the first block, which pays again.
    this.reload();
    const [first] = this.graph.blocks;
    if (first !== undefined) code.set(this.remaining, x.add(this.remaining, this.paidBy(first)));
  }

  private reload(): void {
    const { code, state } = this;
    code.set(this.remaining, x.load('i64', 8, state.cpu, Cpu.remaining));
    state.gpr.forEach((local, n) => {
      if ((state.used.registers & (1 << n)) !== 0)
        code.set(local, x.load('i64', 8, state.cpu, Cpu.gpr + n * 8));
    });
    state.xmm.forEach((local, n) => {
      if ((state.used.vectors & (1 << n)) !== 0)
        code.set(local, x.load('v128', 16, state.cpu, Cpu.xmm + n * 16));
    });
    if (!state.used.flags) return;
    code.set(state.flagResult, x.load('i64', 8, state.cpu, Cpu.flagResult));
    code.set(state.flagAux, x.load('i32', 4, state.cpu, Cpu.flagAux));
  }

  private flush(): void {
    const { code, state } = this;
    code.store(8, state.cpu, this.remaining, Cpu.remaining);
    state.gpr.forEach((local, n) => {
      if ((state.used.written & (1 << n)) !== 0) code.store(8, state.cpu, local, Cpu.gpr + n * 8);
    });
    state.xmm.forEach((local, n) => {
      if ((state.used.vectorsWritten & (1 << n)) !== 0) code.store(16, state.cpu, local, Cpu.xmm + n * 16);
    });
    if (!state.used.flags) return;
    code.store(8, state.cpu, state.flagResult, Cpu.flagResult);
    code.store(4, state.cpu, state.flagAux, Cpu.flagAux);
  }

  private emitNodes(): void {
    const scopes = nestScopes(this.graph.edges);
    let next = 0;
    this.graph.blocks.forEach((block, i) => {
      while (this.open.at(-1)?.scope.end === i) this.closeScope();
      for (; scopes[next]?.start === i; next++) {
        const scope = scopes[next] as Scope;
        this.open.push({ scope, label: this.code.open(scope.kind) });
      }
      this.node = i;
      this.emitBlock(block);
    });
    while (this.open.length > 0) this.closeScope();
  }

  private closeScope(): void {
    this.open.pop();
    this.code.close();
  }

  private emitBlock(block: DecodedBlock): void {
    const { code } = this;
    this.state.straight.forget();
    code.set(this.remaining, x.sub(this.remaining, this.paidBy(block)));
    code.if(x.ltS(this.remaining, 0), () => {
      code.set(this.remaining, x.add(this.remaining, this.paidBy(block)));
      this.leaveTo(x.add(this.state.ripPage, block.pageOffset));
    });
    for (const instruction of block.instructions) {
      if (!this.emitInstruction(instruction)) return;
    }
    const last = block.instructions.at(-1) as DecodedInstruction;
    if (block.fallsThrough)
      this.follow(last.record + recordBytes, false, block.end, x.add(this.state.ripPage, block.end));
    else if (last.row.options.end !== 'branch') this.bail(last.record + recordBytes);
  }

  /** What the interpreter pays on entering the block: all of its records, also behind one that can't be translated. */
  private paidBy(block: DecodedBlock): number {
    return block.instructions.length + block.untranslated;
  }

  /** Emits one instruction; false when control does not come behind it. */
  private emitInstruction(instruction: DecodedInstruction): boolean {
    const { code } = this;
    const { end } = instruction.row.options;
    const error = code.attempt(() => {
      const builder = new TranslatorBuilder({
        code,
        instruction,
        state: this.state,
        functions: this.functions,
        exits: {
          bail: () => {
            this.bail(instruction.record);
          },
          relative: (taken, target) => {
            const offset = taken ? jumpOffset(instruction) : instruction.pageOffset + instruction.length;
            this.follow(instruction.record, taken, offset, target);
          },
          indirect: (target) => {
            this.leaveIndirectly(target);
          },
          callout: () => {
            this.emitCallout(instruction);
          },
        },
      });
      instruction.row.semantics(builder);
    });
    if (error === undefined) return end !== 'branch';
    if (!(error instanceof NotTranslatable)) throw error;
    if (end !== undefined) {
      this.bail(instruction.record);
      return false;
    }
    this.emitCallout(instruction);
    return true;
  }

  /** Executes the instruction by its interpreter handler, with the state in the vCPU block. */
  private emitCallout(instruction: DecodedInstruction): void {
    const { code, state } = this;
    this.callouts++;
    this.state.straight.forget();
    this.flush();
    code.store(4, state.cpu, x.i32(instruction.record), Cpu.calloutRecord);
    const changes = x.load('i32', 4, x.i32(Region.machine), Machine.codeChanges);
    code.set(this.codeChanges, changes);
    const slot = x.load('i32', 2, x.i32(instruction.record), Record.handler);
    code.set(
      this.scratch,
      callIndirect('i32', this.handlerTypeIndex, slot, state.cpu, x.i32(instruction.record)),
    );
    code.store(4, state.cpu, x.i32(0), Cpu.calloutRecord);
    // It may have gone elsewhere, or have stored into the code of this very region.
    const elsewhere = x.ne(this.scratch, instruction.record + recordBytes);
    code.if(x.or(elsewhere, x.ne(this.codeChanges, changes)), () => {
      code.return(this.scratch);
    });
    this.reload();
  }

  private bail(record: number): void {
    this.code.set(this.exitRecord, record);
    this.code.br(this.bailLabel as Label);
  }

  /** Leaves for the run loop, which goes on at `rip`. */
  private leaveTo(rip: I64): void {
    this.code.set(this.exitRip, this.cut(rip));
    this.code.br(this.indirectLabel as Label);
  }

  /** A return that goes behind a call of this region stays inside of it; anything else leaves. */
  private leaveIndirectly(target: I64): void {
    const { code } = this;
    code.set(this.exitRip, this.cut(target));
    for (const { from, to } of this.graph.edges) {
      const scope = from === this.node ? this.scopeFor(to) : undefined;
      if (scope === undefined) continue;
      const site = this.cut(x.add(this.state.ripPage, (this.graph.blocks[to] as DecodedBlock).pageOffset));
      code.if(x.eq(this.exitRip, site), () => {
        code.br(scope.label);
      });
    }
    code.br(this.indirectLabel as Label);
  }

  private cut(rip: I64): I64 {
    const key = this.graph.blocks[0]?.instructions[0]?.key ?? 0;
    return (key & ModeKey.codeMask) === ModeKey.code64 ? rip : x.and(rip, 0xffff_ffffn);
  }

  /** Goes on at an offset of the page: inside of the region where there is a scope for it, else through a link. */
  private follow(record: number, taken: boolean, offset: number | undefined, rip: I64): void {
    const target = offset === undefined ? undefined : this.nodeAt.get(offset);
    const scope = target === undefined ? undefined : this.scopeFor(target);
    if (scope !== undefined) {
      this.code.br(scope.label);
      return;
    }
    this.code.set(this.exitRip, this.cut(rip));
    this.code.set(this.exitRecord, record);
    this.code.set(this.exitTaken, taken ? 1 : 0);
    this.code.br(this.linkLabel as Label);
  }

  private scopeFor(target: number): { scope: Scope; label: Label } | undefined {
    const kind = target <= this.node ? 'loop' : 'block';
    return this.open.find(({ scope }) => scope.kind === kind && scope.target === target);
  }
}
