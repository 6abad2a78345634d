/** What a node can say of the checkpoints of its VMs: figures for the metrics, words for the log. */
import type { PaceChange, StallEvent } from '@revenant/storage';
import type { LogEntry } from '../decisions/types.ts';
import type { StandbyFigures } from './standby/standby-link.ts';

export interface VmFigures {
  vmId: string;
  epoch: number;
  instructions: bigint;
  checkpoints: number;
  lastCheckpointAt: number;
  lastPauseMs: number;
  /** Milliseconds from the cut of the last checkpoint until it was durable. */
  lastDurableMs: number;
  lastStoredBytes: number;
  memoryBytes: number;
  /** For how long its thread has worked. */
  busyMs: number;
  diskRequests: number;
  /** Since the last sign of life of its guest; 0 when none is watched. */
  silentMs: number;
  /** The interval at which checkpoints become durable now; longer than wanted while the store is slow. */
  checkpointIntervalMs: number;
  /** Bytes of guest pages that wait to become durable. */
  heldBytes: number;
  /** What it holds in the store, and how much it may (undefined: no limit). */
  storeBytes: number;
  storeQuotaBytes: number | undefined;
  /** Removed by the retention policy since it runs here. */
  removedCheckpoints: number;
  removedBytes: number;
  outputs: LogFigures;
  /** Undefined: nobody follows it. */
  standby: StandbyFigures | undefined;
}

/** Figures of a VM's outputs, and of the log of its inputs. */
export interface LogFigures {
  /** Waits until it is durable. */
  heldOutputBytes: number;
  /** The input log's, since the VM runs here. */
  logBytes: number;
  logSegments: number;
  logWaitingBytes: number;
}

export function newFigures(vmId: string, epoch: number, instructions: bigint): VmFigures {
  return {
    vmId,
    epoch,
    instructions,
    checkpoints: 0,
    lastCheckpointAt: 0,
    lastPauseMs: 0,
    lastDurableMs: 0,
    lastStoredBytes: 0,
    memoryBytes: 0,
    busyMs: 0,
    diskRequests: 0,
    silentMs: 0,
    checkpointIntervalMs: 0,
    heldBytes: 0,
    storeBytes: 0,
    storeQuotaBytes: undefined,
    removedCheckpoints: 0,
    removedBytes: 0,
    outputs: { heldOutputBytes: 0, logBytes: 0, logSegments: 0, logWaitingBytes: 0 },
    standby: undefined,
  };
}

/** For the log: the store is too slow for the interval asked for, or fast enough again. */
export function paceEntry({ kind, intervalMs, wantedMs }: PaceChange): LogEntry {
  const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
  const tookMs = Math.round(intervalMs);
  if (kind === 'on-time')
    return { event: 'checkpoints-on-time', reason: `one every ${seconds(wantedMs)} again`, tookMs };
  return {
    event: 'checkpoints-stretched',
    reason: `the store is slow: one every ${seconds(intervalMs)} instead of every ${seconds(wantedMs)}`,
    tookMs,
  };
}

/** For the log: what a guest is given can't be logged, or can be again. */
export function logStallEntry({ kind, reason, forMs }: StallEvent): LogEntry {
  return {
    event: kind === 'stalled' ? 'log-waits-for-store' : 'log-goes-on',
    reason,
    tookMs: Math.round(forMs),
  };
}

/** For the log: a guest waits for pages of its memory or disks, or goes on. */
export function stallEntry({ kind, what, reason, forMs }: StallEvent): LogEntry {
  return {
    event: kind === 'stalled' ? 'guest-waits-for-store' : 'guest-goes-on',
    reason: [what, reason].filter((part) => part !== '').join(': '),
    tookMs: Math.round(forMs),
  };
}
