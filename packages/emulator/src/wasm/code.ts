/** Body of one function: statements are emitted as they are called; control flow is structured. */
import { Bytes } from './bytes.ts';
import { coerce, emitStore } from './expr.ts';
import type { Expr, I32, Operand, WasmType } from './expr.ts';

export const typeCode = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b } as const;

export interface FunctionType {
  params: readonly WasmType[];
  result?: WasmType | undefined;
}

/** Something callable by index: an import or a function of the module. */
export interface FunctionRef {
  readonly index: number;
  readonly type: FunctionType;
}

export interface Local<T extends WasmType = WasmType> extends Expr<T> {
  readonly index: number;
}

/** Target of branches: the depth at which its block or loop was opened. */
export interface Label {
  readonly depth: number;
}

const emptyBlock = 0x40;

type LocalPools = Record<WasmType, { locals: number[]; used: number }>;

export class Code {
  bytes = new Bytes();
  readonly #holes: { at: number; emit: () => void }[] = [];
  readonly #localTypes: WasmType[] = [];
  readonly #paramCount: number;
  #depth = 0;
  readonly #sharedLocals: LocalPools = {
    i32: { locals: [], used: 0 },
    i64: { locals: [], used: 0 },
    f32: { locals: [], used: 0 },
    f64: { locals: [], used: 0 },
    v128: { locals: [], used: 0 },
  };
  #pools: LocalPools | undefined;

  constructor(params: readonly WasmType[]) {
    this.#paramCount = params.length;
  }

  param<T extends WasmType>(type: T, index: number): Local<T> {
    return localAt(type, index);
  }

  /** A new local; 0 at first, except inside of `sharingLocals`. */
  local<T extends WasmType>(type: T): Local<T> {
    const pool = this.#pools?.[type];
    if (pool !== undefined) {
      const free = pool.locals[pool.used++];
      if (free !== undefined) return localAt(type, free);
      this.#localTypes.push(type);
      pool.locals.push(this.#paramCount + this.#localTypes.length - 1);
      return localAt(type, this.#paramCount + this.#localTypes.length - 1);
    }
    this.#localTypes.push(type);
    return localAt(type, this.#paramCount + this.#localTypes.length - 1);
  }

  /** Locals made in `body` may be those of an earlier `body`: a function of many independent parts needs few. */
  sharingLocals(body: () => void): void {
    if (this.#pools !== undefined) throw new Error('sharingLocals does not nest');
    const { i32, i64, f32, f64, v128 } = this.#sharedLocals;
    i32.used = i64.used = f32.used = f64.used = v128.used = 0;
    this.#pools = this.#sharedLocals;
    try {
      body();
    } finally {
      this.#pools = undefined;
    }
  }

  /** Evaluates `expr` now; the result can be used any number of times. Constants stay constants. */
  let<T extends WasmType>(expr: Expr<T>): Expr<T> {
    if (expr.constant !== undefined || expr.vectorConstant !== undefined || 'index' in expr) return expr;
    const local = this.local(expr.type);
    this.set(local, expr);
    return local;
  }

  /** A fresh local with the value of `expr`, to be changed by `set`. */
  variable<T extends WasmType>(expr: Expr<T>): Local<T> {
    const local = this.local(expr.type);
    this.set(local, expr);
    return local;
  }

  set<T extends WasmType>(local: Local<T>, value: Operand): void {
    coerce(local.type, value).emit(this.bytes);
    this.bytes.u8(0x21);
    this.bytes.u32(local.index);
  }

  /** Stores the low `bytes` bytes of `value` at `address + offset`. */
  store(bytes: number, address: I32, value: Expr, offset = 0): void {
    address.emit(this.bytes);
    value.emit(this.bytes);
    emitStore(this.bytes, value.type, bytes, offset);
  }

  /** Evaluates for its effects. */
  drop(expr: Expr): void {
    expr.emit(this.bytes);
    this.bytes.u8(0x1a);
  }

  /** Calls a function without result. */
  call(target: FunctionRef, ...args: Operand[]): void {
    if (target.type.result !== undefined) throw new Error('a call with a result is an expression');
    emitCall(this.bytes, target, args);
  }

  /** How many blocks, loops and arms of `if` are open. */
  get nesting(): number {
    return this.#depth;
  }

  if(condition: I32, then: () => void, otherwise?: () => void): void {
    if (condition.constant !== undefined) {
      if (condition.constant !== 0n) then();
      else otherwise?.();
      return;
    }
    condition.emit(this.bytes);
    this.bytes.u8(0x04);
    this.bytes.u8(emptyBlock);
    this.#depth++;
    then();
    if (otherwise !== undefined) {
      this.bytes.u8(0x05);
      otherwise();
    }
    this.#depth--;
    this.bytes.u8(0x0b);
  }

  /** Branching to the label leaves the block. */
  block(body: (label: Label) => void): void {
    this.#structured(0x02, body);
  }

  /** Branching to the label starts the next round. */
  loop(body: (label: Label) => void): void {
    this.#structured(0x03, body);
  }

  #structured(opcode: number, body: (label: Label) => void): void {
    this.bytes.raw([opcode, emptyBlock]);
    this.#depth++;
    body({ depth: this.#depth });
    this.#depth--;
    this.bytes.u8(0x0b);
  }

  /** Opens a block or a loop that `close` ends; for control flow that is not nested in the caller's functions. */
  open(kind: 'block' | 'loop'): Label {
    this.bytes.raw([kind === 'block' ? 0x02 : 0x03, emptyBlock]);
    this.#depth++;
    return { depth: this.#depth };
  }

  close(): void {
    this.#depth--;
    this.bytes.u8(0x0b);
  }

  /** What `emit` emits when the rest of the function is known stands here. It opens no label of its own that is still needed. */
  later(emit: () => void): void {
    this.#holes.push({ at: this.bytes.length, emit });
  }

  /** Runs `emit`; when it throws, everything it emitted is taken back and the error is returned. */
  attempt(emit: () => void): unknown {
    const depth = this.#depth;
    const { length } = this.bytes;
    const holes = this.#holes.length;
    try {
      emit();
      return undefined;
    } catch (error) {
      this.#depth = depth;
      this.bytes.length = length;
      this.#holes.length = holes;
      return error;
    }
  }

  /** Legacy exception handling: `handler` runs when `body` throws `tag`. */
  tryCatch(tag: number, body: () => void, handler: () => void): void {
    this.bytes.raw([0x06, emptyBlock]);
    this.#depth++;
    body();
    this.bytes.u8(0x07);
    this.bytes.u32(tag);
    handler();
    this.#depth--;
    this.bytes.u8(0x0b);
  }

  throw(tag: number): void {
    this.bytes.u8(0x08);
    this.bytes.u32(tag);
  }

  br(label: Label): void {
    this.bytes.u8(0x0c);
    this.bytes.u32(this.#depth - label.depth);
  }

  brIf(label: Label, condition: I32): void {
    condition.emit(this.bytes);
    this.bytes.u8(0x0d);
    this.bytes.u32(this.#depth - label.depth);
  }

  /** Jumps to `labels[index]`, or to `otherwise`. */
  brTable(index: I32, labels: readonly Label[], otherwise: Label): void {
    index.emit(this.bytes);
    this.bytes.u8(0x0e);
    this.bytes.u32(labels.length);
    for (const label of [...labels, otherwise]) this.bytes.u32(this.#depth - label.depth);
  }

  return(value?: Expr): void {
    value?.emit(this.bytes);
    this.bytes.u8(0x0f);
  }

  unreachable(): void {
    this.bytes.u8(0x00);
  }

  /** The code, with what was to be emitted later in its places. */
  #whole(): Bytes {
    const body = this.bytes;
    const out = new Bytes();
    let from = 0;
    for (const { at, emit } of this.#holes) {
      out.raw(body.view().subarray(from, at));
      from = at;
      this.bytes = out;
      emit();
    }
    this.bytes = body;
    out.raw(body.view().subarray(from));
    return out;
  }

  /** Locals, code and end, as the code section wants them. */
  finish(): Bytes {
    const code = this.#whole();
    const out = new Bytes();
    const runs: [WasmType, number][] = [];
    for (const type of this.#localTypes) {
      const last = runs.at(-1);
      if (last?.[0] === type) last[1]++;
      else runs.push([type, 1]);
    }
    out.u32(runs.length);
    for (const [type, count] of runs) {
      out.u32(count);
      out.u8(typeCode[type]);
    }
    out.append(code);
    out.u8(0x0b);
    return out;
  }
}

class LocalExpr<T extends WasmType> implements Local<T> {
  readonly type: T;
  readonly constant = undefined;
  readonly index: number;

  constructor(type: T, index: number) {
    this.type = type;
    this.index = index;
  }

  emit(out: Bytes): void {
    out.u8(0x20);
    out.u32(this.index);
  }
}

function localAt<T extends WasmType>(type: T, index: number): Local<T> {
  return new LocalExpr(type, index);
}

function emitCall(out: Bytes, target: FunctionRef, args: readonly Operand[]): void {
  const { params } = target.type;
  if (args.length !== params.length)
    throw new Error(`function ${target.index} takes ${params.length} arguments, got ${args.length}`);
  params.forEach((type, i) => coerce(type, args[i] ?? 0).emit(out));
  out.u8(0x10);
  out.u32(target.index);
}

/** A call whose result is a value. */
export function callExpr<T extends WasmType>(type: T, target: FunctionRef, ...args: Operand[]): Expr<T> {
  if (target.type.result !== type)
    throw new Error(`function ${target.index} gives ${target.type.result ?? 'nothing'}, not ${type}`);
  return {
    type,
    emit(out) {
      emitCall(out, target, args);
    },
  };
}

/** An indirect call through table 0 of a function type of the module. */
export function callIndirect<T extends WasmType>(
  type: T,
  typeIndex: number,
  slot: I32,
  ...args: Expr[]
): Expr<T> {
  return {
    type,
    emit(out) {
      for (const arg of args) arg.emit(out);
      slot.emit(out);
      out.u8(0x11);
      out.u32(typeIndex);
      out.u8(0);
    },
  };
}
