/**
 * What a run does, event by event: by running it again, so that the guest does not change. Instructions and calls are found by single steps, memory by
 * watchpoints, ports, devices and interrupts by a tap at full speed. Bounded by the caller: it takes as many events as it wants.
 */
import { disassembleOne, type CodeMode, type CpuState } from '@revenant/emulator';
import { readMemory } from '../gdb/memory.ts';
import { linearRip } from '../gdb/registers.ts';
import type { TimeMachine } from '../time/time-machine.ts';
import type { Tap, TappedEvent } from './tap.ts';

export interface Happened {
  /** Retired instructions before it. */
  count: bigint;
  timeNs: bigint;
}

export type TraceEvent = Happened &
  (
    | { kind: 'instruction'; address: bigint; text: string }
    | { kind: 'call'; address: bigint; target: bigint; depth: number }
    | { kind: 'return'; address: bigint; target: bigint; depth: number }
    | { kind: 'memory'; access: 'read' | 'write'; address: bigint; rip: bigint; value: Uint8Array }
    | TappedEvent
  );

export type TraceKind = 'instructions' | 'calls' | 'io' | 'interrupts' | 'memory';

export interface TraceRequest {
  kind: TraceKind;
  /** Of `memory`. */
  range?: { address: bigint; bytes: number };
  /** Where it ends, unless the run ends before. */
  to?: bigint;
}

const maxInstructionBytes = 15;

/** Code size of what the processor executes. */
export function codeMode({ efer, segments: { cs } }: CpuState): CodeMode {
  if ((efer & 0x400n) !== 0n && (cs.attributes & 0x2000) !== 0) return 64;
  return (cs.attributes & 0x4000) !== 0 ? 32 : 16;
}

/** `undefined` between turns, in which nothing happened: the caller may end it there. */
export function* trace(
  target: TimeMachine,
  request: TraceRequest,
  tap: Tap,
): Generator<TraceEvent | undefined, void> {
  switch (request.kind) {
    case 'instructions':
    case 'calls':
      yield* traceSteps(target, request);
      return;
    case 'memory':
      yield* traceMemory(target, request);
      return;
    default:
      yield* traceTap(target, request, tap);
  }
}

function moment({ machine }: TimeMachine): Happened {
  return { count: machine.instructions, timeNs: machine.timeNs };
}

/** One instruction; false when the run is over. */
function step(target: TimeMachine): boolean {
  const { count } = target;
  for (const steps = target.forward(count + 1n); ;) {
    const { done, value } = steps.next();
    if (done === true) return target.count > count || (value !== undefined && value.kind === 'step');
  }
}

function* traceSteps(target: TimeMachine, { kind, to }: TraceRequest): Generator<TraceEvent, void> {
  const { machine } = target;
  let depth = 0;
  while (to === undefined || target.count < to) {
    const cpu = machine.registers();
    const address = linearRip(cpu);
    const bytes = readMemory(machine, address, maxInstructionBytes);
    const { text, mnemonic } = disassembleOne(bytes, codeMode(cpu), address);
    const happened = moment(target);
    if (kind === 'instructions') yield { ...happened, kind: 'instruction', address, text };
    if (!step(target)) return;
    if (kind === 'instructions') continue;
    const goesTo = linearRip(machine.registers());
    if (mnemonic.startsWith('call')) {
      yield { ...happened, kind: 'call', address, target: goesTo, depth };
      depth++;
    } else if (/^(ret|iret)/.test(mnemonic)) {
      // A trace may begin inside of a function.
      depth = Math.max(0, depth - 1);
      yield { ...happened, kind: 'return', address, target: goesTo, depth };
    }
  }
}

function* traceMemory(
  target: TimeMachine,
  { range, to }: TraceRequest,
): Generator<TraceEvent | undefined, void> {
  if (range === undefined) throw new TypeError('a trace of memory has a range');
  const { machine } = target;
  const watchpoint = { ...range, on: 'access' as const };
  machine.stops.addWatchpoint(watchpoint);
  try {
    for (;;) {
      const steps = target.forward(to);
      let step = steps.next();
      for (; step.done !== true; step = steps.next()) yield undefined;
      const { kind, watch } = step.value;
      if (kind !== 'watchpoint' || watch === undefined) return;
      const value = readMemory(machine, range.address, range.bytes);
      const rip = linearRip(machine.registers());
      yield { ...moment(target), kind: 'memory', access: watch.access, address: watch.address, rip, value };
    }
  } finally {
    machine.stops.removeWatchpoint(watchpoint);
  }
}

function* traceTap(
  target: TimeMachine,
  { kind, to }: TraceRequest,
  tap: Tap,
): Generator<TraceEvent | undefined, void> {
  const found: TraceEvent[] = [];
  const isWanted = (event: TappedEvent): boolean =>
    (event.kind === 'port' || event.kind === 'device') === (kind === 'io');
  tap.listener = (event) => {
    if (isWanted(event)) found.push({ ...moment(target), ...event });
  };
  try {
    for (const steps = target.forward(to); ;) {
      const { done } = steps.next();
      yield* found.splice(0);
      if (done === true) return;
      yield undefined;
    }
  } finally {
    tap.listener = undefined;
  }
}
