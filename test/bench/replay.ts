/**
 * `npm run bench -- replay`: how fast a run is repeated from a snapshot and the log behind it, as `revenant replay` does it, beside how fast it was
 * when it happened: in processor time of the guest's thread, which a busy host changes least. The repeating machine begins cold: nothing of
 * the guest's code is translated.
 */
import { loadavg } from 'node:os';
import { restoreMachine, type LoggedInput, type Machine } from '@revenant/emulator';
import { nodeEngine, nodeHash } from '@revenant/emulator/host-node';
import { History, TimeMachine } from '@revenant/debugger/time';
import { fetchImage } from '../../packages/cli/src/images/image.ts';
import { define } from '../../packages/cli/src/command/command.ts';
import { flag, value } from '../../packages/cli/src/command/options.ts';
import { commaSeparated, wholeNumber } from '../../packages/cli/src/command/values.ts';
import { boot, bootInstructions, optionalDrivers } from '../linux/shell.ts';
import { writeDocs } from './write-docs.ts';

type Snapshot = ReturnType<Machine['snapshot']>;

const sliceInstructions = 2_000_000;
/** As `revenant replay` has them. */
const bookmarksEvery = 200_000_000n;
/** So much work is done first: the guest's code is translated by then, as that of a VM that has run for a while. */
const warmUpLoops = 40;
const body = 'ls -l /bin > /tmp/a; sort -r /tmp/a > /tmp/b; sha256sum /tmp/b > /tmp/c';

interface Row {
  loops: number;
  instructions: number;
  originalMs: number;
  replayMs: number;
}

function threadMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

/** A Linux guest at its shell, whose inputs are recorded. */
class Recorded {
  readonly machine: Machine;
  readonly log: LoggedInput[];
  readonly #console: { text: string };

  private constructor(machine: Machine, log: LoggedInput[], console: { text: string }) {
    this.machine = machine;
    this.log = log;
    this.#console = console;
  }

  static async of(snapshot: Snapshot): Promise<Recorded> {
    const log: LoggedInput[] = [];
    const console = { text: '' };
    const machine = await restoreMachine({
      snapshot,
      engine: nodeEngine,
      backends: {
        hash: nodeHash,
        input: (entry) => void log.push(entry),
        serial: (_port, byte) => (console.text += String.fromCharCode(byte)),
      },
    });
    return new Recorded(machine, log, console);
  }

  work(loops: number): void {
    this.#console.text = '';
    const line = `i=0; while [ $i -lt ${String(loops)} ]; do ${body}; i=$((i + 1)); done; echo do""ne\n`;
    this.machine.input({ kind: 'serial', port: 0, bytes: Buffer.from(line) });
    while (!this.#console.text.includes('done\r\n')) this.machine.run({ instructions: sliceInstructions });
  }
}

async function measure(guest: Recorded, loops: number): Promise<Row> {
  const { machine, log } = guest;
  const snapshot = structuredClone(machine.snapshot({ full: true }));
  log.length = 0;
  const from = machine.instructions;
  const began = threadMs();
  guest.work(loops);
  const originalMs = threadMs() - began;
  const history = new History(log);
  const twin = await restoreMachine({
    snapshot,
    engine: nodeEngine,
    backends: { hash: nodeHash, input: history.record },
  });
  const end = machine.instructions;
  const target = new TimeMachine({ machine: twin, history, end, every: bookmarksEvery });
  const restored = threadMs();
  for (const steps = target.goTo(end); steps.next().done !== true;);
  const replayMs = threadMs() - restored;
  if (twin.stateHash() !== machine.stateHash()) throw new Error('the replay came to another state');
  return { loops, instructions: Number(end - from), originalMs, replayMs };
}

function toMarkdown(rows: readonly Row[], load: number): string {
  const lines = rows.map(({ loops, instructions, originalMs, replayMs }) => {
    const cells = [
      ...[String(loops), (instructions / 1e6).toFixed(0), originalMs.toFixed(0), replayMs.toFixed(0)],
      (originalMs / replayMs).toFixed(2),
    ];
    return `| ${cells.join(' | ')} |`;
  });
  return [
    `Debian's cloud kernel, loops of short processes and files; ${new Date().toISOString().slice(0, 10)}, Node ${process.versions.node}, load ${load.toFixed(0)}.`,
    '',
    '| loops | million instructions | took, ms of processor time | again | times as fast |',
    '| ---: | ---: | ---: | ---: | ---: |',
    ...lines,
    '',
  ].join('\n');
}

export const command = define({
  words: [],
  about: 'The same stretch of a run, when it happened and repeated from a snapshot and the log behind it.',
  options: {
    loops: value(
      'LIST',
      'of the guest, for each row (default 20,100)',
      commaSeparated(wholeNumber(1)),
      [20, 100],
    ),
    'write-docs': flag('put the table into docs/BENCHMARKS.md'),
  },
  examples: ['replay --loops 20'],
  async run({ options }) {
    const [load = NaN] = loadavg();
    const shell = await boot(await fetchImage('linux-cloud', (line) => process.stderr.write(`${line}\n`)));
    shell.waitFor(/# /, bootInstructions);
    optionalDrivers(shell);
    const guest = await Recorded.of(structuredClone(shell.machine.snapshot({ full: true })));
    guest.work(warmUpLoops);
    const rows: Row[] = [];
    for (const loops of options.loops) rows.push(await measure(guest, loops));
    const text = toMarkdown(rows, load);
    process.stdout.write(text);
    if (options['write-docs']) writeDocs('bench replay', text);
    return undefined;
  },
});
