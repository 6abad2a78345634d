/** Loads the processor's modules in Node, straight into V8's optimizing compiler. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { moduleFolder } from '../build.ts';
import type { EngineModules } from '../engine/engine.ts';

/** The first V8 with deoptimization of WebAssembly; older ones complain about the flag. */
const firstWithDeopt = 13;

let loaded: EngineModules | undefined;

/** The compiled modules of build/emulator, made once per process; build.ts must have run. */
export function loadEngineModules(): EngineModules {
  if (loaded !== undefined) return loaded;
  const compile = (name: string): WebAssembly.Module =>
    new WebAssembly.Module(readFileSync(join(moduleFolder, name)));
  // V8 compiles a function when it is first called. The flag stays set, for the baseline compiler would leave the run loop slow for as long
  // as one call of it lasts: there is no on-stack replacement of WebAssembly. Code that was inlined on a guess (the default since Node 26) falls
  // back to the baseline compiler's when the guess fails; where there is none, V8 ends the process.
  if (Number.parseInt(process.versions.v8, 10) >= firstWithDeopt) setFlagsFromString('--no-wasm-deopt');
  setFlagsFromString('--no-liftoff');
  loaded = {
    fault: compile('fault.wasm'),
    core: compile('core.wasm'),
    interpreter: compile('interpreter.wasm'),
  };
  return loaded;
}

/** Compiles a translated region with the baseline compiler, at once: V8 compiles it again when it proves hot. */
export function compileRegion(bytes: Uint8Array<ArrayBuffer>): WebAssembly.Module {
  setFlagsFromString('--liftoff --no-wasm-lazy-compilation');
  try {
    return new WebAssembly.Module(bytes);
  } finally {
    setFlagsFromString('--no-liftoff --wasm-lazy-compilation');
  }
}
