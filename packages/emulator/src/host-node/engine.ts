/** The processor engine and the hash of a Node host, as backends for createMachine. */
import { createHash } from 'node:crypto';
import { createEngine, type EngineOptions } from '../engine/engine.ts';
import type { EngineFactory } from '../machine/engine-interface.ts';
import type { HashFactory } from '../machine/hash.ts';
import { compileRegion, keepMachineCode, loadEngineModules } from './modules.ts';

/** An engine factory with the modules that build.ts made. */
export function makeNodeEngine(
  options: Pick<EngineOptions, 'kind' | 'hotThreshold' | 'bounds' | 'onRegion'> = {},
): EngineFactory {
  return async ({ memory, host }) => {
    const engine = await createEngine({
      modules: loadEngineModules(),
      memory,
      host,
      compileRegion,
      ...options,
    });
    const { run } = engine;
    engine.run = (cpu) => {
      engine.run = run;
      keepMachineCode();
      return run(cpu);
    };
    return engine;
  };
}

/** The engine to use: the translator, which interprets what is not hot. */
export const nodeEngine: EngineFactory = makeNodeEngine();

/** SHA-256 by the host's library. */
export const nodeHash: HashFactory = () => {
  const hash = createHash('sha256');
  return {
    update: (data) => {
      hash.update(data);
    },
    digest: () => hash.digest(),
  };
};
