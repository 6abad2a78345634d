/** All that can be found of a Linux guest in a checkpoint; what can't is said in its place. */
import type { CheckpointView } from '../view.ts';
import { KernelDataError } from './kernel-memory.ts';
import { locateKernel, type Kernel, type KernelInside } from './locate.ts';
import { readLog, type LogRecord } from './log.ts';
import { readProcesses, type Processes } from './tasks.ts';

const mostCommandLine = 4096;
const commandLineInLog = /^(?:Kernel command|Command) line: (.*)$/;

/** A part that was read, or why it was not. */
export type Part<T> = { value: T } | { missing: string };

export interface LinuxFindings {
  kernel: Kernel;
  commandLine: string | undefined;
  log: Part<LogRecord[]>;
  tasks: Part<Processes>;
}

async function part<T>(
  inside: KernelInside | undefined,
  read: (inside: KernelInside) => Promise<T>,
): Promise<Part<T>> {
  if (inside === undefined) return { missing: "the kernel's symbols were not recognised" };
  try {
    return { value: await read(inside) };
  } catch (error) {
    if (error instanceof KernelDataError) return { missing: error.message };
    throw error;
  }
}

export const valueOf = <T>(read: Part<T>): T | undefined => ('value' in read ? read.value : undefined);

/** By the kernel's own symbol, else as its log says; undefined when neither is there. */
async function commandLineOf(
  { inside }: Kernel,
  log: readonly LogRecord[] | undefined,
): Promise<string | undefined> {
  const symbol = inside?.symbols.addresses.get('saved_command_line');
  if (inside !== undefined && symbol !== undefined) {
    const line = await part(inside, async ({ memory }) =>
      memory.text(await memory.pointer(symbol), mostCommandLine),
    );
    if ('value' in line && line.value !== '') return line.value.trimEnd();
  }
  return log?.map(({ text }) => commandLineInLog.exec(text)?.[1]).find((line) => line !== undefined);
}

/** Throws InspectError when there is no Linux. */
export async function inspectLinux(
  view: CheckpointView,
  onProgress?: (progress: { donePages: number; totalPages: number }) => void,
): Promise<LinuxFindings> {
  const kernel = await locateKernel(view, onProgress);
  const log = await part(kernel.inside, readLog);
  const tasks = await part(kernel.inside, readProcesses);
  return { kernel, commandLine: await commandLineOf(kernel, valueOf(log)), log, tasks };
}
