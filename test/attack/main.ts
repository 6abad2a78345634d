/** `npm run attack`: what strangers and hostile messages can do to a node, in figures. */
import { parseArgs } from 'node:util';
import { attack } from './run.ts';

const { values } = parseArgs({
  options: {
    frames: { type: 'string', default: '1000000' },
    seed: { type: 'string', default: '1' },
    seconds: { type: 'string', default: '10' },
    width: { type: 'string', default: '500' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help)
  console.log('npm run attack -- [--frames 10000000] [--seed N] [--seconds PER_FLOOD] [--width CONNECTIONS]');
else {
  const { decoders, bombs, names, floods, leasesLost } = await attack({
    frames: Number(values.frames),
    seed: Number(values.seed),
    floodMs: Number(values.seconds) * 1000,
    width: Number(values.width),
  });
  const fixed = (value: number): string => value.toFixed(1);
  console.log(
    `${String(decoders.frames)} frames fuzzed, ${String(decoders.accepted)} still messages; slowest ${fixed(decoders.slowestMs)} ms, memory +${fixed(decoders.grownMiB)} MiB`,
  );
  console.log(`${String(names)} commands with names of Object.prototype`);
  for (const { name, ms } of bombs) console.log(`refused in ${fixed(ms)} ms: ${name}`);
  for (const { name, connections, slowestMs, askedAgain, grownMiB } of floods)
    console.log(
      `${name}: ${String(connections)} connections, memory +${fixed(grownMiB)} MiB, slowest answer ${fixed(slowestMs)} ms (asked again ${String(askedAgain)} times)`,
    );
  console.log(`leases lost: ${String(leasesLost)}`);
}
