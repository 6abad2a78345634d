/** `npm run attack`: what strangers, members, guests and the host itself can do to a node, in figures. */
import { define } from '../../packages/cli/src/command/command.ts';
import { dispatchOne } from '../../packages/cli/src/command/dispatch.ts';
import { value, type Values } from '../../packages/cli/src/command/options.ts';
import { positive, wholeNumber } from '../../packages/cli/src/command/values.ts';
import { inOneLine } from '../../packages/cli/src/main.ts';
import { attack } from './run.ts';

const optionTable = {
  frames: value(
    'N',
    'hostile frames and objects for the decoders (default 1000000)',
    wholeNumber(1),
    1_000_000,
  ),
  requests: value('N', 'hostile requests of each caller (default 10000)', wholeNumber(1), 10_000),
  seed: value('N', 'which ones (default 1)', wholeNumber(), 1),
  seconds: value('S', 'how long each flood, guest and trouble lasts (default 10)', positive, 10),
  width: value('N', 'connections of a flood (default 500)', wholeNumber(1), 500),
};

const command = define({
  summary: 'what strangers, members, guests and the host itself can do to a node, in figures',
  words: [],
  about: 'All of it goes to nodes of its own on loopback.',
  options: optionTable,
  examples: ['--frames 10000000 --seconds 30'],
  run: ({ options }) => report(options),
});

const whole = (value: number): string => value.toFixed(0);

function table(title: string, rows: readonly Record<string, string | number>[]): void {
  const names = Object.keys(rows[0] ?? {});
  const cells = [names, ...rows.map((row) => names.map((name) => String(row[name] ?? '')))];
  const widths = names.map((_, n) => Math.max(...cells.map((line) => line[n]!.length)));
  console.log(`\n${title}`);
  for (const line of cells)
    console.log(
      line.map((cell, n) => (n === 0 ? cell.padEnd(widths[n]!) : cell.padStart(widths[n]!))).join('  '),
    );
}

async function report({
  frames,
  requests,
  seed,
  seconds,
  width,
}: Values<typeof optionTable>): Promise<undefined> {
  const found = await attack({ frames, requests, seed, ms: seconds * 1000, width });
  const { decoders, bodies, stored, bombs, names, api, floods, strays, hostile, troubles } = found;
  table('Decoders', [
    { what: 'frames of links and consoles', count: decoders.frames, accepted: decoders.accepted, 'slowest ms': whole(decoders.slowestMs), 'grown MiB': whole(decoders.grownMiB) },
    { what: 'bodies of the API, messages of pages', count: bodies.bodies, accepted: bodies.accepted, 'slowest ms': whole(bodies.slowestMs), 'grown MiB': '' },
    { what: 'objects of a store', count: stored.objects, accepted: stored.accepted, 'slowest ms': whole(stored.slowestMs), 'grown MiB': whole(stored.grownMiB) },
    { what: 'commands with names of Object.prototype', count: names, accepted: '', 'slowest ms': '', 'grown MiB': '' },
  ]); // prettier-ignore
  table('Bombs', bombs.map(({ name, ms }) => ({ what: name, 'refused in ms': whole(ms) }))); // prettier-ignore
  table(
    'Requests to a node',
    api.map(({ who, requests, statuses, slowestMs }) => ({
      'asked by': who,
      requests,
      'slowest ms': whole(slowestMs),
      statuses: Object.entries(statuses).map(([status, count]) => `${status}: ${String(count)}`).join(', '), // prettier-ignore
    })),
  );
  table(
    'Floods of strangers',
    floods.map(({ name, connections, askedAgain, slowestMs, grownMiB }) => ({
      ...{ flood: name, connections, 'slowest ms': whole(slowestMs) },
      ...{ 'asked again': askedAgain, 'grown MiB': whole(grownMiB) },
    })),
  );
  console.log(`leases lost meanwhile: ${String(found.leasesLost)}`);
  table(
    'Hostile guests',
    hostile.map(({ name, steps, leasesLost, slowestMs, grownMiB, state }) => ({
      ...{ guest: name, 'steps of the VM beside it': steps, 'leases lost': leasesLost },
      ...{ 'slowest ms': whole(slowestMs), 'grown MiB': whole(grownMiB), state },
    })),
  );
  table(
    'Troubles of the host',
    troubles.map(({ name, steps, leasesLost, slowestMs, recoveredMs }) => ({
      ...{ trouble: name, 'steps of its VM': steps, 'leases lost': leasesLost },
      ...{ 'slowest ms': whole(slowestMs), 'goes on after ms': whole(recoveredMs) },
    })),
  );
  console.log('\nNodes and callers that were refused');
  for (const line of strays) console.log(line);
  for (const what of found.leftOut) console.log(`left out, as this host lacks it: ${what}`);
  return undefined;
}

process.exitCode = await inOneLine('attack', () =>
  dispatchOne('npm run attack --', command, process.argv.slice(2)),
);
