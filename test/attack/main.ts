/** `npm run attack`: what strangers, members, guests and the host itself can do to a node, in figures. */
import { define } from '../../packages/cli/src/command/command.ts';
import { dispatchOne } from '../../packages/cli/src/command/dispatch.ts';
import { value, type Values } from '../../packages/cli/src/command/options.ts';
import { commaSeparated, oneOf, positive, wholeNumber } from '../../packages/cli/src/command/values.ts';
import { inOneLine } from '../../packages/cli/src/main.ts';
import { attack, parts } from './run.ts';

const optionTable = {
  only: value('PART,…', `some of it: ${parts.join(', ')} (default all)`, commaSeparated(oneOf(parts)), [
    ...parts,
  ]),
  frames: value(
    'N',
    'hostile frames and objects for the decoders (default 1000000)',
    wholeNumber(1),
    1_000_000,
  ),
  requests: value('N', 'hostile requests of each caller (default 10000)', wholeNumber(1), 10_000),
  seed: value('N', 'which ones (default 1)', wholeNumber(), 1),
  seconds: value('S', 'how long each flood, guest and trouble lasts (default 10)', positive, 10),
  image: value(
    'MIB',
    'size of the image that is imported, exported and imported again (default 2048)',
    wholeNumber(1, 65_536),
    2048,
  ),
  width: value('N', 'connections of a flood (default 500)', wholeNumber(1), 500),
};

const command = define({
  words: [],
  about: 'All of it goes to nodes of its own on loopback.',
  options: optionTable,
  examples: [
    '--frames 10000000 --seconds 30',
    '--only stored --frames 10000000',
    '--only writers --image 2048',
  ],
  run: ({ options }) => report(options),
});

interface Fuzzed {
  accepted: number;
  slowestMs: number;
  grownMiB: number;
}

const whole = (value: number): string => value.toFixed(0);

function table(title: string, rows: readonly Record<string, string | number>[]): void {
  if (rows.length === 0) return;
  const names = Object.keys(rows[0] ?? {});
  const cells = [names, ...rows.map((row) => names.map((name) => String(row[name] ?? '')))];
  const widths = names.map((_, n) => Math.max(...cells.map((line) => line[n]!.length)));
  console.log(`\n${title}`);
  for (const line of cells)
    console.log(
      line.map((cell, n) => (n === 0 ? cell.padEnd(widths[n]!) : cell.padStart(widths[n]!))).join('  '),
    );
}

const grown = ({ accepted, slowestMs, grownMiB }: Fuzzed): Record<string, string | number> => ({
  ...{ accepted, 'slowest ms': whole(slowestMs), 'grown MiB': whole(grownMiB) },
});

async function report({
  only,
  frames,
  requests,
  seed,
  seconds,
  width,
  image,
}: Values<typeof optionTable>): Promise<undefined> {
  const found = await attack({ only, frames, requests, seed, ms: seconds * 1000, width, imageMiB: image });
  const { decoders, bodies, stored, bombs, names, api, floods, strays, hostile, writers, troubles } = found;
  const fuzzed: Record<string, string | number>[] = [];
  if (decoders !== undefined)
    fuzzed.push({ what: 'frames of links and consoles', count: decoders.frames, ...grown(decoders) });
  if (bodies !== undefined)
    fuzzed.push({ what: 'bodies of the API, messages of pages', count: bodies.bodies, ...grown(bodies) });
  if (stored !== undefined)
    fuzzed.push({ what: 'objects of a store', count: stored.objects, ...grown(stored) });
  if (names > 0) fuzzed.push({ what: 'commands with names of Object.prototype', count: names });
  table('Decoders', fuzzed);
  table(
    'Bombs',
    bombs.map(({ name, ms }) => ({ what: name, 'refused in ms': whole(ms) })),
  );
  table(
    'Requests to a node',
    api.map(({ who, requests, statuses, slowestMs }) => ({
      'asked by': who,
      requests,
      'slowest ms': whole(slowestMs),
      statuses: Object.entries(statuses)
        .map(([status, count]) => `${status}: ${String(count)}`)
        .join(', '),
    })),
  );
  table(
    'Floods of strangers',
    floods.map(({ name, connections, askedAgain, slowestMs, grownMiB }) => ({
      ...{ flood: name, connections, 'slowest ms': whole(slowestMs) },
      ...{ 'asked again': askedAgain, 'grown MiB': whole(grownMiB) },
    })),
  );
  if (floods.length > 0) console.log(`leases lost meanwhile: ${String(found.leasesLost)}`);
  table(
    'Hostile guests',
    hostile.map(({ name, steps, leasesLost, slowestMs, grownMiB, state }) => ({
      ...{ guest: name, 'steps of the VM beside it': steps, 'leases lost': leasesLost },
      ...{ 'slowest ms': whole(slowestMs), 'grown MiB': whole(grownMiB), state },
    })),
  );
  table(
    'Large writers beside a node',
    writers.map(({ name, tookMs, steps, leasesLost, slowestMs, grownMiB, writerMiB }) => ({
      ...{ writer: name, 'took s': (tookMs / 1000).toFixed(1), 'steps of the VM beside it': steps },
      ...{ 'leases lost': leasesLost, 'slowest ms': whole(slowestMs) },
      ...{ 'node grown MiB': whole(grownMiB), 'writer held MiB': whole(writerMiB) },
    })),
  );
  table(
    'Troubles of the host',
    troubles.map(({ name, steps, leasesLost, slowestMs, recoveredMs }) => ({
      ...{ trouble: name, 'steps of its VM': steps, 'leases lost': leasesLost },
      ...{ 'slowest ms': whole(slowestMs), 'goes on after ms': whole(recoveredMs) },
    })),
  );
  if (strays.length > 0) console.log('\nNodes and callers that were refused');
  for (const line of strays) console.log(line);
  for (const what of found.leftOut) console.log(`left out, as this host lacks it: ${what}`);
  return undefined;
}

process.exitCode = await inOneLine('attack', () =>
  dispatchOne(
    {
      path: 'npm run attack --',
      summary: 'what strangers, members, guests and the host itself can do to a node, in figures',
      command,
    },
    process.argv.slice(2),
  ),
);
