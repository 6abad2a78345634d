/**
 * `npm run bench -- network`: what a guest's network carries, beside QEMU's TCG with its user network: the same kernel, initial file system
 * and commands, in turn, round by round. With `--policies` instead: a VM of a cluster by each of its output policies.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { define } from '../../packages/cli/src/command/command.ts';
import { flag, value } from '../../packages/cli/src/command/options.ts';
import { oneOf, wholeNumber } from '../../packages/cli/src/command/values.ts';
import { fetchImage } from '../../packages/cli/src/images/image.ts';
import {
  figureNames,
  freePlaces,
  guestPorts,
  guestWord,
  image,
  measure,
  untilReady,
  type Figures,
  type Places,
} from './network-load.ts';
import { withPolicies } from './network-policies.ts';
import { processorMs } from './processor-time.ts';
import { median } from './report.ts';

const root = join(import.meta.dirname, '../..');
const memoryMiB = '512';

type Measured = [name: string, measure: () => Promise<Figures>];
const ends = Object.entries(guestPorts) as [keyof Places, number][];

function startRevenant(places: Places): ChildProcess {
  const publish = ends.flatMap(([name, port]) => ['--publish', `${String(places[name])}:${String(port)}`]);
  const words = ['run', image, '--memory', `${memoryMiB}M`, '--net', 'user', '--serial', 'none'];
  const network = [...publish, '--append', guestWord()];
  const command = join(root, 'packages/cli/bin/revenant.mjs');
  return spawn(process.execPath, [command, ...words, ...network], { stdio: ['ignore', 'ignore', 'inherit'] });
}

async function startQemu(places: Places): Promise<ChildProcess> {
  const { folder, manifest } = await fetchImage(image, () => undefined);
  const forwards = ends.map(
    ([name, port]) => `hostfwd=tcp:127.0.0.1:${String(places[name])}-:${String(port)}`,
  );
  const machine = ['-accel', 'tcg', '-m', memoryMiB, '-nodefaults', '-display', 'none', '-no-reboot'];
  const boot = ['-kernel', join(folder, 'vmlinuz'), '-initrd', join(folder, 'initrd.cpio')];
  const append = ['-append', `${manifest.commandLine} ${guestWord()}`];
  const network = ['-netdev', `user,id=n,${forwards.join()}`, '-device', 'virtio-net-pci,netdev=n'];
  return spawn('qemu-system-x86_64', [...machine, ...boot, ...append, ...network], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

const starts = { Revenant: startRevenant, 'QEMU TCG': startQemu } as const;

/** Guests of their own, which all run meanwhile: one that waits takes next to nothing. */
async function withGuests(
  { names, seconds }: { names: readonly (keyof typeof starts)[]; seconds: number },
  rounds: (kinds: Measured[]) => Promise<void>,
): Promise<void> {
  const guests: ChildProcess[] = [];
  try {
    const kinds: Measured[] = [];
    for (const name of names) {
      const places = await freePlaces();
      const guest = await starts[name](places);
      guests.push(guest);
      await untilReady(places);
      kinds.push([name, () => measure(places, seconds, () => processorMs(guest.pid!))]);
    }
    await rounds(kinds);
  } finally {
    for (const guest of guests) guest.kill('SIGKILL');
  }
}

function line(name: string, figures: Figures): string {
  return name.padEnd(12) + figureNames.map((each) => figures[each].toFixed(2).padStart(15)).join('');
}

async function inRounds(rounds: number, kinds: Measured[]): Promise<void> {
  const all = kinds.map((): Figures[] => []);
  console.log(' '.repeat(12) + figureNames.map((each) => each.padStart(15)).join(''));
  for (let round = 0; round < rounds; round++)
    for (const [n, [name, measureIt]] of kinds.entries()) {
      const figures = await measureIt();
      all[n]?.push(figures);
      console.log(line(name, figures));
    }
  if (kinds.length < 2) return;
  const medians = all.map((rows) => mapFigures((name) => median(rows.map((row) => row[name]))));
  const [first] = medians;
  console.log('medians');
  for (const [n, [name]] of kinds.entries()) console.log(line(name, medians[n]!));
  console.log(`times those of ${kinds[0]![0]}`);
  for (const [n, [name]] of kinds.entries())
    if (n > 0)
      console.log(
        line(
          name,
          mapFigures((figure) => medians[n]![figure] / first![figure]),
        ),
      );
}

function mapFigures(of: (name: keyof Figures) => number): Figures {
  return Object.fromEntries(figureNames.map((name) => [name, of(name)])) as Figures;
}

export const command = define({
  words: [],
  about: 'Throughput in and out, round trips, and connections a second.',
  options: {
    against: value('NAME', 'qemu: measure QEMU beside it', oneOf(['qemu'])),
    policies: flag(
      'a VM of a cluster instead, entered by another node than its own, by each policy of outputs',
    ),
    rounds: value('N', 'of each kind, in turn (default 3)', wholeNumber(1, 100), 3),
    seconds: value('N', 'of each measurement (default 5)', wholeNumber(1, 3600), 5),
  },
  examples: ['network --against qemu', 'network --policies --seconds 10'],
  async run({ options }) {
    const { rounds, seconds } = options;
    const measureAll = (kinds: Measured[]): Promise<void> => inRounds(rounds, kinds);
    const names = options.against === 'qemu' ? (['Revenant', 'QEMU TCG'] as const) : (['Revenant'] as const);
    if (options.policies) await withPolicies(seconds, measureAll);
    else await withGuests({ names, seconds }, measureAll);
    return undefined;
  },
});
