/** A whole WebAssembly module, written section by section. https://webassembly.github.io/spec/core/binary/ */
import { Bytes } from './bytes.ts';
import { Code, typeCode } from './code.ts';
import type { FunctionRef, FunctionType } from './code.ts';

interface Limits {
  initial: number;
  maximum?: number;
}

const exportKind = { function: 0, table: 1, memory: 2, global: 3, tag: 4 } as const;

export class ModuleWriter {
  readonly #types: FunctionType[] = [];
  readonly #imports: Bytes[] = [];
  readonly #functions: { typeIndex: number; code: Code }[] = [];
  readonly #exports: Bytes[] = [];
  readonly #tags: number[] = [];
  #importedFunctions = 0;
  #importedTags = 0;
  #ownIndexUsed = false;
  #ownTable: Limits | undefined;
  readonly #elements: { offset: number; functions: readonly FunctionRef[] }[] = [];
  readonly #names: { ref: FunctionRef; name: string }[] = [];
  readonly #data: { address: number; bytes: Uint8Array }[] = [];

  typeIndex(type: FunctionType): number {
    const found = this.#types.findIndex(
      (t) =>
        t.result === type.result &&
        t.params.length === type.params.length &&
        t.params.every((p, i) => p === type.params[i]),
    );
    return found >= 0 ? found : this.#types.push(type) - 1;
  }

  #import(module: string, name: string, describe: (out: Bytes) => void): void {
    const out = new Bytes();
    out.name(module);
    out.name(name);
    describe(out);
    this.#imports.push(out);
  }

  /** An import may come behind own functions as long as none of their indices has been used. */
  importFunction(module: string, name: string, type: FunctionType): FunctionRef {
    if (this.#ownIndexUsed) throw new Error('imports come before the first use of an own function');
    const typeIndex = this.typeIndex(type);
    this.#import(module, name, (out) => {
      out.u8(exportKind.function);
      out.u32(typeIndex);
    });
    return { index: this.#importedFunctions++, type };
  }

  /** Shared memory; sizes in 64 KiB pages. */
  importSharedMemory(module: string, name: string, limits: Required<Limits>): void {
    this.#import(module, name, (out) => {
      out.raw([exportKind.memory, 3]);
      out.u32(limits.initial);
      out.u32(limits.maximum);
    });
  }

  importTable(module: string, name: string, initial: number): void {
    this.#import(module, name, (out) => {
      out.raw([exportKind.table, 0x70, 0]);
      out.u32(initial);
    });
  }

  importTag(module: string, name: string): number {
    const typeIndex = this.typeIndex({ params: [] });
    this.#import(module, name, (out) => {
      out.raw([exportKind.tag, 0]);
      out.u32(typeIndex);
    });
    return this.#importedTags++;
  }

  /** A tag without parameters. */
  tag(): number {
    this.#tags.push(this.typeIndex({ params: [] }));
    return this.#importedTags + this.#tags.length - 1;
  }

  table(limits: Limits): void {
    this.#ownTable = limits;
  }

  function(type: FunctionType): { ref: FunctionRef; code: Code } {
    const code = new Code(type.params);
    this.#functions.push({ typeIndex: this.typeIndex(type), code });
    const number = this.#functions.length - 1;
    const indexOf = (): number => {
      this.#ownIndexUsed = true;
      return this.#importedFunctions + number;
    };
    const ref = {
      type,
      get index(): number {
        return indexOf();
      },
    };
    return { ref, code };
  }

  export(name: string, kind: keyof typeof exportKind, index: number): void {
    const out = new Bytes();
    out.name(name);
    out.u8(exportKind[kind]);
    out.u32(index);
    this.#exports.push(out);
  }

  /** Puts functions into table 0 from `offset` on. */
  element(offset: number, functions: readonly FunctionRef[]): void {
    this.#elements.push({ offset, functions });
  }

  /** What debuggers and profilers call the function. */
  nameFunction(ref: FunctionRef, name: string): void {
    this.#names.push({ ref, name });
  }

  dataSegment(address: number, bytes: Uint8Array): void {
    this.#data.push({ address, bytes });
  }

  toBytes(): Uint8Array<ArrayBuffer> {
    const out = new Bytes();
    out.raw([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
    const section = (id: number, count: number, write: (body: Bytes) => void): void => {
      if (count === 0) return;
      const body = new Bytes();
      body.u32(count);
      write(body);
      out.u8(id);
      out.u32(body.length);
      out.append(body);
    };
    section(1, this.#types.length, (body) => {
      for (const { params, result } of this.#types) {
        body.u8(0x60);
        body.u32(params.length);
        body.raw(params.map((p) => typeCode[p]));
        body.raw(result === undefined ? [0] : [1, typeCode[result]]);
      }
    });
    section(2, this.#imports.length, (body) => {
      for (const entry of this.#imports) body.append(entry);
    });
    section(3, this.#functions.length, (body) => {
      for (const f of this.#functions) body.u32(f.typeIndex);
    });
    section(4, this.#ownTable === undefined ? 0 : 1, (body) => {
      const { initial, maximum } = this.#ownTable ?? { initial: 0 };
      body.raw([0x70, maximum === undefined ? 0 : 1]);
      body.u32(initial);
      if (maximum !== undefined) body.u32(maximum);
    });
    section(13, this.#tags.length, (body) => {
      for (const typeIndex of this.#tags) {
        body.u8(0);
        body.u32(typeIndex);
      }
    });
    section(7, this.#exports.length, (body) => {
      for (const entry of this.#exports) body.append(entry);
    });
    section(9, this.#elements.length, (body) => {
      for (const { offset, functions } of this.#elements) {
        body.raw([0, 0x41]);
        body.s32(offset);
        body.u8(0x0b);
        body.u32(functions.length);
        for (const f of functions) body.u32(f.index);
      }
    });
    section(10, this.#functions.length, (body) => {
      for (const f of this.#functions) {
        const code = f.code.finish();
        body.u32(code.length);
        body.append(code);
      }
    });
    section(11, this.#data.length, (body) => {
      for (const { address, bytes } of this.#data) {
        body.raw([0, 0x41]);
        body.s32(address);
        body.u8(0x0b);
        body.u32(bytes.length);
        body.raw(bytes);
      }
    });
    if (this.#names.length > 0) this.#writeNames(out);
    return out.view().slice();
  }

  /** The custom section "name", function names only (core specification, appendix 7.4.1). */
  #writeNames(out: Bytes): void {
    const map = new Bytes();
    map.u32(this.#names.length);
    for (const { ref, name } of this.#names.toSorted((a, b) => a.ref.index - b.ref.index)) {
      map.u32(ref.index);
      map.name(name);
    }
    const body = new Bytes();
    body.name('name');
    body.u8(1);
    body.u32(map.length);
    body.append(map);
    out.u8(0);
    out.u32(body.length);
    out.append(body);
  }
}
