// What a node keeps of one VM that runs on it.
import type { CheckpointPace, CheckpointWriter, MachineSnapshot, Ownership } from '@revenant/storage';
import type { Silence } from '../decisions/health.ts';
import type { ProtectedVm } from '../decisions/records.ts';
import type { GuestThread } from './guest-thread.ts';
import type { Housekeeping } from './housekeeping.ts';
import type { LazyRam } from './lazy-ram.ts';
import type { VmFigures } from './vm-figures.ts';

/** A guest that resets its machine sooner than this after the last time waits, twice as long each time. */
const RESET_SOON_MS = 60_000;
const FIRST_RESET_PAUSE_MS = 1000;
const MAX_RESET_PAUSE_MS = 30_000;

/** A guest's last reset of its machine, and how long it waits before it boots. */
export interface Reset {
  atMs: number;
  pauseMs: number;
}

export const noReset: Reset = { atMs: -Infinity, pauseMs: 0 };

export function nextReset({ atMs, pauseMs }: Reset, nowMs: number): Reset {
  if (nowMs - atMs >= RESET_SOON_MS) return { atMs: nowMs, pauseMs: 0 };
  const longer = Math.max(FIRST_RESET_PAUSE_MS, pauseMs * 2);
  return { atMs: nowMs, pauseMs: Math.min(MAX_RESET_PAUSE_MS, longer) };
}

export interface RunningVm extends GuestThread {
  vm: ProtectedVm;
  epoch: number;
  ownership: Ownership;
  writer: CheckpointWriter;
  lazy: LazyRam | undefined;
  /** Its remaining pages are on their way. */
  bringing: boolean;
  delivered: () => void;
  snapshots: Map<number, (result: { snapshot: MachineSnapshot; pauseMs: number }) => void>;
  /** Who waits for an answer of the worker; told `undefined` when it ends. */
  questions: Map<number, (value: unknown) => void>;
  aliveAt: number;
  silence: Silence;
  reset: Reset;
  /** From its reset until it is told to boot. */
  resetting: boolean;
  paused: boolean;
  over: boolean;
  leaving: boolean;
  /** False until its guest is there. */
  ready: boolean;
  pace: CheckpointPace;
  housekeeping: Housekeeping;
  figures: VmFigures;
}
