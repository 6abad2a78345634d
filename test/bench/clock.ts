/** `npm run bench -- clock`: how well does a guest's clock follow its host's, whatever the guest does? */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { define } from '../../packages/cli/src/command/command.ts';
import { asTyped, flag, value } from '../../packages/cli/src/command/options.ts';
import { commaSeparated, oneOf, positive } from '../../packages/cli/src/command/values.ts';
import {
  createMachine,
  LivePace,
  pcMemoryMap,
  planBootSector,
  planKernel,
  type BootPlan,
  type Machine,
} from '@revenant/emulator';
import { buildModules, nodeClock, nodeEngine } from '@revenant/emulator/host-node';
import { measureInCluster } from './clock-cluster.ts';
import { buildLinux, buildLoop, outputFolder } from './guests.ts';
import { writeDocs } from './write-docs.ts';

const MiB = 2 ** 20;
const maxSleepMs = 20;
const longestTurnNs = 7e6;
/** Until the translator has done most of its work. */
const warmUpMs = 1000;
const fixedNs = 4;

export interface Figures {
  name: string;
  title: string;
  seconds: number;
  /** Virtual time per time of the host, over the whole run. */
  ratio: number;
  /** Greatest distance between the two clocks at any moment. */
  farthestMs: number;
  /** For how long, at most, the host did not let the guest's thread run while it could. */
  stolenMs?: number;
  /** Million instructions a second of the host. */
  mips?: number;
  /** What the ratio would be at a fixed rate; undefined for a guest that waits. */
  fixedRatio?: number | undefined;
  /** Part of a processor that the host gave. */
  share?: number;
}

/** Real mode: a tick each 4 ms, HLT between them. */
// prettier-ignore
const idleCode = [
  0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0, 0xbc, 0x00, 0x7c, // cli; ds = ss = 0; sp = 0x7c00
  0xc7, 0x06, 0x20, 0x00, 0x40, 0x7c, 0xa3, 0x22, 0x00, // vector 8: 0x7c40
  0xb0, 0x11, 0xe6, 0x20, 0xb0, 0x08, 0xe6, 0x21, 0xb0, 0x04, 0xe6, 0x21, 0xb0, 0x01, 0xe6, 0x21, 0xb0, 0xfe, 0xe6, 0x21, // 8259A
  0xb0, 0x34, 0xe6, 0x43, 0xb0, 0xa5, 0xe6, 0x40, 0xb0, 0x12, 0xe6, 0x40, 0xfb, // 8254: 4773 clocks; sti
  0xf4, 0xeb, 0xfd,
];
const idleHandler = [0x50, 0xb0, 0x20, 0xe6, 0x20, 0x58, 0xcf];

interface Workload {
  name: string;
  title: string;
  make: () => Promise<Machine>;
  /** What the guest prints when its work begins; undefined: at once. */
  begins?: string;
}

async function booted(memoryMiB: number, plan: BootPlan, diskBytes = 0): Promise<Machine> {
  const disks = diskBytes === 0 ? [] : [{ name: 'disk0', bytes: diskBytes }];
  const machine = await createMachine({
    description: { memoryBytes: memoryMiB * MiB, disks },
    backends: { serial: (port, byte) => void (port === 0 && console.push(byte)) },
    engine: nodeEngine,
  });
  machine.boot(plan);
  return machine;
}

/** What the guest printed since somebody looked. */
const console: number[] = [];

async function idle(): Promise<Machine> {
  const sector = new Uint8Array(512);
  sector.set(idleCode);
  sector.set(idleHandler, 0x40);
  sector.set([0x55, 0xaa], 510);
  return booted(1, planBootSector(sector));
}

async function loop(name: string): Promise<Machine> {
  const guest = buildLoop({ name, kind: 'loops', title: name, turns: 0xffff_ffff }, 64);
  const request = { kernel: readFileSync(guest.kernel), commandLine: '', longMode: true };
  const memoryMap = pcMemoryMap(guest.memoryMiB * MiB);
  return booted(guest.memoryMiB, planKernel(request, { memoryMap }));
}

