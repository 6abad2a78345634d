/** Looks into checkpoints: registers, memory, code, and a Linux guest's processes and log. Runs wherever the emulator does. */
export { hex } from './bytes.ts';
export { fields, table } from './columns.ts';
export { disassembleAt, type Code } from './code.ts';
export { cpuOf, GuestMemory } from './guest-memory.ts';
export { inspectLinux, valueOf, type LinuxFindings, type Part as LinuxPart } from './linux/findings.ts';
export { KernelDataError } from './linux/kernel-memory.ts';
export { locateKernel, type Kernel, type KernelInside } from './linux/locate.ts';
export { logLine, readLog, type LogRecord } from './linux/log.ts';
export { readProcesses, type Process, type Processes } from './linux/tasks.ts';
export { readAt } from './memory-at.ts';
export { decodeRegisters, registersText } from './registers.ts';
export { searchPages, textPatterns } from './search.ts';
export { InspectError, type CheckpointView, type InspectedSpace } from './view.ts';
