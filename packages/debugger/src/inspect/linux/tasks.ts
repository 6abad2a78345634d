/** The processes of a Linux guest: the list of tasks that begins at init_task. One entry for each process; threads are not listed. */
import { findTasks, nameOf, type TaskLayout } from './layout.ts';
import type { KernelInside } from './locate.ts';
import type { KernelMemory } from './kernel-memory.ts';

const kthreadd = 2;

/**
 * Letters of the bits of task_struct.__state and exit_state, from the lowest on (include/linux/sched.h): interruptible, uninterruptible, stopped,
 * traced, dead, zombie, parked. The highest that is set counts; tasks that are new or being woken have none of them and are about to run.
 */
const stateLetters = 'SDTtXZP';
/** TASK_IDLE: uninterruptible, and not counted as load. */
const idle = 0x402;

export interface Process {
  pid: number;
  /** Undefined where the kernel's layout does not tell. */
  parent: number | undefined;
  /** As ps writes it: R, S, D, I, T, t, P, X, Z; `?` when it is not known. */
  state: string;
  /** A thread of the kernel: kthreadd, or below it. */
  kernel: boolean;
  name: string;
}

export interface Processes {
  /** Where the layout came from. */
  layout: TaskLayout['source'];
  processes: Process[];
}

/** All processes in order of pid, without the idle task. Throws KernelDataError when there is no list. */
export async function readProcesses(kernel: KernelInside): Promise<Processes> {
  const { memory } = kernel;
  const { layout, comms } = await findTasks(kernel);
  const pids = new Map<bigint, number>();
  for (const comm of comms) pids.set(comm, await memory.u32(comm + BigInt(layout.pid)));
  const toComm = await distanceToComm(memory, comms, layout);
  const processes: Process[] = [];
  for (const comm of comms.slice(1)) {
    const parent =
      layout.parent === undefined
        ? undefined
        : pids.get((await memory.pointer(comm + BigInt(layout.parent))) + toComm);
    const state = layout.state === undefined ? undefined : await memory.u32(comm + BigInt(layout.state));
    const exit = layout.exitState === undefined ? 0 : await memory.u32(comm + BigInt(layout.exitState));
    const pid = pids.get(comm) ?? 0;
    const kernelThread = pid === kthreadd || parent === kthreadd;
    processes.push({
      pid,
      parent,
      state: stateLetter(state, exit),
      kernel: kernelThread,
      name: await nameOf(memory, comm),
    });
  }
  return { layout: layout.source, processes: processes.sort((a, b) => a.pid - b.pid) };
}

/** From a task's beginning to its `comm`: init_task is its own parent. */
async function distanceToComm(
  memory: KernelMemory,
  [first = 0n]: readonly bigint[],
  { parent }: TaskLayout,
): Promise<bigint> {
  return parent === undefined ? 0n : first - (await memory.pointer(first + BigInt(parent)));
}

/** The letter of ps (proc(5), /proc/PID/stat). */
export function stateLetter(state: number | undefined, exitState = 0): string {
  const reported = ((state ?? 0) | exitState) & 0x7f;
  if (reported === 0) return state === undefined ? '?' : 'R';
  if (state !== undefined && (state & idle) === idle) return 'I';
  return stateLetters[31 - Math.clz32(reported)] ?? '?';
}