/** Debian's kernel, and in it a line of shell. */
async function linux(script: string): Promise<Machine> {
  const guest = await buildLinux([], 64);
  const { kernel, initrd, memoryMiB } = guest;
  if (initrd === undefined) throw new Error('the image has no initrd');
  const request = {
    kernel: readFileSync(kernel),
    initrd: readFileSync(initrd),
    commandLine: `console=ttyS0 quiet run="${script}"`,
    longMode: true,
  };
  const plan = planKernel(request, { memoryMap: pcMemoryMap(memoryMiB * MiB), rsdpAddress: 0xf_0000 });
  return booted(memoryMiB, plan, 64 * MiB);
}

const disk =
  'echo @@ begin; while :; do dd if=/dev/vda of=/dev/null bs=64k 2>/dev/null; echo 3 > /proc/sys/vm/drop_caches; done';
const mixed =
  'echo @@ begin; while :; do gzip -c /bin/busybox > /dev/null; sleep 0.1; dd if=/dev/vda of=/dev/null bs=64k count=200 2>/dev/null; echo 3 > /proc/sys/vm/drop_caches; sleep 0.02; done';

const workloads: readonly Workload[] = [
  { name: 'idle', title: 'waits for ticks of 4 ms', make: idle },
  { name: 'alu', title: 'CRC-32 by table', make: () => loop('crc') },
  { name: 'chase', title: 'pointer chase over 4 MiB', make: () => loop('chase') },
  { name: 'disk', title: 'Linux reads a disk', make: () => linux(disk), begins: '@@ begin' },
  { name: 'mixed', title: 'Linux: gzip, disk, sleep', make: () => linux(mixed), begins: '@@ begin' },
];

interface Lived {
  farthestNs: number;
  stolenNs: number;
}

/** Runs the guest as `revenant run` does, for so long, or until `done`. Returns the greatest distance from `origin` in ns. */
async function live(machine: Machine, pace: LivePace, forMs: number, originNs = 0n): Promise<Lived> {
  const end = process.hrtime.bigint() + BigInt(Math.round(forMs * 1e6));
  let farthestNs = 0;
  let stolenNs = 0;
  let dueNs: bigint | undefined;
  for (;;) {
    const began = process.hrtime.bigint();
    // A guest that waited: what its timer was set for is late by so much.
    if (dueNs !== undefined) farthestNs = Math.max(farthestNs, Number(began - originNs - dueNs));
    const { reason, nextEventNs } = pace.turn();
    const now = process.hrtime.bigint();
    // A turn takes 4 ms, and one slice of the guest at most beyond that.
    stolenNs = Math.max(stolenNs, Number(now - began) - longestTurnNs);
    // A guest that waits sees no clock until it is woken.
    const waits = reason === 'idle' && (nextEventNs === undefined || nextEventNs > now - originNs);
    dueNs = waits ? nextEventNs : undefined;
    if (!waits) farthestNs = Math.max(farthestNs, Math.abs(Number(now - originNs - machine.timeNs)));
    if (now >= end) return { farthestNs, stolenNs };
    if (reason !== 'idle' && reason !== 'limit') throw new Error(`the guest ended: ${reason}`);
    if (reason === 'limit' || pace.waitsMs === 0) await nextTurn();
    else await sleep(Math.min(maxSleepMs, pace.waitsMs));
  }
}

async function begun(machine: Machine, pace: LivePace, begins: string | undefined): Promise<void> {
  console.length = 0;
  const printed = (): string => Buffer.from(console).toString('latin1');
  while (begins !== undefined && !printed().includes(begins)) await live(machine, pace, 100);
}

