/** Between the demo and the processes that run its VM (IPC of child_process). */

import type { DemoGuest } from './guest.ts';

/** First message to a process: what to run, and where its checkpoints are. */
export interface StartMessage {
  storeUrl: string;
  vmId: string;
  owner: string;
  intervalMs: number;
  guest: DemoGuest;
}

export type VmMessage =
  /** The machine runs: from its power-on state, or from a checkpoint. */
  | { kind: 'running'; epoch: number; resumedFrom?: string; instructions: string; refused: number }
  /** A checkpoint has been cut at this instruction; it is not durable yet. `consoleBytes`: what this process had printed by then. */
  | { kind: 'cut'; instructions: string; consoleBytes: number }
  | { kind: 'durable'; id: string; instructions: string; pages: number; storedBytes: number; pauseMs: number }
  | { kind: 'console'; text: string }
  | { kind: 'ended'; reason: string };
