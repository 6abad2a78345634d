/**
 * Events that come into an agent's decisions, effects that go out, and the state between. The decisions are deterministic
 * functions of state and event; clocks, sockets, stores and guests are at the edge (src/node, packages/simulation).
 */
import type { HostState } from '../protocol/api.ts';
import type { Message } from '../protocol/link.ts';
import type { Command, OutputPolicy, VmSpec } from '../protocol/spec.ts';
import type {
  CommandAnswer,
  NodeRecord,
  NodeView,
  OwnerView,
  ProtectedList,
  ProtectedVm,
  NodeSession,
  StandbyNote,
  StandbyCondition,
  StoreBeat,
  VmReport,
} from './records.ts';

export type Version = string;

/** Why a store operation was asked for; comes back with its answer. */
export type Purpose =
  | { kind: 'join' }
  | { kind: 'renew'; incarnation: number; counter: number; sentAt: number; seq: number; last: boolean }
  | { kind: 'reread-self' }
  | { kind: 'peer'; node: string }
  | { kind: 'confirm-dead'; node: string; why: string }
  | { kind: 'fence'; node: string; incarnation: number; why: string }
  | { kind: 'discover' }
  | { kind: 'list' } // the protected list, for everybody
  | { kind: 'claim'; term: number; list: ProtectedList }
  | { kind: 'write-list'; term: number; list: ProtectedList; changed: boolean }
  | { kind: 'owner-of'; vmId: string; attempt: number }
  | { kind: 'owner-node'; vmId: string; attempt: number; owner: OwnerView }
  /** Whether the session of a standby stands that others must not pass by. */
  | { kind: 'standby-node'; vmId: string; attempt: number; owner: OwnerView }
  | { kind: 'validate'; vmId: string; attempt: number; epoch: number }
  | { kind: 'confirm-stopped'; vmId: string; boot: number }
  | { kind: 'confirm-stopped-node'; vmId: string; boot: number; owner: OwnerView };

/** `unknown`: it may have happened, or may still. */
export type WriteOutcome =
  | { result: 'done'; version: Version }
  | { result: 'conflict' }
  | { result: 'failed' }
  | { result: 'unknown' };

export type ReadOutcome<T> =
  { result: 'found'; value: T; version: Version } | { result: 'absent' } | { result: 'failed' };

export type { Message };

export type Event =
  | { type: 'tick' }
  | { type: 'message'; from: string; message: Message }
  | { type: 'closed'; peer: string } // a socket closed: a hint to ping, not proof
  | { type: 'record'; purpose: Purpose; outcome: ReadOutcome<NodeRecord> }
  | { type: 'records'; purpose: Purpose; nodes: string[] | undefined }
  | { type: 'list'; purpose: Purpose; outcome: ReadOutcome<ProtectedList> }
  | { type: 'owner'; purpose: Purpose; outcome: ReadOutcome<OwnerView> }
  | { type: 'written'; purpose: Purpose; outcome: WriteOutcome }
  | { type: 'beat'; store: string; beat: StoreBeat } // read in a heartbeat datastore
  | { type: 'raised'; vmId: string; attempt: number; epoch: number }
  /** `retry`: the store failed, or another was first. `failed`: it can't be had at all. `unreadable`: not by this node. */
  | {
      type: 'not-raised';
      vmId: string;
      attempt: number;
      why: 'retry' | 'failed' | 'unreadable';
      reason: string;
    }
  | { type: 'prepared'; vmId: string; owner: OwnerView }
  | { type: 'started'; vmId: string; epoch: number }
  | { type: 'stopped'; vmId: string; epoch: number; kind: StopKind; reason: string; status?: number }
  /** How the standby of a VM that runs here does; undefined: it has none any more. */
  | { type: 'standby'; vmId: string; epoch: number; condition: StandbyCondition | undefined }
  /** What a VM that runs here says of itself, or no longer. */
  | { type: 'marked'; vmId: string; epoch: number; mark: VmMark; on: boolean }
  | { type: 'released'; vmId: string; epoch: number; result: 'done' | 'fenced' | 'failed' }
  | { type: 'tombstoned'; vmId: string; done: boolean }
  | { type: 'command'; id: string; command: Command }
  | { type: 'pressure'; pressure: NodeView['pressure'] }
  | { type: 'stores'; reached: number } // heartbeat datastores that took our last beat
  | { type: 'leave' };

