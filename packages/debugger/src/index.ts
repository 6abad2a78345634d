/** Debugs whole machines, forwards and backwards. `time` runs wherever the emulator does, the others need Node's Buffer; sockets are in `host-node`. */
export { GdbStub, type StubOptions } from './gdb/stub.ts';
export { makeMonitor, parseTime, type Monitor, type MonitorCommand } from './gdb/monitor.ts';
export { LiveDebugger, type LiveDebuggerOptions } from './live/live-debugger.ts';
export { linuxCommands, type LinuxAware } from './lx/commands.ts';
export { archOf, type TargetArch } from './gdb/registers.ts';
export type { DebugTarget, Stop, StopKind } from './gdb/target.ts';
export { ConsoleOnce, History, TimeMachine, type TimeMachineOptions } from './time/index.ts';
export { flameSvg, sample, type FlameNode } from './trace/flame.ts';
export { traceWriter, type NameOf, type TraceFormat } from './trace/format.ts';
export { Tap } from './trace/tap.ts';
export { trace, type TraceEvent, type TraceKind, type TraceRequest } from './trace/trace.ts';
