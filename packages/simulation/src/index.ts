/** Simulation of a whole cluster from a seed. */
export * from './simulate.ts';
