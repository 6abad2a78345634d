/** Core functions as a translated module imports them: each one when code first calls it. */
import type { FunctionRef } from '../wasm/code.ts';
import type { ModuleWriter } from '../wasm/module.ts';
import type { CoreFunctionRefs } from '../cpu/builder.ts';
import { coreFunctions } from '../cpu/core-functions.ts';
import type { CoreFunctionName } from '../cpu/core-functions.ts';

class LazyImports {
  readonly #writer: ModuleWriter;
  readonly #imported = new Map<CoreFunctionName, FunctionRef>();

  constructor(writer: ModuleWriter) {
    this.#writer = writer;
  }

  import(name: CoreFunctionName): FunctionRef {
    const ref = this.#imported.get(name) ?? this.#writer.importFunction('core', name, coreFunctions[name]);
    this.#imported.set(name, ref);
    return ref;
  }
}

for (const name of Object.keys(coreFunctions) as CoreFunctionName[]) {
  Object.defineProperty(LazyImports.prototype, name, {
    get(this: LazyImports) {
      return this.import(name);
    },
  });
}

export function lazyImports(writer: ModuleWriter): CoreFunctionRefs {
  return new LazyImports(writer) as unknown as CoreFunctionRefs;
}
