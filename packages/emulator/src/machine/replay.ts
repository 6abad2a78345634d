/** What of a log is still to come for a machine that goes on from a snapshot. */
import { inputKinds, streamOf, type LoggedInput } from './edge/table.ts';
import type { MachineSnapshot } from './snapshot.ts';
import { machineState } from './time-state.ts';

/**
 * Of a log that reaches back to the snapshot or before it, the inputs that the machine has not had: the numbers of its streams say which. Inputs at
 * the snapshot's own count may have come before it was cut, or after. Throws DeviceStateError for a snapshot that can't be used.
 */
export function logBehind(snapshot: MachineSnapshot, log: readonly LoggedInput[]): LoggedInput[] {
  const machine = snapshot.devices['machine'];
  const { inputs } = machineState.restore(machine?.state, machine?.version ?? 0);
  const next = new Map(inputs.map((stream) => [stream.stream, stream.next]));
  return log.filter(({ input, number }) => number >= (next.get(streamOf(inputKinds, input)) ?? 0));
}
