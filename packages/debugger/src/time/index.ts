/** Machines that run forwards and backwards, wherever the emulator does. */
export { machineView } from '../lx/machine-view.ts';
export { ConsoleOnce } from './console-once.ts';
export { History } from './history.ts';
export type { Stop, StopKind } from '../gdb/target.ts';
export { TimeMachine, type TimeMachineOptions } from './time-machine.ts';
