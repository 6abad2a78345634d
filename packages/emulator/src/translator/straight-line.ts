/**
 * What is known while control runs straight on inside of a region: fields of the vCPU block that are held in locals as well as in
 * memory, and checks that need not be made again. All of it is forgotten where control can come from elsewhere and where
 * code runs that may change it.
 */
import type { Code, Local } from '../wasm/code.ts';
import * as x from '../wasm/expr.ts';
import type { Expr } from '../wasm/expr.ts';
import { Cpu, Segment, SegmentField, segmentBytes } from '../cpu/layout.ts';

const selector = (segment: number): number => Cpu.segments + segment * segmentBytes + SegmentField.selector;

/** Offset in the vCPU block → type and bytes. */
const cacheable: ReadonlyMap<number, readonly ['i32' | 'i64', number]> = new Map([
  [Cpu.fsw, ['i32', 4]],
  [Cpu.fcw, ['i32', 4]],
  [Cpu.mxcsr, ['i32', 4]],
  [Cpu.fpuTrap, ['i32', 4]],
  [Cpu.features, ['i64', 8]],
  [selector(Segment.cs), ['i32', 2]],
  [selector(Segment.ds), ['i32', 2]],
]);

export class StraightLine {
  readonly #code: Code;
  readonly #cpu: Local<'i32'>;
  readonly #locals: ReadonlyMap<number, Local<'i32' | 'i64'>>;
  readonly #valid = new Set<number>();
  readonly #passed = new Set<string>();
  #depth = 0;

  constructor(code: Code, cpu: Local<'i32'>) {
    this.#code = code;
    this.#cpu = cpu;
    this.#locals = new Map([...cacheable].map(([offset, [type]]) => [offset, code.local(type)]));
  }

  /** Control may come from elsewhere, or anything may have changed. */
  forget(): void {
    this.#valid.clear();
    this.#passed.clear();
  }

  /** What is found out at this depth of nesting, and not deeper, holds for the next instruction too. */
  begin(): void {
    this.#depth = this.#code.nesting;
  }

  get #isUnconditional(): boolean {
    return this.#code.nesting === this.#depth;
  }

  /** The field's local, or undefined when it is to be loaded. */
  field(offset: number): Expr<'i32' | 'i64'> | undefined {
    const spec = cacheable.get(offset);
    if (spec === undefined) return undefined;
    if (!this.#valid.has(offset) && !this.#isUnconditional) return undefined;
    const local = this.#locals.get(offset) as Local<'i32' | 'i64'>;
    if (!this.#valid.has(offset)) {
      this.#load(offset);
      this.#valid.add(offset);
    }
    // A copy: the field may be written while the value is still needed.
    return this.#code.variable(local);
  }

  #load(offset: number): void {
    const [type, bytes] = cacheable.get(offset) ?? ['i32', 4];
    this.#code.set(this.#locals.get(offset) as Local<'i32' | 'i64'>, x.load(type, bytes, this.#cpu, offset));
  }

  /** The field has just been stored. */
  stored(offset: number): void {
    if (this.#valid.has(offset)) this.#load(offset);
  }

  /** A core function may have changed these fields. */
  changed(...offsets: readonly number[]): void {
    for (const offset of offsets) this.stored(offset);
  }

  /** True when the check `key` has been made before; else it is noted, if it is about to be made on every path. */
  hasPassed(key: string): boolean {
    if (this.#passed.has(key)) return true;
    if (this.#isUnconditional) this.#passed.add(key);
    return false;
  }

  /** Checks have to be made again. */
  forgetChecks(): void {
    this.#passed.clear();
  }
}
