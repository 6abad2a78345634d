/**
 * What only a browser host does: it fetches the processor's modules from beside the page. Guest memory is shared, so the page has to be
 * cross-origin isolated (headers `Cross-Origin-Opener-Policy: same-origin` and `Cross-Origin-Embedder-Policy: require-corp`).
 */
import { createEngine, type EngineModules, type EngineOptions } from '../engine/engine.ts';
import type { EngineFactory } from '../machine/engine-interface.ts';

async function compile(url: URL): Promise<WebAssembly.Module> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url.href} answers ${String(response.status)}`);
  return WebAssembly.compileStreaming(response);
}

/** Fetches and compiles the three modules from their addresses. @throws Error when one can't be had */
export async function compileModules(urls: Record<keyof EngineModules, URL>): Promise<EngineModules> {
  const [fault, core, interpreter] = await Promise.all([
    compile(urls.fault),
    compile(urls.core),
    compile(urls.interpreter),
  ]);
  return { fault, core, interpreter };
}

/**
 * Fetches and compiles fault.wasm, core.wasm and interpreter.wasm.
 * @param folder where they are; ends in a slash
 * @throws Error when one can't be had
 */
export function fetchEngineModules(folder: URL): Promise<EngineModules> {
  return compileModules({
    fault: new URL('fault.wasm', folder),
    core: new URL('core.wasm', folder),
    interpreter: new URL('interpreter.wasm', folder),
  });
}

/** An engine factory over modules that were fetched before. */
export function makeBrowserEngine(
  modules: EngineModules,
  options: Pick<EngineOptions, 'kind' | 'hotThreshold' | 'bounds' | 'onRegion'> = {},
): EngineFactory {
  return ({ memory, host }) => createEngine({ modules, memory, host, ...options });
}
