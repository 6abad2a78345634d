/**
 * Where the members of `struct task_struct` are, relative to `comm`: from the kernel's BTF, else from what the tasks themselves show.
 * The first task (init_task, "swapper/0" or "swapper") is found by its symbol or by its name in the kernel's data; the list of all tasks
 * is the one ring through it whose every element has a name at the same place.
 */
import { indexOfBytes, textBytes } from '../bytes.ts';
import { membersOf } from './btf.ts';
import { cText, KernelDataError, type KernelMemory } from './kernel-memory.ts';
import type { KernelInside } from './locate.ts';

export const commBytes = 16;
const firstNames = ['swapper/0', 'swapper'] as const;
/** task_struct is larger than this before `comm` in no kernel. */
const reach = 8192;
const mostTasks = 65_536;
const fewestTasks = 3;
const threadBytes = 8192n;

/** Offsets from `comm`, in bytes. */
export interface TaskLayout {
  source: 'BTF' | 'the tasks';
  tasks: number;
  pid: number;
  parent: number | undefined;
  state: number | undefined;
  exitState: number | undefined;
}

export interface Tasks {
  layout: TaskLayout;
  /** Addresses of each task's `comm`, init_task's first. */
  comms: readonly bigint[];
}

/** Finds the list of tasks. Throws KernelDataError when there is none. */
export async function findTasks(kernel: KernelInside): Promise<Tasks> {
  const members = membersOf(kernel.image.bytes, 'task_struct');
  const [comm, tasks, pid] = ['comm', 'tasks', 'pid'].map((name) => members?.get(name));
  for (const first of firstComms(kernel)) {
    if (members !== undefined && comm !== undefined && tasks !== undefined && pid !== undefined) {
      const comms = await ring(kernel.memory, first, tasks - comm);
      if (comms.length < fewestTasks) continue;
      const from = (name: string): number | undefined => {
        const at = members.get(name);
        return at === undefined ? undefined : at - comm;
      };
      const state = from('__state') ?? from('state');
      const layout: TaskLayout = {
        source: 'BTF',
        tasks: tasks - comm,
        pid: pid - comm,
        parent: from('real_parent'),
        state,
        exitState: from('exit_state'),
      };
      return { layout, comms };
    }
    const found = await layoutByShape(kernel.memory, first);
    if (found !== undefined) return found;
  }
  throw new KernelDataError("no list of tasks goes out from the kernel's first task");
}

/** Where the name of the first task may be. */
function firstComms({ image }: KernelInside): bigint[] {
  const { bytes } = image;
  const places: bigint[] = [];
  for (const name of firstNames) {
    const pattern = new Uint8Array(commBytes);
    pattern.set(textBytes(name));
    for (let at = indexOfBytes(bytes, pattern); at >= 0; at = indexOfBytes(bytes, pattern, at + 1))
      places.push(image.address + BigInt(at));
  }
  return places;
}

/** Follows a list from the first task; empty when it is no ring or an element has no name. */
async function ring(memory: KernelMemory, first: bigint, offset: number): Promise<bigint[]> {
  const comms: bigint[] = [];
  const seen = new Set<bigint>();
  try {
    for (let comm = first; comms.length < mostTasks;) {
      if (seen.has(comm)) return comm === first ? comms : [];
      seen.add(comm);
      if (!isName(await commAt(memory, comm))) return [];
      comms.push(comm);
      const node = comm + BigInt(offset);
      const next = await memory.pointer(node);
      if (!memory.isKernel(next) || (await memory.pointer(next + BigInt(memory.pointerBytes))) !== node)
        return [];
      comm = next - BigInt(offset);
    }
  } catch (error) {
    if (!(error instanceof KernelDataError)) throw error;
  }
  return [];
}

/** A name of a task: characters that can be printed, one at least, and a NUL. */
function isName(bytes: Uint8Array): boolean {
  const end = bytes.indexOf(0);
  return end > 0 && bytes.subarray(0, end).every((byte) => byte >= 0x20 && byte < 0x7f);
}

