/**
 * The processor's modules as files of the program: bundlers (Vite, webpack, Rollup) understand these addresses, copy the files beside what
 * they make, and put the new addresses in their place. Without a bundler they are those of the installed package.
 */
import { compileModules } from './index.ts';
import type { EngineModules } from '../engine/engine.ts';

/** Fetches and compiles the processor's modules from where the bundler put them. @throws Error when one can't be had */
export function fetchBundledModules(): Promise<EngineModules> {
  return compileModules({
    fault: new URL('../../../../build/emulator/fault.wasm', import.meta.url),
    core: new URL('../../../../build/emulator/core.wasm', import.meta.url),
    interpreter: new URL('../../../../build/emulator/interpreter.wasm', import.meta.url),
  });
}
