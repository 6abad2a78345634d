/**
 * `npm run bench -- start`: from the start of a process until its guest's first line, whose program is a few instructions long until then. Ours
 * by the launcher and by what that starts, and QEMU, in turn.
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { define } from '../../packages/cli/src/command/command.ts';
import { flag, value } from '../../packages/cli/src/command/options.ts';
import { wholeNumber } from '../../packages/cli/src/command/values.ts';
import { emulators, whyMissing } from './emulators.ts';
import { benchmarks, buildLoop, type Guest } from './guests.ts';
import { median } from './report.ts';
import { writeDocs } from './write-docs.ts';

const root = join(import.meta.dirname, '../..');
const timeoutMs = 60_000;

interface Way {
  name: string;
  command: (guest: Guest) => readonly string[];
}

/** The words of `revenant run` behind this program. */
function ours(program: readonly string[]): Way['command'] {
  return ({ kernel, memoryMiB }) => [
    process.execPath,
    ...program,
    ...['run', '--kernel', kernel, '--memory', `${String(memoryMiB)}M`],
  ];
}

function ways(): Way[] {
  const source = 'packages/cli/src/main.ts';
  const list = readFileSync(join(root, 'build/cli/files.json'), 'utf8');
  const { folder, entries } = JSON.parse(list) as { folder: string; entries: Record<string, string> };
  const built = join(root, 'build/cli', folder, entries[source] ?? '');
  const qemu = emulators.find(({ id }) => id === 'qemu');
  return [
    { name: '`node launcher.mjs run`', command: ours([join(root, 'launcher.mjs')]) },
    { name: 'what the launcher starts', command: ours([built]) },
    { name: '`node packages/cli/src/main.ts run`', command: ours([join(root, source)]) },
    ...(qemu === undefined || whyMissing('qemu') !== undefined
      ? []
      : [{ name: 'QEMU', command: qemu.command }]),
  ];
}

/** Milliseconds until the guest is heard. */
function untilHeard(words: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const began = performance.now();
    const child = spawn(words[0] ?? '', words.slice(1), {
      stdio: ['ignore', 'pipe', 'ignore'],
      // What Node keeps of compiled sources, as the launcher has it.
      env: { NODE_COMPILE_CACHE: join(root, 'node_modules/.cache/node'), ...process.env },
    });
    let heardMs: number | undefined;
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    let text = '';
    child.stdout.setEncoding('latin1').on('data', (more: string) => {
      text += more;
      if (heardMs !== undefined || !text.includes('@@')) return;
      heardMs = performance.now() - began;
      child.kill('SIGTERM');
    });
    child.on('error', reject);
    child.on('close', () => {
      clearTimeout(timer);
      if (heardMs === undefined) reject(new Error(`the guest was not heard: ${words.join(' ')}`));
      else resolve(heardMs);
    });
  });
}

function toMarkdown(runs: number, found: ReadonlyMap<string, readonly number[]>, load: number): string {
  const seconds = (ms: number): string => (ms / 1000).toFixed(2);
  const rows = [...found].map(
    ([name, times]) => `| ${name} | ${seconds(median(times))} | ${seconds(Math.min(...times))} |`,
  );
  const host = `${cpus()[0]?.model ?? 'unknown'}, ${String(cpus().length)} processors, Node ${process.version}`;
  return [
    `${new Date().toISOString().slice(0, 10)}, ${host}, load ${load.toFixed(1)} before, ${String(runs)} runs of each in turn.`,
    '',
    '| until the guest is heard | median, s | least, s |',
    '| --- | ---: | ---: |',
    ...rows,
    '',
  ].join('\n');
}

export const command = define({
  words: [],
  about: `How long it takes until a guest on the bare machine prints its first line: our command by the launcher, the program that the launcher
starts, the same from its sources, and QEMU (with its firmware), in turn. Needs gcc and binutils.`,
  options: {
    runs: value('N', 'runs of each (default 11)', wholeNumber(1, 1000)),
    'write-docs': flag('put the table into docs/BENCHMARKS.md'),
  },
  examples: ['start', 'start --runs 3'],
  async run({ options }) {
    const { runs = 11 } = options;
    const [benchmark] = benchmarks;
    if (benchmark === undefined) throw new Error('there are no guests');
    const guest = buildLoop(benchmark, 32);
    const load = loadavg()[0] ?? NaN;
    const all = ways();
    const found = new Map(all.map(({ name }): [string, number[]] => [name, []]));
    // The first round fills caches.
    for (let round = -1; round < runs; round++)
      for (const { name, command: words } of all) {
        const ms = await untilHeard(words(guest));
        if (round >= 0) found.get(name)?.push(ms);
      }
    const text = toMarkdown(runs, found, load);
    process.stdout.write(text);
    if (options['write-docs']) writeDocs('bench start', text);
    return 0;
  },
});
