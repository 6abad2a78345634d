/** `monitor lx …`: what a Linux guest's memory says of it, without scripts of its kernel; and its symbols as a file. */
import { table } from '../inspect/columns.ts';
import { KernelDataError } from '../inspect/linux/kernel-memory.ts';
import { logLine, readLog } from '../inspect/linux/log.ts';
import { readProcesses } from '../inspect/linux/tasks.ts';
import { InspectError } from '../inspect/view.ts';
import { parseNumber, type MonitorCommand } from '../gdb/monitor.ts';
import type { DebugTarget } from '../gdb/target.ts';
import { LinuxKernel } from './kernel.ts';
import { machineView } from './machine-view.ts';
import { readModules } from './modules.ts';
import { readMappings } from './page-tables.ts';
import { symbolFile } from './symbol-file.ts';
import { allTasks, backtrace, taskOf } from './tasks.ts';

const hex = (value: bigint): string => `0x${value.toString(16)}`;

/** Turns until it is settled. */
function* settled<T>(promise: Promise<T>): Generator<undefined, T> {
  let result: { value: T } | { error: unknown } | undefined;
  promise.then(
    (value) => (result = { value }),
    (error: unknown) => (result = { error }),
  );
  while (result === undefined) yield;
  if ('error' in result) throw result.error;
  return result.value;
}

/** The kernel of a machine, found anew when it has run. */
class Finder {
  readonly #target: DebugTarget;
  #found: { count: bigint; kernel: Promise<LinuxKernel> } | undefined;
  #file: { banner: string; text: bigint; bytes: Uint8Array } | undefined;

  constructor(target: DebugTarget) {
    this.#target = target;
  }

  kernel(): Promise<LinuxKernel> {
    const { count, machine } = this.#target;
    if (this.#found?.count !== count) this.#found = { count, kernel: LinuxKernel.find(machineView(machine)) };
    return this.#found.kernel;
  }

  /** Its symbols, which stay the same as long as it is the same kernel at the same place. */
  async symbols(): Promise<Uint8Array> {
    const kernel = await this.kernel();
    const { banner, text } = kernel;
    if (this.#file?.banner !== banner || this.#file.text !== text.from)
      this.#file = { banner, text: text.from, bytes: symbolFile(kernel) };
    return this.#file.bytes;
  }

  /** Those made last: gdb waits for two seconds only when it asks for a file. */
  get prepared(): Uint8Array | undefined {
    return this.#file?.bytes;
  }
}

async function processes(kernel: LinuxKernel): Promise<string> {
  const { processes: all } = await readProcesses(kernel.inside);
  return table(
    ['PID', 'PARENT', 'STATE', 'NAME'],
    all.map(({ pid, parent, state, kernel: own, name }) => [
      String(pid),
      parent === undefined ? '?' : String(parent),
      state,
      own ? `[${name}]` : name,
    ]),
  );
}

async function log(kernel: LinuxKernel, [count]: readonly string[]): Promise<string> {
  const records = await readLog(kernel.inside);
  const last = count === undefined ? records : records.slice(-Number(count));
  return last.map(logLine).join('\n');
}

async function modules(kernel: LinuxKernel): Promise<string> {
  const all = await readModules(kernel);
  if (all.length === 0) return 'no module is loaded';
  return table(
    ['MODULE', 'CODE', 'BYTES'],
    all.map(({ name, base, size }) => [name, hex(base), String(size)]),
  );
}

async function stacks(kernel: LinuxKernel, [word]: readonly string[]): Promise<string> {
  const pid = parseNumber(word);
  const tasks = pid === undefined ? await allTasks(kernel) : [await taskOf(kernel, Number(pid))];
  const parts: string[] = [];
  for (const task of tasks) {
    const frames = await backtrace(kernel, task);
    parts.push(
      [`${String(task.pid)} ${task.comm}`, ...frames.map((frame, n) => `  #${String(n)} ${frame}`)].join(
        '\n',
      ),
    );
  }
  return parts.join('\n');
}

async function mappings(kernel: LinuxKernel, [word]: readonly string[]): Promise<string> {
  const pid = parseNumber(word);
  if (pid === undefined) return 'give the number of a process';
  const ranges = await readMappings(kernel, Number(pid));
  return ranges
    .map(({ from, to, writable, executable }) => {
      const rights = `r${writable ? 'w' : '-'}${executable ? 'x' : '-'}`;
      return `${hex(from)}-${hex(to)} ${rights} ${String((to - from) / 1024n)} KiB`;
    })
    .join('\n');
}

function symbol(kernel: LinuxKernel, [word = '']: readonly string[]): Promise<string> {
  const address = parseNumber(word);
  const found = address === undefined ? kernel.symbol(word) : kernel.nameOf(address);
  const missing =
    address === undefined ? `there is no symbol '${word}'` : `${hex(address)} belongs to no symbol`;
  return Promise.resolve(found === undefined ? missing : typeof found === 'bigint' ? hex(found) : found);
}

type Read = (kernel: LinuxKernel, words: readonly string[], finder: Finder) => Promise<string>;

async function symbols(_kernel: LinuxKernel, _words: readonly string[], finder: Finder): Promise<string> {
  const { length } = await finder.symbols();
  return `${String(Math.ceil(length / 1024))} KiB are there: symbol-file target:kernel`;
}

const commands: readonly { usage: string; summary: string; read: Read }[] = [
  { usage: 'lx version', summary: "the kernel's banner", read: (kernel) => Promise.resolve(kernel.banner) },
  { usage: 'lx ps', summary: 'processes of a Linux guest', read: processes },
  { usage: 'lx dmesg [LINES]', summary: "the kernel's log, or its last lines", read: log },
  { usage: 'lx modules', summary: 'modules that are loaded', read: modules },
  { usage: 'lx bt [PID]', summary: 'where in the kernel each process is', read: stacks },
  { usage: 'lx pages PID', summary: "what a process's page tables map", read: mappings },
  {
    usage: 'lx symbols',
    summary: "makes the kernel's symbols ready for 'symbol-file target:kernel'",
    read: symbols,
  },
  { usage: 'lx symbol NAME|ADDRESS', summary: 'the address of a name, the name of an address', read: symbol },
];

/** What gdb can be given of a Linux guest. */
export interface LinuxAware {
  commands: Record<string, MonitorCommand>;
  /** Files by the name that gdb asks for: `kernel`, the symbols. Undefined: there is no such file. */
  file: (name: string) => Promise<Uint8Array | undefined>;
}

/** What goes wrong in reading a guest's memory is said in one line. */
function told(error: unknown): string {
  if (error instanceof KernelDataError || error instanceof InspectError) return error.message;
  throw error;
}

export function linuxCommands(target: DebugTarget): LinuxAware {
  const finder = new Finder(target);
  const entries = commands.map(({ usage, summary, read }): [string, MonitorCommand] => {
    const name = usage.split(' ').slice(0, 2).join(' ');
    const run = function* (words: string[]): Generator<undefined, string> {
      const text = finder.kernel().then((kernel) => read(kernel, words, finder));
      return `${yield* settled(text.catch(told))}\n`;
    };
    return [name, { usage, summary, run }];
  });
  return {
    commands: Object.fromEntries(entries),
    file: async (name) =>
      name.replace(/^\/+/, '') === 'kernel' ? (finder.prepared ?? finder.symbols()) : undefined,
  };
}
