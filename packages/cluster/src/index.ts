// Membership, election, failover, placement, node agent.
export * from './core/agent.ts';
export * from './core/commands.ts';
export * from './core/failover.ts';
export * from './core/placement.ts';
export * from './core/records.ts';
export * from './core/settings.ts';
export * from './core/state.ts';
export * from './core/types.ts';
export * from './errors.ts';
