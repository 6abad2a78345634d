/**
 * A region: hot blocks that jump to, call and return to each other, translated into one WebAssembly function with the signature of
 * an interpreter handler, (vCPU block, record) → next record or 0. It is entered from the head records of its entries, which
 * hold the number of their block.
 *
 * Always: on leaving, the vCPU block holds the state exactly as the interpreter would have it at that record; the
 * budget (Cpu.remaining) has been paid up to the end of the block in which the region is left.
 */
import { callExpr, callIndirect } from '../wasm/code.ts';
import type { Code, Label, Local } from '../wasm/code.ts';
import * as x from '../wasm/expr.ts';
import type { I32, I64 } from '../wasm/expr.ts';
import type { CoreFunctionRefs } from '../cpu/builder.ts';
import { Block, Cpu, Machine, ModeKey, Record, Region, Tlb, recordBytes } from '../cpu/layout.ts';
import type { DecodedBlock, DecodedInstruction } from './decoded.ts';
import { jumpPlace, pageOf } from './graph.ts';
import type { RegionGraph } from './graph.ts';
import { Structure } from './structure.ts';
import type { Item, Scope } from './structure.ts';
import { NotTranslatable } from './region-state.ts';
import type { RegionState } from './region-state.ts';
import { TranslatorBuilder } from './translator-builder.ts';
import { StraightLine } from './straight-line.ts';

interface RegionOptions {
  code: Code;
  graph: RegionGraph;
  functions: CoreFunctionRefs;
  handlerTypeIndex: number;
  /** Of the function in the handlers' table. */
  slot: number;
}

const hasVex = ({ blocks }: RegionGraph): boolean =>
  blocks.some(({ instructions }) => instructions.some(({ row }) => row.encoding.vex));

export class RegionEmitter {
  readonly #code: Code;
  readonly #graph: RegionGraph;
  readonly #functions: CoreFunctionRefs;
  readonly #handlerTypeIndex: number;
  readonly #slot: number;
  readonly #state: RegionState;
  readonly #remaining: Local<'i64'>;
  readonly #exitRip: Local<'i64'>;
  readonly #exitRecord: Local<'i32'>;
  readonly #target: Local<'i32'>;
  readonly #scratch: Local<'i32'>;
  readonly #codeChanges: Local<'i32'>;
  readonly #structure: Structure;
  readonly #open: { scope: Scope; label: Label }[] = [];
  readonly #nodeAt = new Map<number, number>();
  #bailLabel: Label | undefined;
  #leaveLabel: Label | undefined;
  /** What is being emitted: its place in the layout, and the block when it is one. */
  #item = 0;
  #block: DecodedBlock | undefined;
  /** Instructions executed through their interpreter handler. */
  callouts = 0;

  constructor(options: RegionOptions) {
    const { code } = options;
    this.#code = code;
    this.#graph = options.graph;
    this.#functions = options.functions;
    this.#handlerTypeIndex = options.handlerTypeIndex;
    this.#slot = options.slot;
    const cpu = code.param('i32', 0);
    this.#remaining = code.local('i64');
    this.#state = {
      remaining: this.#remaining,
      cpu,
      xmm: Array.from({ length: 16 }, () => code.local('v128')),
      upper: Array.from({ length: hasVex(options.graph) ? 16 : 0 }, () => code.local('v128')),
      straight: new StraightLine(code, cpu),
      gpr: Array.from({ length: 16 }, () => code.local('i64')),
      flagResult: code.local('i64'),
      flagAux: code.local('i32'),
      ripPage: code.local('i64'),
      tlbRead: code.local('i32'),
      tlbWrite: code.local('i32'),
      used: {
        registers: 0,
        written: 0,
        flags: false,
        vectors: 0,
        vectorsWritten: 0,
        uppers: 0,
        uppersWritten: 0,
      },
    };
    this.#exitRip = code.local('i64');
    this.#exitRecord = code.local('i32');
    this.#target = code.local('i32');
    this.#scratch = code.local('i32');
    this.#codeChanges = code.local('i32');
    const { blocks, edges, entries } = this.#graph;
    this.#structure = new Structure(blocks.length, edges, entries);
    blocks.forEach((block, i) => this.#nodeAt.set(block.place, i));
  }

