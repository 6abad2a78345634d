/**
 * How long an input takes to become durable in the log (docs/LOG_FORMAT.md), at several rates, and what that costs the store. Beside it
 * the disk's own figure: a file of a segment's size written, synced and linked, as `file:` does it, one after another.
 */
import { define } from '../../packages/cli/src/command/command.ts';
import { text, value } from '../../packages/cli/src/command/options.ts';
import { positive, wholeNumber } from '../../packages/cli/src/command/values.ts';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { LogWriter, openStore, raiseEpoch, type ObjectStore } from '@revenant/storage';

/** Inputs a second; 0: as many as it takes. */
const rates = [1, 20, 200, 2000, 0];

interface Row {
  rate: string;
  inputs: number;
  medianMs: number;
  p99Ms: number;
  puts: number;
  bytesPerInput: number;
}

async function run(store: ObjectStore, rate: number, seconds: number, payloadBytes: number): Promise<Row> {
  const ownership = await raiseEpoch(store, 'bench-log', { owner: 'bench', revive: true });
  const sent: number[] = [];
  const took: number[] = [];
  const log = new LogWriter(store, ownership, {
    from: 0n,
    onDurable: ({ input }) => {
      const now = performance.now();
      while (took.length < Number(input)) took.push(now - sent[took.length]!);
    },
  });
  const begun = performance.now();
  for (let due = 0; due < seconds * 1000;) {
    const now = performance.now() - begun;
    if (rate > 0 && now < due) {
      await sleep(due - now);
      continue;
    }
    // Contents that do not compress, as keys and packets do not.
    if (log.append({ count: BigInt(sent.length + 1), payload: randomBytes(payloadBytes) }) === 'taken') {
      sent.push(performance.now());
      due = rate > 0 ? due + 1000 / rate : now;
    } else {
      await setImmediate();
      due = now;
    }
  }
  await log.close();
  const sorted = took.toSorted((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
  const { segments, storedBytes } = log.status;
  return {
    rate: rate === 0 ? 'all it takes' : `${String(rate)}/s`,
    inputs: took.length,
    medianMs: at(0.5),
    p99Ms: at(0.99),
    puts: segments,
    bytesPerInput: storedBytes / took.length,
  };
}

/** Puts of one small object after another, in milliseconds: the least that a commit can take. */
async function putAlone(store: ObjectStore): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < 50; i++) {
    const begun = performance.now();
    await store.put(`bench/alone-${String(i)}`, new Uint8Array(250), { ifAbsent: true });
    times.push(performance.now() - begun);
  }
  await store.delete(times.map((_, i) => `bench/alone-${String(i)}`));
  return times.sort((a, b) => a - b)[25]!;
}

export const command = define({
  words: [],
  options: {
    store: text('URL', 'memory:, file:FOLDER, s3://…; default: a folder of its own in the temporary one'),
    seconds: value('N', 'for each rate (default 5)', positive, 5),
    payload: value('BYTES', 'of each input (default 32)', wholeNumber(1, 2 ** 20), 32),
  },
  examples: ['log --store file:/srv/revenant/bench --seconds 10'],
  async run({ options }) {
    const folder =
      options.store === undefined ? await mkdtemp(join(tmpdir(), 'revenant-bench-log-')) : undefined;
    const store = await openStore(options.store ?? `file:${folder!}`);
    try {
      process.stdout.write(
        `${store.url}: one put of 250 bytes takes ${(await putAlone(store)).toFixed(2)} ms (median)\n`,
      );
      process.stdout.write(
        '| inputs | logged | durable after, median | p99 | puts | bytes an input |\n|---|---|---|---|---|---|\n',
      );
      for (const rate of rates) {
        const row = await run(store, rate, options.seconds, options.payload);
        process.stdout.write(
          `| ${row.rate} | ${String(row.inputs)} | ${row.medianMs.toFixed(2)} ms | ${row.p99Ms.toFixed(2)} ms | ${String(row.puts)} | ${row.bytesPerInput.toFixed(0)} |\n`,
        );
      }
    } finally {
      await store.close();
      if (folder !== undefined) await rm(folder, { recursive: true });
    }
    return undefined;
  },
});
