/** What a process of a Linux guest has mapped, as its page tables say. */
import { GuestMemory, type MappedRange } from '../inspect/guest-memory.ts';
import { KernelDataError } from '../inspect/linux/kernel-memory.ts';
import type { LinuxKernel } from './kernel.ts';
import { taskOf } from './tasks.ts';

const pageBytes = 4096n;
const noExecute = 1n << 63n;
/** The user's half of a four-level tree, in bytes. */
const userEnd = 1n << 47n;

/** Linear ranges of a process, by address. Throws KernelDataError for a thread of the kernel. */
export async function readMappings(kernel: LinuxKernel, pid: number): Promise<MappedRange[]> {
  const { memory } = kernel.inside;
  const task = await taskOf(kernel, pid);
  const mm = await memory.pointer(task.address + kernel.member('task_struct', 'mm'));
  if (mm === 0n)
    throw new KernelDataError(
      `process ${String(pid)} is a thread of the kernel: it has no memory of its own`,
    );
  const pgd = await memory.pointer(mm + kernel.member('mm_struct', 'pgd'));
  const directMap = await memory.pointer(kernel.requireSymbol('page_offset_base'));
  const root = pgd - directMap;
  const own = await memory.view(pgd, 256 * 8);
  const entries = Array.from({ length: 256 }, (_, n) => own.getBigUint64(n * 8, true)).filter(
    (entry) => entry & 1n,
  );
  // With page-table isolation the kernel can't execute the user's half of its tree; the user's own is in the page behind it.
  const isolated = entries.length > 0 && entries.every((entry) => entry & noExecute);
  const tables = new GuestMemory(kernel.view, { ...kernel.cpu, cr3: isolated ? root + pageBytes : root });
  const ranges: MappedRange[] = [];
  for await (const range of tables.ranges(0n, userEnd)) ranges.push(range);
  return ranges;
}
