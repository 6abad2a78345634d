/** `checkpoint linux`: a Linux guest's banner, processes and kernel log, read from its memory. */
import type { CheckpointReader } from '@revenant/storage';
import { KernelDataError } from '../../checkpoint/linux/kernel-memory.ts';
import { locateKernel, type Kernel, type KernelInside } from '../../checkpoint/linux/locate.ts';
import { logLine, readLog, type LogRecord } from '../../checkpoint/linux/log.ts';
import { readProcesses, type Process, type Processes } from '../../checkpoint/linux/tasks.ts';
import { inspecting, storeOptions } from '../../checkpoint/opener.ts';
import { define } from '../../command/command.ts';
import { flag } from '../../command/options.ts';
import { CliError, ExitCode } from '../../errors.ts';
import { fields, table } from '../../output/print.ts';
import { printable } from '../../output/printable.ts';
import { Progress } from '../../output/progress.ts';

const mostCommandLine = 4096;
const logLinesShown = 10;
const commandLineInLog = /^(?:Kernel command|Command) line: (.*)$/;

/** A part that was read, or why it was not. */
type Part<T> = { value: T } | { missing: string };

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

const valueOf = <T>(read: Part<T>): T | undefined => ('value' in read ? read.value : undefined);

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

/** In brackets what is no program, as ps writes it. */
const processTable = (processes: readonly Process[]): string =>
  table(
    ['PID', 'PARENT', 'STATE', 'NAME'],
    processes.map(({ pid, parent, state, kernel, name }) => [
      String(pid), parent === undefined ? '?' : String(parent), state, kernel ? `[${name}]` : name,
    ]), // prettier-ignore
  );

interface Findings {
  kernel: Kernel;
  commandLine: string | undefined;
  log: Part<LogRecord[]>;
  tasks: Part<Processes>;
}

function asJson({ kernel, commandLine, log, tasks }: Findings): Record<string, unknown> {
  const missing = {
    ...('missing' in log && { log: log.missing }),
    ...('missing' in tasks && { processes: tasks.missing }),
  };
  return {
    banner: kernel.banner,
    release: kernel.release,
    architecture: kernel.architecture,
    commandLine: commandLine ?? null,
    symbols: kernel.inside?.symbols.count ?? null,
    layout: valueOf(tasks)?.layout ?? null,
    processes:
      valueOf(tasks)?.processes.map((process) => ({ ...process, parent: process.parent ?? null })) ?? null,
    log: valueOf(log) ?? null,
    missing,
  };
}

function asText({ kernel, commandLine, log, tasks }: Findings): string {
  const records = valueOf(log);
  const found = valueOf(tasks);
  const { inside } = kernel;
  const head = fields([
    ['banner', kernel.banner],
    ['architecture', kernel.architecture],
    ['command line', commandLine ?? 'not found'],
    ['symbols', inside === undefined ? 'not recognised' : `${inside.symbols.count.toLocaleString('en-US')}, from 0x${inside.image.address.toString(16)} on`],
    ['processes', 'missing' in tasks ? `not found: ${tasks.missing}` : `${tasks.value.processes.length} (layout from ${tasks.value.layout})`],
    ['kernel log', 'missing' in log ? `not found: ${log.missing}` : `${log.value.length} records`],
  ]); // prettier-ignore
  const last = records?.slice(-logLinesShown) ?? [];
  return [
    head,
    ...(found ? [processTable(found.processes)] : []),
    ...(last.length > 0 ? [last.map(logLine).join('\n')] : []),
  ].join('\n\n');
}

/** What was asked for alone must be there. */
function wanted<T>(what: string, read: Part<T>): T {
  if ('value' in read) return read.value;
  throw new CliError(
    ExitCode.badInput,
    `no ${what}: ${read.missing}`,
    'the banner alone: revenant checkpoint linux CHECKPOINT',
  );
}

/** All that can be found; what can't is said in its place. */
async function inspect(reader: CheckpointReader): Promise<Findings> {
  const progress = new Progress('linux');
  const kernel = await locateKernel(reader, progress.update).finally(() => {
    progress.done();
  });
  const log = await part(kernel.inside, readLog);
  const tasks = await part(kernel.inside, readProcesses);
  return { kernel, commandLine: await commandLineOf(kernel, valueOf(log)), log, tasks };
}

export const command = define({
  summary: "a Linux guest's banner, processes and kernel log",
  words: ['CHECKPOINT'],
  about: `Found in the guest's memory: the banner by its text, symbols by the shape of the kernel's own tables (kallsyms), the log in the printk
ring buffer (Linux 5.10 and later), processes by the list that begins at the first task. Structures are laid out as the kernel's BTF
says or, where it has none, as the tasks themselves show. Kernels of amd64 and i386, wherever they were loaded (KASLR).
Without an option: what was found, all processes, and the last ${logLinesShown} lines of the log.`,
  options: {
    log: flag('the whole kernel log, and nothing else'),
    processes: flag('the processes, and nothing else'),
    ...storeOptions,
  },
  examples: ['checkpoint linux vm1 --store file:/srv/revenant', 'checkpoint linux ./linux.checkpoint --log'],
  async run(input) {
    const findings = await inspecting(input.options, async (opener) =>
      inspect(await opener.checkpoint(input.word(0))),
    );
    const parts: { json: Record<string, unknown>; text: string }[] = [];
    if (input.options.processes) {
      const { processes } = wanted('process list', findings.tasks);
      parts.push({ json: { processes }, text: processTable(processes) });
    }
    if (input.options.log) {
      const records = wanted('kernel log', findings.log);
      parts.push({ json: { log: records }, text: records.map(logLine).join('\n') });
    }
    if (parts.length === 0) parts.push({ json: asJson(findings), text: asText(findings) });
    input.show(Object.assign({}, ...parts.map(({ json }) => json)), () =>
      printable(parts.map(({ text }) => text).join('\n\n')),
    );
    return undefined;
  },
});