/** `storeFull`: it holds as much in the store as it may. `debugged`: a debugger is at it. */
export type VmMark = 'storeFull' | 'debugged';

/** `asked`: by the core. `failed`: crash or hang of its emulator, refused start. `hung`: its guest. `fenced`: a commit was refused. */
export type StopKind = 'asked' | 'failed' | 'hung' | 'powered-off' | 'fenced';

/** `power-off`: its disks are made durable first. `delete`: nothing of it is needed. `discard`: it is another's; not answered by `stopped`. */
export type StopMode = 'power-off' | 'delete' | 'discard';

/** Who says what comes in at a VM that is followed: its owner, or, silent as that is, the log in the store alone. */
export type StandbySource = 'owner' | 'store';

export type Effect =
  | { type: 'send'; to: string; message: Message }
  | { type: 'get-record'; node: string; purpose: Purpose }
  | { type: 'list-records'; purpose: Purpose }
  /** Into each heartbeat datastore, and from each: without purpose or answer to wait for. */
  | { type: 'put-beat'; beat: StoreBeat }
  | { type: 'get-beats'; node: string }
  | { type: 'put-record'; record: NodeRecord; expected: Version | undefined; purpose: Purpose }
  | { type: 'get-list'; purpose: Purpose }
  | { type: 'put-list'; list: ProtectedList; expected: Version | undefined; purpose: Purpose }
  | { type: 'get-owner'; vmId: string; purpose: Purpose }
  /** Only when all that `spec` names can be read: who raises and then can't only takes the VM away from its owner. */
  | {
      type: 'raise';
      vmId: string;
      attempt: number;
      expectedEpoch: number;
      incarnation: number;
      spec?: VmSpec;
      /** The note that the owner record must still have: the decision rests on it, and it is kept until the new owner's state is durable. */
      noted?: StandbyNote;
      /** Over the tombstone of the VM that had the name before. */
      revive?: boolean;
      /** What may be lost, as a standby that held it is gone. */
      standbyLost?: string;
    }
  /** Get ready for a VM that its owner still runs; answered by `prepared`, also when it could not be done. */
  | { type: 'prepare'; vm: ProtectedVm; owner: OwnerView }
  /** What `prepare` made is not needed, unless `run` took it. */
  | { type: 'forget'; vmId: string }
  | { type: 'run'; vm: ProtectedVm; epoch: number; paused: boolean; until: number }
  | { type: 'hand-over'; vmId: string; epoch: number }
  | { type: 'stop'; vmId: string; epoch: number; mode: StopMode }
  | { type: 'pause'; vmId: string; epoch: number; paused: boolean }
  | { type: 'set-outputs'; vmId: string; epoch: number; outputs: OutputPolicy }
  | { type: 'set-quota'; vmId: string; epoch: number; quotaBytes: number | undefined }
  /** Another node's machine follows a VM that runs here, or none any more. */
  | { type: 'set-standby'; vmId: string; epoch: number; standby: NodeSession | undefined }
  /** A machine here follows a VM that another node runs, until `stand-down`, or until it is run here. */
  | { type: 'stand-by'; vm: ProtectedVm; source: StandbySource }
  | { type: 'stand-down'; vmId: string }
  | { type: 'release'; vmId: string; epoch: number }
  /** Of the VM that is at this epoch; of no later one. */
  | { type: 'tombstone'; vmId: string; epoch: number }
  | { type: 'grant'; until: number }
  | { type: 'answer'; answer: CommandAnswer }
  /** Another process of our name is alive, at this address: this one can't join. */
  | { type: 'name-in-use'; address: string }
  | { type: 'left' }
  | { type: 'log'; entry: LogEntry };

