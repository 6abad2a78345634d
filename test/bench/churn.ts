/** `npm run bench -- churn`: does the host's memory stay bounded while a guest writes code, runs it and writes over it without end? */
import { define } from '../../packages/cli/src/command/command.ts';
import { asTyped, flag, value } from '../../packages/cli/src/command/options.ts';
import { oneOf, positive } from '../../packages/cli/src/command/values.ts';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { createEngine, createMachine, pcMemoryMap, planKernel, type EngineFactory } from '@revenant/emulator';
import { buildModules } from '@revenant/emulator/host-node';
import { compileRegion, loadEngineModules } from '../../packages/emulator/src/host-node/modules.ts';
import { buildLoop, outputFolder, type Bits } from './guests.ts';
import { judgeMemory, settledModules, toleratedBytesPerModule } from './plateau.ts';
import { writeDocs } from './write-docs.ts';

const sliceInstructions = 5_000_000;
const samples = 60;
const MiB = 2 ** 20;

interface Sample {
  minutes: number;
  /** Modules compiled since the start, and those that the host's garbage collector has not taken yet. */
  compiled: number;
  live: number;
  rssMiB: number;
  heapMiB: number;
  externalMiB: number;
}

interface ChurnReport {
  date: string;
  node: string;
  bits: Bits;
  instructions: string;
  samples: Sample[];
  /** Highest of the whole run. */
  peak: { rssMiB: number; live: number };
}

/** An engine whose modules are counted. */
function countingEngine(): { engine: EngineFactory; counts: { compiled: number; live: number } } {
  const counts = { compiled: 0, live: 0 };
  const registry = new FinalizationRegistry(() => counts.live--);
  const engine: EngineFactory = ({ memory, host }) =>
    createEngine({
      modules: loadEngineModules(),
      memory,
      host,
      kind: 'translator',
      compileRegion: (bytes) => {
        const module = compileRegion(bytes);
        counts.compiled++;
        counts.live++;
        registry.register(module, undefined);
        return module;
      },
    });
  return { engine, counts };
}

function line(values: readonly (string | number)[]): string {
  return `${values.map((value, i) => String(value).padStart(i === 0 ? 8 : 12)).join('')}\n`;
}

async function churn(bits: Bits, minutes: number): Promise<ChurnReport> {
  buildModules(() => undefined);
  const guest = buildLoop({ name: 'churn', kind: 'loops', title: 'code churn', turns: 0xffff_ffff }, bits);
  const { engine, counts } = countingEngine();
  const machine = await createMachine({ description: { memoryBytes: guest.memoryMiB * MiB }, engine });
  const request = { kernel: readFileSync(guest.kernel), commandLine: '', longMode: bits === 64 };
  machine.boot(planKernel(request, { memoryMap: pcMemoryMap(guest.memoryMiB * MiB) }));
  const began = performance.now();
  const taken: Sample[] = [];
  const peak = { rssMiB: 0, live: 0 };
  process.stdout.write(line(['minutes', 'compiled', 'live', 'RSS MiB', 'heap MiB', 'ext. MiB']));
  for (;;) {
    const { reason } = machine.run({ instructions: sliceInstructions });
    if (reason !== 'limit') throw new Error(`the guest ended: ${reason}`);
    await nextTurn();
    const { rss, heapUsed, external } = process.memoryUsage();
    peak.rssMiB = Math.max(peak.rssMiB, Math.round(rss / MiB));
    peak.live = Math.max(peak.live, counts.live);
    const now = (performance.now() - began) / 60_000;
    if (now < (minutes * (taken.length + 1)) / samples && now < minutes) continue;
    const sample: Sample = {
      minutes: Number(now.toFixed(2)),
      ...counts,
      rssMiB: Math.round(rss / MiB),
      heapMiB: Math.round(heapUsed / MiB),
      externalMiB: Math.round(external / MiB),
    };
    taken.push(sample);
    process.stdout.write(line(Object.values(sample)));
    if (now >= minutes) break;
  }
  const date = new Date().toISOString().slice(0, 10);
  return {
    date,
    node: process.version,
    bits,
    instructions: String(machine.instructions),
    samples: taken,
    peak,
  };
}

/** A table of every sixth sample, as Markdown. */
function toMarkdown({ date, node, bits, samples: all, peak }: ChurnReport): string {
  const rows = all
    .filter((_, i) => i % 6 === 5 || i === all.length - 1)
    .map((sample) => `| ${Object.values(sample).join(' | ')} |`);
  return [
    `${date}, Node ${node}, ${bits}-bit guest with 64 MiB; highest of all: ${peak.rssMiB} MiB and ${peak.live} live modules.`,
    '',
    '| minutes | modules compiled | live | RSS, MiB | heap, MiB | external, MiB |',
    '| ---: | ---: | ---: | ---: | ---: | ---: |',
    ...rows,
    '',
  ].join('\n');
}

export const command = define({
  words: [],
  about: `Fails when memory grows in the second half of the run by more than ${toleratedBytesPerModule} bytes for each module compiled. Tells so
only when the first half has compiled ${settledModules} modules, and so filled memory: after 30 minutes on a busy host.`,
  options: {
    minutes: value('M', 'how long (default 1; fractions too)', positive, 1),
    bits: value('N', 'guest: 32 or 64 (default 64)', oneOf(['32', '64']), '64'),
    json: value(
      'FILE',
      'where the samples go (default build/bench/churn.json)',
      asTyped,
      join(outputFolder, 'churn.json'),
    ),
    'write-docs': flag('put a table into docs/BENCHMARKS.md'),
  },
  examples: ['churn --minutes 30'],
  async run({ options }) {
    const report = await churn(options.bits === '32' ? 32 : 64, options.minutes);
    mkdirSync(outputFolder, { recursive: true });
    writeFileSync(options.json, `${JSON.stringify(report, null, 2)}\n`);
    if (options['write-docs']) writeDocs('bench churn', toMarkdown(report));
    const { samples: all, peak } = report;
    process.stdout.write(`highest: ${peak.rssMiB} MiB, ${peak.live} live modules\n`);
    const verdict = judgeMemory(all);
    if (verdict.kind === 'too short') {
      process.stdout.write(
        `too short to tell whether memory stays bounded (${verdict.why}): give more --minutes\n`,
      );
      return undefined;
    }
    const { bytesPerModule, modules } = verdict;
    process.stdout.write(
      `second half: ${bytesPerModule} bytes more for each of ${modules} modules (bound: ${toleratedBytesPerModule})\n`,
    );
    if (verdict.kind === 'leak') throw new Error('memory grows: see the samples above');
    return undefined;
  },
});