async function measure({ name, title, make, begins }: Workload, seconds: number): Promise<Figures> {
  const machine = await make();
  const pace = new LivePace(machine, nodeClock);
  await begun(machine, pace, begins);
  await live(machine, pace, warmUpMs);
  const [began, timeNs, instructions] = [process.hrtime.bigint(), machine.timeNs, machine.instructions];
  const thread = nodeClock.threadNs();
  const { farthestNs, stolenNs } = await live(machine, pace, seconds * 1000, began - timeNs);
  const passed = Number(process.hrtime.bigint() - began);
  const ran = Number(machine.instructions - instructions);
  return {
    ...{ name, title, seconds },
    ratio: Number(machine.timeNs - timeNs) / passed,
    farthestMs: farthestNs / 1e6,
    stolenMs: stolenNs / 1e6,
    mips: (ran / passed) * 1000,
    fixedRatio: name === 'alu' || name === 'chase' ? (ran * fixedNs) / passed : undefined,
    share: (nodeClock.threadNs() - thread) / passed,
  };
}

function toMarkdown(all: readonly Figures[]): string {
  const cell = (number: number | undefined, digits: number): string => number?.toFixed(digits) ?? '';
  const rows = all.map(
    ({ title, ratio, farthestMs, stolenMs, mips, fixedRatio, share }) =>
      `| ${[title, ratio.toFixed(4), cell(farthestMs, 1), cell(stolenMs, 1), cell(fixedRatio, 2), cell(mips, 0), cell(share, 2)].join(' | ')} |`,
  );
  const [load = 0] = loadavg();
  return [
    '| workload | guest time / host time | farthest apart, ms | longest without a processor, ms | the same at 4 ns an instruction | million instructions/s | of a processor |',
    '|---|--:|--:|--:|--:|--:|--:|',
    ...rows,
    '',
    `${String(all[0]?.seconds ?? 0)} s each, ${cpus()[0]?.model ?? 'unknown processor'}, ${String(cpus().length)} processors, load ${load.toFixed(0)}, Node ${process.version}, ${new Date().toISOString().slice(0, 10)}.`,
  ].join('\n');
}

function tell({ name, ratio, farthestMs, stolenMs, mips, share }: Figures): void {
  const more = [
    stolenMs === undefined ? '' : `, at most ${stolenMs.toFixed(1)} ms without a processor`,
    mips === undefined ? '' : `, ${mips.toFixed(0)} MIPS`,
    share === undefined ? '' : `, ${share.toFixed(2)} of a processor`,
  ];
  process.stdout.write(
    `${name.padEnd(18)} ${ratio.toFixed(4)} of the host's time, at most ${farthestMs.toFixed(1)} ms apart${more.join('')}\n`,
  );
}

const names = [...workloads.map(({ name }) => name), 'cluster'];

export const command = define({
  words: [],
  about: `Compares virtual time with the host's monotonic clock while a guest runs as \`revenant run\` runs it, and in a cluster: there the guest
says each 50 ms by its clock that time has passed, and is listened to from outside, also after a live move and a takeover. "The same at 4 ns
an instruction" is what --clock virtual would show.`,
  options: {
    seconds: value('S', 'of each workload (default 10)', positive, 10),
    only: value('NAMES', `of ${names.join(', ')} (default: all)`, commaSeparated(oneOf(names)), names),
    json: value(
      'FILE',
      'where the figures go (default build/bench/clock.json)',
      asTyped,
      join(outputFolder, 'clock.json'),
    ),
    'write-docs': flag('put a table into docs/BENCHMARKS.md'),
  },
  examples: ['clock', 'clock --only cluster --seconds 30'],
  async run({ options }) {
    const { seconds, only, json } = options;
    buildModules(() => undefined);
    const all: Figures[] = [];
    const add = (figures: Figures): void => {
      all.push(figures);
      tell(figures);
    };
    for (const workload of workloads.filter(({ name }) => only.includes(name)))
      add(await measure(workload, seconds));
    if (only.includes('cluster')) await measureInCluster(seconds, add);
    mkdirSync(outputFolder, { recursive: true });
    writeFileSync(json, `${JSON.stringify(all, undefined, 1)}\n`);
    if (options['write-docs']) writeDocs('clock', toMarkdown(all));
    return undefined;
  },
});
