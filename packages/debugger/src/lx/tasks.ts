/** Tasks of a Linux kernel by their structures: where they are, on which stack, and through which functions they came there. */
import { disassembleOne } from '@revenant/emulator';
import { KernelDataError } from '../inspect/linux/kernel-memory.ts';
import { findTasks } from '../inspect/linux/layout.ts';
import type { LinuxKernel } from './kernel.ts';
import { readModules, type Module } from './modules.ts';

/** THREAD_SIZE of amd64 and of i386. */
const stackBytes = { 8: 16384, 4: 8192 } as const;
const maxFrames = 64;
/** Lengths of CALL: to a register, memory, relative. */
const callLengths = [2, 3, 5, 6, 7] as const;

export interface Task {
  /** Of its task_struct. */
  address: bigint;
  pid: number;
  comm: string;
}

/** The task of a pid. Throws KernelDataError when there is none. */
export async function taskOf(kernel: LinuxKernel, pid: number): Promise<Task> {
  const found = (await allTasks(kernel)).find((task) => task.pid === pid);
  if (found === undefined) throw new KernelDataError(`there is no process ${String(pid)}`);
  return found;
}

export async function allTasks(kernel: LinuxKernel): Promise<Task[]> {
  const { memory } = kernel.inside;
  const { comms, layout } = await findTasks(kernel.inside);
  const toComm = kernel.member('task_struct', 'comm');
  return Promise.all(
    comms.map(async (at) => ({
      address: at - toComm,
      pid: await memory.u32(at + BigInt(layout.pid)),
      comm: await memory.text(at, 16),
    })),
  );
}

/** Address of the task that the processor runs; undefined where the kernel does not tell. */
async function currentTask(kernel: LinuxKernel): Promise<bigint | undefined> {
  const { cpu, inside } = kernel;
  // A variable of each processor, which pcpu_hot begins with since Linux 6.2: its address counts from the base of GS (amd64) or FS (i386).
  const variable = kernel.symbol('pcpu_hot') ?? kernel.symbol('current_task');
  if (variable === undefined) return undefined;
  const isWide = inside.memory.pointerBytes === 8;
  const base = !isWide ? cpu.segments.fs.base : cpu.cpl === 0 ? cpu.segments.gs.base : cpu.kernelGsBase;
  try {
    return await inside.memory.pointer(BigInt.asUintN(isWide ? 64 : 32, base + variable));
  } catch (error) {
    if (error instanceof KernelDataError) return undefined;
    throw error;
  }
}

/**
 * Functions of the kernel in which a task is, the innermost first: `name+0x12`. The kernel has no frame pointers, so its stack is
 * scanned for addresses behind calls; one of them may be left over from a call that returned.
 */
export async function backtrace(kernel: LinuxKernel, { address }: Task): Promise<string[]> {
  const { cpu, inside } = kernel;
  const { memory } = inside;
  const modules = await readModules(kernel).catch((): Module[] => []);
  const isCode = (at: bigint): boolean =>
    (at >= kernel.text.from && at < kernel.text.to) ||
    modules.some(({ base, size }) => at >= base && at < base + BigInt(size));
  const frames: string[] = [];
  const runs = (await currentTask(kernel)) === address;
  if (runs && cpu.cpl !== 0) frames.push(`in user mode, at 0x${BigInt.asUintN(64, cpu.rip).toString(16)}`);
  if (runs && cpu.cpl !== 0) return frames;
  const saved = kernel.member('task_struct', 'thread') + kernel.member('thread_struct', 'sp');
  const sp = runs ? BigInt.asUintN(64, cpu.rsp) : await memory.pointer(address + saved);
  if (runs) frames.push(nameIn(kernel, modules, BigInt.asUintN(64, cpu.rip)));
  const bottom = await memory.pointer(address + kernel.member('task_struct', 'stack'));
  const top = bottom + BigInt(stackBytes[memory.pointerBytes]);
  if (sp < bottom || sp >= top) {
    frames.push(`its stack pointer 0x${sp.toString(16)} lies on another stack`);
    return frames;
  }
  const stack = await memory.view(sp, Number(top - sp));
  for (let at = 0; at + memory.pointerBytes <= stack.byteLength && frames.length < maxFrames;) {
    const word = memory.wordOf(stack, at);
    if (isCode(word) && (await followsCall(kernel, word))) frames.push(nameIn(kernel, modules, word));
    at += memory.pointerBytes;
  }
  return frames;
}

function nameIn(kernel: LinuxKernel, modules: readonly Module[], address: bigint): string {
  const module = modules.find(({ base, size }) => address >= base && address < base + BigInt(size));
  if (module !== undefined) return `[${module.name}]+0x${(address - module.base).toString(16)}`;
  return kernel.nameOf(address) ?? `0x${address.toString(16)}`;
}

async function followsCall({ inside: { memory } }: LinuxKernel, address: bigint): Promise<boolean> {
  const before = await memory.view(address - 7n, 7);
  const bytes = new Uint8Array(before.buffer, before.byteOffset, 7);
  return callLengths.some((length) => {
    const { mnemonic, length: decoded } = disassembleOne(
      bytes.subarray(7 - length),
      memory.pointerBytes === 8 ? 64 : 32,
    );
    return decoded === length && mnemonic.startsWith('call');
  });
}