  /** Emits the whole function body. */
  emit(): void {
    const code = this.#code;
    code.later(() => {
      this.#emitPrologue();
    });
    this.#bailLabel = code.open('block');
    const again = code.open('loop');
    this.#leaveLabel = code.open('block');
    this.#emitItems();
    code.unreachable();
    code.close();
    this.#emitLeaving(again);
    code.close();
    code.unreachable();
    code.close();
    this.#flush();
    code.return(this.#exitRecord);
    code.unreachable();
  }

  /** On to the block at `exitRip`: round again when it is an entry of this very region, else out. */
  #emitLeaving(again: Label): void {
    const code = this.#code;
    const state = this.#state;
    code.store(8, state.cpu, this.#exitRip, Cpu.rip);
    code.store(8, state.cpu, this.#remaining, Cpu.remaining);
    code.set(this.#exitRecord, callExpr('i32', this.#functions.followJump, state.cpu));
    code.set(this.#remaining, x.load('i64', 8, state.cpu, Cpu.remaining));
    code.if(this.#exitRecord, () => {
      code.if(x.eq(x.load('i32', 2, this.#exitRecord, Record.handler), this.#slot), () => {
        code.set(state.ripPage, x.load('i64', 8, state.cpu, Cpu.ripPage));
        this.#takeEntry(this.#exitRecord);
        code.br(again);
      });
    });
    this.#flush();
    code.return(this.#exitRecord);
  }

  /** The block that is entered by its head; whoever paid for it did so before it pays again. */
  #takeEntry(head: I32): void {
    const code = this.#code;
    code.set(this.#remaining, x.add(this.#remaining, x.load('i64', 1, head, Record.toEnd)));
    if (this.#graph.entries.length > 1) code.set(this.#target, x.load('i32', 4, head, Record.displacement));
  }

  #emitPrologue(): void {
    const code = this.#code;
    const state = this.#state;
    const head = code.param('i32', 1);
    code.set(state.ripPage, x.load('i64', 8, state.cpu, Cpu.ripPage));
    code.set(state.tlbRead, x.load('i32', 4, state.cpu, Cpu.tlbRead));
    code.set(state.tlbWrite, x.load('i32', 4, state.cpu, Cpu.tlbWrite));
    this.#reloadUsed();
    code.store(4, head, x.load('i32', 4, x.i32(Region.machine), Machine.regionClock), Record.entered);
    this.#takeEntry(head);
  }

  /** Takes over what the region uses, which is known when all of it has been emitted. */
  #reload(): void {
    this.#code.later(() => {
      this.#reloadUsed();
    });
  }

  /** Puts what the region has changed where the interpreter looks for it. */
  #flush(): void {
    this.#code.later(() => {
      this.#flushUsed();
    });
  }

  #reloadUsed(): void {
    const code = this.#code;
    const state = this.#state;
    code.set(this.#remaining, x.load('i64', 8, state.cpu, Cpu.remaining));
    state.gpr.forEach((local, n) => {
      if ((state.used.registers & (1 << n)) !== 0)
        code.set(local, x.load('i64', 8, state.cpu, Cpu.gpr + n * 8));
    });
    state.xmm.forEach((local, n) => {
      if ((state.used.vectors & (1 << n)) !== 0)
        code.set(local, x.load('v128', 16, state.cpu, Cpu.xmm + n * 16));
    });
    state.upper.forEach((local, n) => {
      if ((state.used.uppers & (1 << n)) !== 0)
        code.set(local, x.load('v128', 16, state.cpu, Cpu.ymmHigh + n * 16));
    });
    if (!state.used.flags) return;
    code.set(state.flagResult, x.load('i64', 8, state.cpu, Cpu.flagResult));
    code.set(state.flagAux, x.load('i32', 4, state.cpu, Cpu.flagAux));
  }

  #flushUsed(): void {
    const code = this.#code;
    const state = this.#state;
    code.store(8, state.cpu, this.#remaining, Cpu.remaining);
    state.gpr.forEach((local, n) => {
      if ((state.used.written & (1 << n)) !== 0) code.store(8, state.cpu, local, Cpu.gpr + n * 8);
    });
    state.xmm.forEach((local, n) => {
      if ((state.used.vectorsWritten & (1 << n)) !== 0) code.store(16, state.cpu, local, Cpu.xmm + n * 16);
    });
    state.upper.forEach((local, n) => {
      if ((state.used.uppersWritten & (1 << n)) !== 0) code.store(16, state.cpu, local, Cpu.ymmHigh + n * 16);
    });
    if (!state.used.flags) return;
    code.store(8, state.cpu, state.flagResult, Cpu.flagResult);
    code.store(4, state.cpu, state.flagAux, Cpu.flagAux);
  }

  #emitItems(): void {
    const { items, scopes } = this.#structure;
    let next = 0;
    items.forEach((item, i) => {
      while (this.#open.at(-1)?.scope.end === i) this.#closeScope();
      for (; scopes[next]?.start === i; next++) {
        const scope = scopes[next] as Scope;
        this.#open.push({ scope, label: this.#code.open(scope.kind) });
      }
      this.#item = i;
      this.#emitItem(item);
    });
    while (this.#open.length > 0) this.#closeScope();
  }

  #emitItem(item: Item): void {
    if ('node' in item) {
      this.#emitBlock(this.#graph.blocks[item.node] as DecodedBlock);
      return;
    }
    const [first, second] = item.targets as [number, number];
    if (item.targets.length === 2) {
      this.#code.brIf(this.#route(second).label, x.eq(this.#target, second));
      this.#code.br(this.#route(first).label);
      return;
    }
    const base = Math.min(...item.targets);
    const labels = Array.from({ length: Math.max(...item.targets) - base + 1 }, (_, i) =>
      item.targets.includes(base + i) ? this.#route(base + i).label : this.#route(first).label,
    );
    this.#code.brTable(x.sub(this.#target, base), labels, this.#route(first).label);
  }

  #closeScope(): void {
    this.#open.pop();
    this.#code.close();
  }

  #emitBlock(block: DecodedBlock): void {
    const code = this.#code;
    this.#block = block;
    this.#state.straight.forget();
    code.set(this.#remaining, x.sub(this.#remaining, this.#paidBy(block)));
    code.if(x.ltS(this.#remaining, 0), () => {
      code.set(this.#remaining, x.add(this.#remaining, this.#paidBy(block)));
      this.#leaveTo(x.add(this.#state.ripPage, block.pageOffset));
    });
    for (const instruction of block.instructions) {
      if (!this.#emitInstruction(instruction)) return;
    }
    const last = block.instructions.at(-1) as DecodedInstruction;
    if (block.fallsThrough)
      this.#follow(block.end, x.add(this.#state.ripPage, last.pageOffset + last.length));
    else if (last.row.options.end !== 'branch') this.#bail(last.record + recordBytes);
  }

  /** What the interpreter pays on entering the block: all of its records, also behind one that can't be translated. */
  #paidBy(block: DecodedBlock): number {
    return block.instructions.length + block.untranslated;
  }

  /** Emits one instruction; false when control does not come behind it. */
  #emitInstruction(instruction: DecodedInstruction): boolean {
    let goesOn = false;
    this.#code.sharingLocals(() => {
      goesOn = this.#emitWithLocals(instruction);
    });
    return goesOn;
  }

  #emitWithLocals(instruction: DecodedInstruction): boolean {
    const code = this.#code;
    const { end } = instruction.row.options;
    const error = code.attempt(() => {
      const builder = new TranslatorBuilder({
        code,
        instruction,
        state: this.#state,
        functions: this.#functions,
        exits: {
          bail: () => {
            this.#bail(instruction.record);
          },
          relative: (taken, target) => {
            const block = this.#block as DecodedBlock;
            this.#follow(taken ? jumpPlace(block) : block.end, target);
          },
          indirect: (target) => {
            this.#leaveIndirectly(target);
          },
          callout: () => {
            this.#emitCallout(instruction);
          },
        },
      });
      instruction.row.semantics(builder);
    });
    if (error === undefined) return end !== 'branch';
    if (!(error instanceof NotTranslatable)) throw error;
    if (end !== undefined) {
      this.#bail(instruction.record);
      return false;
    }
    this.#emitCallout(instruction);
    return true;
  }

  /** Executes the instruction by its interpreter handler, with the state in the vCPU block. */
  #emitCallout(instruction: DecodedInstruction): void {
    const code = this.#code;
    const state = this.#state;
    this.callouts++;
    this.#state.straight.forget();
    this.#flush();
    code.store(4, state.cpu, x.i32(instruction.record), Cpu.calloutRecord);
    const changes = x.load('i32', 4, x.i32(Region.machine), Machine.codeChanges);
    code.set(this.#codeChanges, changes);
    const slot = x.load('i32', 2, x.i32(instruction.record), Record.handler);
    code.set(
      this.#scratch,
      callIndirect('i32', this.#handlerTypeIndex, slot, state.cpu, x.i32(instruction.record)),
    );
    code.store(4, state.cpu, x.i32(0), Cpu.calloutRecord);
    // It may have gone elsewhere, or have stored into the code of this very region.
    const elsewhere = x.ne(this.#scratch, instruction.record + recordBytes);
    code.if(x.or(elsewhere, x.ne(this.#codeChanges, changes)), () => {
      code.return(this.#scratch);
    });
    this.#reload();
  }

  #bail(record: number): void {
    this.#code.set(this.#exitRecord, record);
    this.#code.br(this.#bailLabel as Label);
  }

  /** Goes on at `rip` outside of the region. */
  #leaveTo(rip: I64): void {
    this.#code.set(this.#exitRip, this.#cut(rip));
    this.#code.br(this.#leaveLabel as Label);
  }

  /** A return that goes behind a call of this region stays inside of it; anything else leaves. */
  #leaveIndirectly(target: I64): void {
    const code = this.#code;
    const { place } = this.#block as DecodedBlock;
    const node = this.#nodeAt.get(place);
    code.set(this.#exitRip, this.#cut(target));
    for (const { from, to } of this.#graph.edges) {
      if (from !== node) continue;
      const site = (this.#graph.blocks[to] as DecodedBlock).place - pageOf(place) * 4096;
      code.if(x.eq(this.#exitRip, this.#cut(x.add(this.#state.ripPage, site))), () => {
        this.#goTo(to);
      });
    }
    code.br(this.#leaveLabel as Label);
  }

  #cut(rip: I64): I64 {
    const key = this.#graph.blocks[0]?.instructions[0]?.key ?? 0;
    return (key & ModeKey.codeMask) === ModeKey.code64 ? rip : x.and(rip, 0xffff_ffffn);
  }

  /** Goes on at a place of the region, or outside of it at `rip`. */
  #follow(place: number | undefined, rip: I64): void {
    const node = place === undefined ? undefined : this.#nodeAt.get(place);
    if (node === undefined) this.#leaveTo(rip);
    else this.#goTo(node);
  }

  #goTo(node: number): void {
    const { label, dispatched } = this.#route(node);
    const target = this.#graph.blocks[node] as DecodedBlock;
    if (this.#block !== undefined && pageOf(target.place) !== pageOf(this.#block.place))
      this.#enterPage(target, pageOf(target.place) - pageOf(this.#block.place));
    if (dispatched) this.#code.set(this.#target, node);
    this.#code.br(label);
  }

  /** Goes over to a page so many pages ahead; leaves when it is not mapped as it was, or its code has changed. */
  #enterPage(target: DecodedBlock, ahead: number): void {
    const code = this.#code;
    const state = this.#state;
    const page = code.let(this.#cut(x.add(state.ripPage, ahead * 4096)));
    const index = x.and(x.shrU(x.wrap(page), 8), (Tlb.entries - 1) * Tlb.entryBytes);
    const entry = code.let(x.add(x.load('i32', 4, state.cpu, Cpu.tlbExecute), index));
    const misses = x.geU(x.xor(x.load('i64', 8, entry, Tlb.tag), page), x.i64(4096));
    const host = x.add(x.load('i32', 4, entry, Tlb.addend), x.wrap(page));
    const changes = x.load('i32', 4, x.i32(target.header), Block.changes);
    const elsewhere = x.or(x.ne(host, target.hostPage | 0), x.ne(changes, target.changes | 0));
    code.if(x.or(misses, elsewhere), () => {
      this.#leaveTo(x.add(page, target.pageOffset));
    });
    code.set(state.ripPage, page);
    code.store(8, state.cpu, page, Cpu.ripPage);
  }

  /** Where the present item branches to reach a node. */
  #route(node: number): { label: Label; dispatched: boolean } {
    const { item, dispatched } = this.#structure.route(this.#item, node);
    const found = this.#open.find(({ scope }) =>
      item > this.#item
        ? scope.kind === 'block' && scope.end === item
        : scope.kind === 'loop' && scope.start === item,
    );
    if (found === undefined) throw new Error(`no scope leads from item ${this.#item} to ${item}`);
    return { label: found.label, dispatched };
  }
}
