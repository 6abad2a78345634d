/** Debugs whole machines, forwards and backwards. Runs wherever the emulator does; sockets are in `host-node`. */
export { GdbStub, type StubOptions } from './gdb/stub.ts';
export { makeMonitor, parseTime, type Monitor, type MonitorCommand } from './gdb/monitor.ts';
export { archOf, type TargetArch } from './gdb/registers.ts';
export { History } from './time/history.ts';
export { TimeMachine, type Stop, type StopKind, type TimeMachineOptions } from './time/time-machine.ts';
