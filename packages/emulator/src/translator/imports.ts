/** Core functions as a translated module imports them: each one when code first calls it. */
import type { FunctionRef } from '../wasm/code.ts';
import type { ModuleWriter } from '../wasm/module.ts';
import type { CoreFunctionRefs } from '../cpu/builder.ts';
import { coreFunctions } from '../cpu/core-functions.ts';
import type { CoreFunctionName } from '../cpu/core-functions.ts';

export function lazyImports(writer: ModuleWriter): CoreFunctionRefs {
  const imported = new Map<CoreFunctionName, FunctionRef>();
  const refs = {} as CoreFunctionRefs;
  for (const name of Object.keys(coreFunctions) as CoreFunctionName[]) {
    Object.defineProperty(refs, name, {
      get: () => {
        const ref = imported.get(name) ?? writer.importFunction('core', name, coreFunctions[name]);
        imported.set(name, ref);
        return ref;
      },
    });
  }
  return refs;
}
