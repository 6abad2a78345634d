/** How far what is typed at consoles has come, as those who run VMs and write checkpoints tell and ask it (node/console-inputs.ts). */
import type { MachineInput } from '@revenant/emulator';

/** By session of a console, display or job: how many of its bytes, events or messages a guest's state has. */
export type InputPlaces = Readonly<Record<string, number>>;

/** The session that inputs belong to, and how many of the session's units a guest has with each input. */
export interface TypedPlaces {
  session: string;
  places: readonly number[];
}

/** Port of the virtio console that leads to the agent in the guest. */
export const agentPort = 1;

/** Inputs that people's sessions number: each that a guest took is told to its log. */
export const isTyped = (input: MachineInput): boolean =>
  (input.kind === 'serial' && input.port === 0) ||
  (input.kind === 'console' && input.port === agentPort) ||
  input.kind === 'key' ||
  input.kind === 'mouse' ||
  input.kind === 'tablet';

export interface InputLedger {
  /** A VM runs here now, from a state that holds these places. */
  started(vmId: string, epoch: number, held: InputPlaces): void;
  ended(vmId: string, epoch: number): void;
  /** Calls `ask`, which asks for a snapshot, at a moment at which all that is on its way to the guest was taken or refused. */
  cut<T>(vmId: string, epoch: number, ask: (places: InputPlaces) => Promise<T>): Promise<T>;
  /** A checkpoint with these places is durable, or a log up to there. */
  durable(vmId: string, epoch: number, places: InputPlaces): void;
}