async function layoutByShape(memory: KernelMemory, first: bigint): Promise<Tasks | undefined> {
  const word = memory.pointerBytes;
  for (let tasks = -word; tasks >= -reach; tasks -= word) {
    const comms = await ring(memory, first, tasks);
    if (comms.length < fewestTasks) continue;
    // All from the list to the name: pid, tgid and the parent are there.
    const between = await Promise.all(comms.map((comm) => memory.view(comm + BigInt(tasks), -tasks)));
    const pid = pidIn(between);
    if (pid === undefined) continue;
    const parent = parentIn(memory, { comms, between, from: pid + 8, tasks });
    const state = await stateBefore(memory, comms, tasks);
    return {
      comms,
      layout: { source: 'the tasks', tasks, pid: tasks + pid, parent, state, exitState: undefined },
    };
  }
  return undefined;
}

/** pid and tgid, equal in the first thread of a process: 0 in the first task, else 1 and more, none twice. */
function pidIn(between: readonly DataView[]): number | undefined {
  for (let at = 0; at + 8 <= (between[0]?.byteLength ?? 0); at += 4) {
    const pids = between.map((view) => view.getInt32(at, true));
    const fits = between.every(
      (view, n) => view.getInt32(at + 4, true) === pids[n] && (n === 0 ? pids[n] === 0 : (pids[n] ?? 0) > 0),
    );
    if (fits && pids.includes(1) && new Set(pids).size === pids.length) return at;
  }
  return undefined;
}

interface ParentSearch {
  comms: readonly bigint[];
  between: readonly DataView[];
  from: number;
  tasks: number;
}

/** real_parent: a pointer to a task in each, to itself in the first. All tasks' `comm` is equally far from their beginning. */
function parentIn(memory: KernelMemory, { comms, between, from, tasks }: ParentSearch): number | undefined {
  const word = memory.pointerBytes;
  const [first = 0n] = comms;
  for (let at = Math.ceil(from / word) * word; at + word <= -tasks; at += word) {
    const pointers = between.map((view) => memory.wordOf(view, at));
    const [own = 0n] = pointers;
    const commOffset = first - own;
    if (commOffset <= 0n || commOffset > BigInt(reach)) continue;
    const known = new Set(comms.map((comm) => comm - commOffset));
    if (pointers.every((pointer) => known.has(pointer)) && new Set(pointers).size > 1) return tasks + at;
  }
  return undefined;
}

/** __state stands before `stack`, the one pointer near the beginning that is different in all and aligned as stacks of kernel threads are. */
async function stateBefore(
  memory: KernelMemory,
  comms: readonly bigint[],
  tasks: number,
): Promise<number | undefined> {
  const word = memory.pointerBytes;
  for (let stack = tasks - word; stack >= tasks - reach / 2; stack -= word) {
    const pointers = new Set<bigint>();
    for (const comm of comms) {
      const pointer = await memory.pointer(comm + BigInt(stack));
      if (!memory.isKernel(pointer) || pointer % threadBytes !== 0n || pointers.has(pointer)) break;
      pointers.add(pointer);
    }
    // Since 6.7 saved_state stands between on i386, and nearly always is 0.
    if (pointers.size === comms.length) return await stateAt(memory, comms, stack);
  }
  return undefined;
}

async function stateAt(memory: KernelMemory, comms: readonly bigint[], stack: number): Promise<number> {
  const nearest = stack - memory.pointerBytes;
  if (memory.pointerBytes === 8) return nearest;
  for (const comm of comms) if ((await memory.u32(comm + BigInt(nearest))) !== 0) return nearest;
  return nearest - 4;
}

async function commAt(memory: KernelMemory, comm: bigint): Promise<Uint8Array> {
  const view = await memory.view(comm, commBytes);
  return new Uint8Array(view.buffer, view.byteOffset, commBytes);
}

/** The name at an address of `comm`. */
export async function nameOf(memory: KernelMemory, comm: bigint): Promise<string> {
  return cText(await commAt(memory, comm));
}
