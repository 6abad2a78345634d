/** The kernel's loaded modules: the list that begins at the symbol `modules`. */
import type { LinuxKernel } from './kernel.ts';

const mostModules = 4096;

export interface Module {
  name: string;
  /** Of its code. */
  base: bigint;
  size: number;
}

/** The newest first, as lsmod has them. Throws KernelDataError where the kernel does not tell. */
export async function readModules(kernel: LinuxKernel): Promise<Module[]> {
  const { memory } = kernel.inside;
  const head = kernel.requireSymbol('modules');
  const [list, name] = [kernel.member('module', 'list'), kernel.member('module', 'name')];
  // Since Linux 6.4 an array of areas, of which code is the first; each begins with its base and its size.
  const area = kernel.member('module', kernel.hasMember('module', 'mem') ? 'mem' : 'core_layout');
  const modules: Module[] = [];
  for (let node = await memory.pointer(head); node !== head && modules.length < mostModules;) {
    const at = node - list;
    modules.push({
      name: await memory.text(at + name, 56),
      base: await memory.pointer(at + area),
      size: await memory.u32(at + area + BigInt(memory.pointerBytes)),
    });
    node = await memory.pointer(node);
  }
  return modules;
}
