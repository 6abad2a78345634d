/** What tests of other packages use of this one's: `@revenant/storage/testing`. No production code imports it. */
export { FaultyStore, type Fault, type FaultPlan, type StoreOperation } from './faulty-store.ts';
export { SeededTurns } from './seeded-turns.ts';
