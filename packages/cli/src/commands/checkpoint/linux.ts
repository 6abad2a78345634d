/** `checkpoint linux`: a Linux guest's banner, processes and kernel log, read from its memory. */
import {
  inspectLinux,
  logLine,
  valueOf,
  type LinuxFindings,
  type LinuxPart,
  type Process,
} from '@revenant/debugger/inspect';
import { inspecting, storeOptions } from '../../checkpoint/opener.ts';
import { define } from '../../command/command.ts';
import { flag } from '../../command/options.ts';
import { CliError, ExitCode } from '../../errors.ts';
import { fields, table } from '../../output/print.ts';
import { printable } from '../../output/printable.ts';
import { Progress } from '../../output/progress.ts';

const logLinesShown = 10;
/** In brackets what is no program, as ps writes it. */
const processTable = (processes: readonly Process[]): string =>
  table(
    ['PID', 'PARENT', 'STATE', 'NAME'],
    processes.map(({ pid, parent, state, kernel, name }) => [
      String(pid),
      parent === undefined ? '?' : String(parent),
      state,
      kernel ? `[${name}]` : name,
    ]),
  );

function asJson({ kernel, commandLine, log, tasks }: LinuxFindings): Record<string, unknown> {
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

function asText({ kernel, commandLine, log, tasks }: LinuxFindings): string {
  const records = valueOf(log);
  const found = valueOf(tasks);
  const { inside } = kernel;
  // prettier-ignore
  const head = fields([
    ['banner', kernel.banner],
    ['architecture', kernel.architecture],
    ['command line', commandLine ?? 'not found'],
    ['symbols', inside === undefined ? 'not recognised' : `${inside.symbols.count.toLocaleString('en-US')}, from 0x${inside.image.address.toString(16)} on`],
    ['processes', 'missing' in tasks ? `not found: ${tasks.missing}` : `${tasks.value.processes.length} (layout from ${tasks.value.layout})`],
    ['kernel log', 'missing' in log ? `not found: ${log.missing}` : `${log.value.length} records`],
  ]);
  const last = records?.slice(-logLinesShown) ?? [];
  return [
    head,
    ...(found ? [processTable(found.processes)] : []),
    ...(last.length > 0 ? [last.map(logLine).join('\n')] : []),
  ].join('\n\n');
}

/** What was asked for alone must be there. */
function wanted<T>(what: string, read: LinuxPart<T>): T {
  if ('value' in read) return read.value;
  throw new CliError(
    ExitCode.badInput,
    `no ${what}: ${read.missing}`,
    'the banner alone: revenant checkpoint linux CHECKPOINT',
  );
}

export const command = define({
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
    const progress = new Progress('linux');
    const findings = await inspecting(input.options, async (opener) =>
      inspectLinux(await opener.checkpoint(input.word(0)), progress.update).finally(() => {
        progress.done();
      }),
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