/** One line of the event log: what was seen or decided, about whom, why. The edge adds the times. */
export interface LogEntry {
  event: string;
  node?: string;
  vm?: string;
  /** Of the VM, where it is about what one owner did. */
  epoch?: number;
  reason: string;
  /** How long what it names took, in milliseconds of the local clock. */
  tookMs?: number;
  details?: Record<string, string | number | boolean>;
}

export type { HostState };

/** What this agent knows of another node. */
export interface Peer {
  id: string;
  state: HostState;
  reason: string;
  incarnation: number;
  /** Highest datastore heartbeat seen, and when it was first seen. */
  counter: number;
  counterSeenAt: number;
  /** Since it is late, by heartbeat datastore: the last beat seen; when one of them last moved on; when they were last asked for. */
  beats: ReadonlyMap<string, number>;
  beatSeenAt: number;
  beatsAskedAt: number;
  /** Last network heartbeat from it, and the last one that says it hears us. */
  heardAt: number;
  heardBothAt: number;
  /** When a socket of it last closed. */
  closedAt: number;
  /** Since when it is not alive. */
  silentSince: number;
  record: 'active' | 'fenced' | 'left';
  view: NodeView | undefined;
  /** Since when, by our clock, it says that its guests are suspended. */
  suspendedAt: number | undefined;
  master: string | null;
  readInFlight: boolean;
  readAt: number;
  fencing: boolean;
}

export type VmPhase =
  | 'checking'
  | 'waiting'
  | 'raising'
  | 'validating'
  | 'starting'
  | 'running'
  | 'leaving'
  | 'stopping'
  | 'releasing';

/** One VM that this node runs or is about to. */
export interface LocalVm {
  vmId: string;
  attempt: number;
  phase: VmPhase;
  epoch: number;
  /** When its phase began. */
  since: number;
  /** When to go on after a failed store operation or while another still owns it. */
  retryAt: number;
  paused: boolean;
  /** By which policy its outputs leave; undefined before it was told to run. */
  outputs: OutputPolicy | undefined;
  /** How much it may hold in the store, as it was last told, and whether it does. */
  quotaBytes: number | undefined;
  storeFull: boolean;
  /** A debugger is at it. */
  debugged: boolean;
  /** Who was last told to follow it, and how that does. */
  standby: NodeSession | undefined;
  standbyCondition: StandbyCondition | undefined;
  /** What its owner record said of a standby when it was read to take it over. */
  noted: StandbyNote | undefined;
  /** What may be lost by taking it over, as a standby that held it is gone. */
  standbyLost: string | undefined;
  begunAt: number;
  /** Raises that came to nothing, one after the other. */
  raises: number;
  /** True once `prepare` was asked for. */
  preparing: boolean;
  /** While another node shall have it: since when, and who said that it is ready. */
  movingSince: number | undefined;
  readyNode: string | undefined;
  report: VmReport | undefined;
  /** How it was told to stop. */
  stopMode: StopMode | undefined;
}

export interface MasterState {
  term: number;
  since: number;
  /** List as it should be, and whether it differs from the stored one. */
  writing: boolean;
  writtenAt: number;
  /** Local times per VM: not before (retries), assigned at, running since. */
  notBefore: ReadonlyMap<string, number>;
  assignedAt: ReadonlyMap<string, number>;
  runningSince: ReadonlyMap<string, number>;
  calmSince: number | undefined;
  confirming: ReadonlyMap<string, number>;
  /** Commands waiting for the next write: id → where the answer goes (undefined: this node's own client). */
  waiting: ReadonlyMap<string, string | undefined>;
  queue: readonly { id: string; command: Command }[];
}
