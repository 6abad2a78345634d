/** `npm run attack`: what strangers, members, guests and the host itself can do to a node, in figures. */
import { parseArgs } from 'node:util';
import { attack } from './run.ts';

const { values } = parseArgs({
  options: {
    frames: { type: 'string', default: '1000000' },
    requests: { type: 'string', default: '10000' },
    seed: { type: 'string', default: '1' },
    seconds: { type: 'string', default: '10' },
    width: { type: 'string', default: '500' },
    help: { type: 'boolean', default: false },
  },
});
const usage =
  'npm run attack -- [--frames 10000000] [--requests N] [--seed N] [--seconds PER_ATTACK] [--width CONNECTIONS]';

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

async function main(): Promise<void> {
  const found = await attack({
    ...{ frames: Number(values.frames), requests: Number(values.requests), seed: Number(values.seed) },
    ...{ ms: Number(values.seconds) * 1000, width: Number(values.width) },
  });
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
}

if (values.help) console.log(usage);
else await main();
