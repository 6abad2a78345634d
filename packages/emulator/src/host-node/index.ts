/** What only a Node host has: where the processor's modules are on disk, and fast hashing. */
export { makeNodeEngine, nodeEngine, nodeHash } from './engine.ts';
export { compileRegion, engineDigest, loadEngineModules } from './modules.ts';
export { buildModules } from '../build.ts';
export { nodeClock } from './clock.ts';
