/** Loads the processor's modules in Node, straight into V8's optimizing compiler. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { getCompileCacheDir } from 'node:module';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads';
import { moduleFolder } from '../build.ts';
import type { EngineModules } from '../engine/engine.ts';
import { loadCompiled, saveCompiled } from './compiled-code.ts';

/** The first V8 with deoptimization of WebAssembly; older ones complain about the flag. */
const firstWithDeopt = 13;
/** When the machine code is kept: by then most functions that a guest's start needs have been called, later those of its programs. */
const saveAfterMs = [3000, 12_000, 60_000];

/** Under this name threads find the modules of the thread that started them. */
const inheritedKey = 'revenant engine modules';

interface Inherited {
  modules: EngineModules;
  saves: Int32Array;
}

let loaded: EngineModules | undefined;
/** Of all threads that share the modules: 1 for each save that one of them has done. */
let saves: Int32Array = new Int32Array(saveAfterMs.length);
let keeps = false;

/**
 * The compiled modules of build/emulator, made once per process; build.ts must have run. Threads that are started after this was called in
 * the thread that starts them share its modules, and with them what V8 has compiled: each would spend a tenth of a second on that.
 */
export function loadEngineModules(): EngineModules {
  if (loaded !== undefined) return loaded;
  // V8 compiles a function when it is first called. The flag stays set, for the baseline compiler would leave the run loop slow for as long
  // as one call of it lasts: there is no on-stack replacement of WebAssembly. Code that was inlined on a guess (the default since Node 26) falls
  // back to the baseline compiler's when the guess fails; where there is none, V8 ends the process.
  if (Number.parseInt(process.versions.v8, 10) >= firstWithDeopt) setFlagsFromString('--no-wasm-deopt');
  setFlagsFromString('--no-liftoff');
  const inherited = getEnvironmentData(inheritedKey) as Inherited | undefined;
  loaded = inherited?.modules ?? {
    fault: compile('fault'),
    core: compile('core'),
    interpreter: compile('interpreter'),
  };
  saves = inherited?.saves ?? new Int32Array(new SharedArrayBuffer(4 * saveAfterMs.length));
  if (inherited === undefined)
    setEnvironmentData(inheritedKey, { modules: loaded, saves } satisfies Inherited);
  return loaded;
}

/** Differs when the processor does: SHA-256 of its modules, in hexadecimal digits. */
export function engineDigest(): string {
  return createHash('sha256').update(bytesOf('core')).update(bytesOf('interpreter')).digest('hex');
}

function bytesOf(name: keyof EngineModules): Buffer<ArrayBuffer> {
  return readFileSync(join(moduleFolder, `${name}.wasm`));
}

function compile(name: keyof EngineModules): WebAssembly.Module {
  const bytes = bytesOf(name);
  const folder = getCompileCacheDir();
  const kept = folder === undefined ? undefined : loadCompiled(folder, name, bytes);
  return kept ?? new WebAssembly.Module(bytes);
}

/** The modules' functions have been called, so there is machine code to keep, when Node keeps what it compiles. */
export function keepMachineCode(): void {
  const folder = getCompileCacheDir();
  if (keeps || folder === undefined || loaded === undefined) return;
  keeps = true;
  const { core, interpreter } = loaded;
  const save = (): void => {
    // V8 compares its flags, which `compileRegion` changes for a moment only.
    saveCompiled(folder, 'core', bytesOf('core'), core);
    saveCompiled(folder, 'interpreter', bytesOf('interpreter'), interpreter);
  };
  for (const [n, ms] of saveAfterMs.entries())
    setTimeout(() => {
      if (Atomics.exchange(saves, n, 1) === 0) save();
    }, ms).unref();
  process.once('exit', save);
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
