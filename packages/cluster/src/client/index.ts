/** What a program needs that speaks with a cluster and runs no node: a small part of the package, quickly loaded. */
export { trustAuthority } from '../authority.ts';
export { healthSigns, type HealthPolicy } from '../decisions/health.ts';
export { whyNeverFits } from '../decisions/placement.ts';
export { ClusterError, isClusterError, type ClusterErrorCode } from '../errors.ts';
export type { ClusterStatus } from '../protocol/api.ts';
export { outputPolicies, type OutputPolicy, type VmSpec } from '../protocol/spec.ts';
export { backUpVm, readBackup, restoreVm, type BackupOptions } from './backups.ts';
export { ClusterClient } from './cluster-client.ts';
