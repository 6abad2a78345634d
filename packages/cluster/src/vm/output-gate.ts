// Where what a guest says leaves its node. Pure: functions of the gate's state and what happened, to its new state and what may leave.
//
// An output at count c may leave once whoever takes the VM over is sure to reach c with the same inputs. With the policy `async` nobody
// waits for that. With the others the gate is told how far the VM is durable: by a checkpoint, a segment of its log, or a standby that
// holds it. Outputs leave in their order, whatever their kinds.
import type { StampedOutput } from '@revenant/emulator';

export type OutputPolicy = 'async' | 'checkpoint' | 'log' | 'standby';

/** Of outputs that wait; a guest that has more to say stands still meanwhile. */
const MAX_HELD_BYTES = 4 * 2 ** 20;
const ENTRY_BYTES = 64;

export interface GateState {
  readonly policy: OutputPolicy;
  /** Outputs up to this instruction count may leave. */
  readonly durable: bigint;
  readonly held: readonly StampedOutput[];
  readonly heldBytes: number;
}

export interface Passed {
  state: GateState;
  /** These may leave now. */
  leave: readonly StampedOutput[];
}

export function newGate(policy: OutputPolicy): GateState {
  return { policy, durable: -1n, held: [], heldBytes: 0 };
}

const sizeOf = ({ output }: StampedOutput): number =>
  ENTRY_BYTES + ('bytes' in output ? output.bytes.length : 0);

function pass(state: GateState, all: readonly StampedOutput[]): Passed {
  if (state.policy === 'async') return { state: { ...state, held: [], heldBytes: 0 }, leave: all };
  const first = all.findIndex(({ instructions }) => instructions > state.durable);
  const leave = first < 0 ? all : all.slice(0, first);
  const held = first < 0 ? [] : all.slice(first);
  return { state: { ...state, held, heldBytes: held.reduce((sum, one) => sum + sizeOf(one), 0) }, leave };
}

/** The guest said something. */
export function said(state: GateState, outputs: readonly StampedOutput[]): Passed {
  return pass(state, [...state.held, ...outputs]);
}

/** Whoever takes the VM over reaches this instruction count. */
export function durableUpTo(state: GateState, instructions: bigint): Passed {
  const durable = instructions > state.durable ? instructions : state.durable;
  return pass({ ...state, durable }, state.held);
}

/** The guest is to stand still until something has left. */
export function isFull({ heldBytes }: GateState): boolean {
  return heldBytes >= MAX_HELD_BYTES;
}
