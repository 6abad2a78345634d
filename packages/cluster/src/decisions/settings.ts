/**
 * Every number of the cluster, with the defaults of docs/CLUSTER_PROTOCOL.md. All times are milliseconds of a local monotonic
 * clock; no rule ever compares two hosts' clocks, only rates of them (see `checkSettings`).
 */
import { ClusterError } from '../errors.ts';

export interface Settings {
  /** How often the agent looks at its deadlines. */
  tickMs: number;
  /** Heartbeats to every peer by network. */
  networkHeartbeatMs: number;
  /** Renewal of the node's record in the store: datastore heartbeat and lease in one. */
  storeHeartbeatMs: number;
  /** No network heartbeat for so long: unreachable. */
  unreachableMs: number;
  /** Unreachable and no datastore heartbeat for so long: dead, its session may be fenced. */
  deadMs: number;
  /** After the sending of a renewal that succeeded, guests may run for so long. Shorter than `deadMs` by more than the drift. */
  leaseMs: number;
  /** Reachable by network, but without the store for so long: its VMs are moved. */
  storeLossMs: number;
  /** The master's claim unchanged for so long: others may claim. Safety does not depend on it. */
  masterLostMs: number;
  /** Candidates of lower rank wait so much longer, per rank. */
  electionStaggerMs: number;
  /** How often all node records are listed, to find new nodes. */
  discoveryMs: number;
  /** Resumes at once per node. */
  resumesPerNode: number;
  /** Failed tries of one VM before it is left alone, failed. */
  maxTries: number;
  /** Pause after the first failed try; doubled after each further one. */
  retryPauseMs: number;
  retryPauseMaxMs: number;
  /** A resume that took so long counts as failed, and another node is tried. */
  startTimeoutMs: number;
  /** A live move waits so long, at most, for the next node to get ready while the guest runs on. */
  prepareMs: number;
  /** A VM that ran so long without failing may be placed again where it failed. */
  stableMs: number;
  /**
   * A node that ends while a VM has run there for less than this (or two of its checkpoint intervals) may have been ended by it. A VM that
   * ends its host goes on from a checkpoint of just before, so it does so again at once, or not for the same reason.
   */
  provenMs: number;
  /** And for each time that it ran so long, one of its failed tries is forgotten: more than `maxTries` failures an hour end it. */
  forgiveMs: number;
  /** Nodes give VMs to emptier ones by themselves once nothing was under way or wrong for so long; one, then so long nothing again. */
  balanceAfterMs: number;
  /** Pause between tries of one store operation that failed. */
  storeRetryMs: number;
  /** Default interval of checkpoints. */
  checkpointMs: number;
  /** No sign of life of a guest for so long while it may run: hung. */
  guestHungMs: number;
}

export type ProfileName = 'default' | 'fast';

const defaults: Settings = {
  tickMs: 100,
  networkHeartbeatMs: 500,
  storeHeartbeatMs: 1000,
  unreachableMs: 1500,
  deadMs: 3000,
  leaseMs: 2500,
  storeLossMs: 10_000,
  masterLostMs: 2000,
  electionStaggerMs: 200,
  discoveryMs: 5000,
  resumesPerNode: 4,
  maxTries: 5,
  retryPauseMs: 1000,
  retryPauseMaxMs: 30_000,
  startTimeoutMs: 60_000,
  prepareMs: 10_000,
  stableMs: 30_000,
  provenMs: 5000,
  forgiveMs: 720_000,
  balanceAfterMs: 60_000,
  storeRetryMs: 250,
  checkpointMs: 1000,
  guestHungMs: 30_000,
};

const profiles: Record<ProfileName, Settings> = {
  default: defaults,
  fast: {
    ...defaults,
    tickMs: 20,
    networkHeartbeatMs: 100,
    storeHeartbeatMs: 150,
    unreachableMs: 300,
    deadMs: 600,
    leaseMs: 480,
    storeLossMs: 3000,
    masterLostMs: 400,
    electionStaggerMs: 50,
    discoveryMs: 1000,
    retryPauseMs: 200,
    provenMs: 2500,
    storeRetryMs: 50,
    checkpointMs: 100,
    guestHungMs: 10_000,
  },
};

/** How much faster one host's monotonic clock may run than another's, as a fraction. Quartz is a hundred times better. */
export const maxClockDrift = 0.02;

/** A profile's settings, some of them replaced. Throws `BAD_SETTINGS`. */
export function makeSettings(profile: ProfileName = 'default', changes: Partial<Settings> = {}): Settings {
  const settings = { ...profiles[profile], ...changes };
  checkSettings(settings);
  return settings;
}

/** Throws `BAD_SETTINGS` unless the numbers keep the rules that safety and liveness rest on. */
export function checkSettings(settings: Settings): void {
  for (const [name, value] of Object.entries(settings)) {
    if (!Number.isFinite(value) || value <= 0)
      throw new ClusterError('BAD_SETTINGS', `setting ${name} must be above zero, not ${String(value)}`);
  }
  const { leaseMs, deadMs, storeHeartbeatMs, unreachableMs, networkHeartbeatMs } = settings;
  const require = (holds: boolean, rule: string): void => {
    if (!holds) throw new ClusterError('BAD_SETTINGS', `settings: ${rule}`);
  };
  // One clock slow by the drift and the other fast by it: the lease must still end first.
  require(leaseMs * (1 + 2 * maxClockDrift) < deadMs, 'leaseMs must be at least 4 % below deadMs');
  require(storeHeartbeatMs * 2 <= leaseMs, 'leaseMs must allow for two renewals (storeHeartbeatMs)');
  require(networkHeartbeatMs * 2 <= unreachableMs, 'unreachableMs must allow for two heartbeats');
  require(unreachableMs < deadMs, 'unreachableMs must be below deadMs');
}
