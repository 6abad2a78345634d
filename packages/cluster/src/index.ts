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
export * from './client/cluster-client.ts';
export * from './demo/chain-checker.ts';
export * from './demo/cluster-demo.ts';
export { NodeProcess, type ProcessOptions } from './demo/processes.ts';
export { ClusterNode, type NodeOptions } from './node/cluster-node.ts';
export { readEvents, type ClusterEvent } from './node/event-log.ts';
export { nodeOptions, runNode } from './node/main.ts';
export * from './vm/vm-runtime.ts';
export type { BootDescription } from './vm/machine-guest.ts';
