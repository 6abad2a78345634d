/** `npm run bench -- clock`: how well does a guest's clock follow its host's, whatever the guest does? */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
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
import { buildLinux, buildLoop, outputFolder } from './guests.ts';
import { UsageError } from './usage-error.ts';
import { writeDocs } from './write-docs.ts';

export const usage = `usage: npm run bench -- clock [--seconds S] [--only NAME,…] [--json FILE] [--write-docs]

  --seconds S   of each workload (default 10)
  --only NAMES  of idle, alu, chase, disk, mixed
  --json FILE   where the figures go (default build/bench/clock.json)
  --write-docs  put a table into docs/BENCHMARKS.md

Compares virtual time with the host's monotonic clock while a guest runs as \`revenant run\` runs it. "fixed rate" is what --clock virtual
would show: the same instructions at 4 ns each.
`;

const MiB = 2 ** 20;
const maxSleepMs = 20;
/** Until the translator has done most of its work. */
const warmUpMs = 1000;
const fixedNs = 4;

interface Figures {
  name: string;
  seconds: number;
  /** Virtual time per time of the host, over the whole run. */
  ratio: number;
  /** Greatest distance between the two clocks at any moment. */
  farthestMs: number;
  /** Million instructions a second of the host. */
  mips: number;
  /** What the ratio would be at a fixed rate; undefined for a guest that waits. */
  fixedRatio: number | undefined;
  /** Part of a processor that the host gave. */
  share: number;
}

/** Real mode: a tick each 4 ms, HLT between them. */
const idleCode = [
  0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0, 0xbc, 0x00, 0x7c, // cli; ds = ss = 0; sp = 0x7c00
  0xc7, 0x06, 0x20, 0x00, 0x40, 0x7c, 0xa3, 0x22, 0x00, // vector 8: 0x7c40
  0xb0, 0x11, 0xe6, 0x20, 0xb0, 0x08, 0xe6, 0x21, 0xb0, 0x04, 0xe6, 0x21, 0xb0, 0x01, 0xe6, 0x21, 0xb0, 0xfe, 0xe6, 0x21, // 8259A
  0xb0, 0x34, 0xe6, 0x43, 0xb0, 0xa5, 0xe6, 0x40, 0xb0, 0x12, 0xe6, 0x40, 0xfb, // 8254: 4773 clocks; sti
  0xf4, 0xeb, 0xfd,
]; // prettier-ignore
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

const disk = 'echo @@ begin; while :; do dd if=/dev/vda of=/dev/null bs=64k 2>/dev/null; echo 3 > /proc/sys/vm/drop_caches; done'; // prettier-ignore
const mixed = 'echo @@ begin; while :; do gzip -c /bin/busybox > /dev/null; sleep 0.1; dd if=/dev/vda of=/dev/null bs=64k count=200 2>/dev/null; echo 3 > /proc/sys/vm/drop_caches; sleep 0.02; done'; // prettier-ignore

const workloads: readonly Workload[] = [
  { name: 'idle', title: 'waits for ticks of 4 ms', make: idle },
  { name: 'alu', title: 'CRC-32 by table', make: () => loop('crc') },
  { name: 'chase', title: 'pointer chase over 4 MiB', make: () => loop('chase') },
  { name: 'disk', title: 'Linux reads a disk', make: () => linux(disk), begins: '@@ begin' },
  { name: 'mixed', title: 'Linux: gzip, disk, sleep', make: () => linux(mixed), begins: '@@ begin' },
];

/** Runs the guest as `revenant run` does, for so long, or until `done`. Returns the greatest distance from `origin` in ns. */
async function live(machine: Machine, pace: LivePace, forMs: number, originNs = 0n): Promise<number> {
  const end = process.hrtime.bigint() + BigInt(Math.round(forMs * 1e6));
  let farthest = 0;
  for (;;) {
    const { reason, nextEventNs } = pace.turn();
    const now = process.hrtime.bigint();
    // A guest that waits sees no clock until it is woken, so what counts is when something is due.
    const due = nextEventNs === undefined || nextEventNs > now - originNs;
    if (!(reason === 'idle' && due))
      farthest = Math.max(farthest, Math.abs(Number(now - originNs - machine.timeNs)));
    if (now >= end) return farthest;
    if (reason !== 'idle' && reason !== 'limit') throw new Error(`the guest ended: ${reason}`);
    if (reason === 'limit') await nextTurn();
    else if (pace.waitsMs === 0) await nextTurn();
    else await sleep(Math.min(maxSleepMs, pace.waitsMs));
  }
}

async function begun(machine: Machine, pace: LivePace, begins: string | undefined): Promise<void> {
  console.length = 0;
  const printed = (): string => Buffer.from(console).toString('latin1');
  while (begins !== undefined && !printed().includes(begins)) await live(machine, pace, 100);
}

async function measure({ name, make, begins }: Workload, seconds: number): Promise<Figures> {
  const machine = await make();
  const pace = new LivePace(machine, nodeClock);
  await begun(machine, pace, begins);
  await live(machine, pace, warmUpMs);
  const [began, timeNs, instructions] = [process.hrtime.bigint(), machine.timeNs, machine.instructions];
  const thread = nodeClock.threadNs();
  const farthest = await live(machine, pace, seconds * 1000, began - timeNs);
  const passed = Number(process.hrtime.bigint() - began);
  const ran = Number(machine.instructions - instructions);
  return {
    name,
    seconds,
    ratio: Number(machine.timeNs - timeNs) / passed,
    farthestMs: farthest / 1e6,
    mips: (ran / passed) * 1000,
    fixedRatio: name === 'alu' || name === 'chase' ? (ran * fixedNs) / passed : undefined,
    share: (nodeClock.threadNs() - thread) / passed,
  };
}

function toMarkdown(all: readonly Figures[]): string {
  const rows = all.map(({ name, ratio, farthestMs, mips, fixedRatio, share }) => {
    const title = workloads.find((one) => one.name === name)?.title ?? name;
    const fixed = fixedRatio === undefined ? '' : fixedRatio.toFixed(2);
    return `| ${title} | ${ratio.toFixed(4)} | ${farthestMs.toFixed(1)} | ${fixed} | ${mips.toFixed(0)} | ${share.toFixed(2)} |`;
  });
  return [
    '| workload | guest time / host time | farthest apart, ms | the same at 4 ns an instruction | million instructions/s | of a processor |',
    '|---|--:|--:|--:|--:|--:|',
    ...rows,
    '',
    `${String(all[0]?.seconds ?? 0)} s each, ${cpus()[0]?.model ?? 'unknown processor'}, Node ${process.version}, ${new Date().toISOString().slice(0, 10)}.`,
  ].join('\n');
}

export async function bench(argv: string[]): Promise<void> {
  const { values } = parseArgs({
    args: argv,
    options: {
      seconds: { type: 'string', default: '10' },
      only: { type: 'string', default: workloads.map(({ name }) => name).join(',') },
      json: { type: 'string', default: join(outputFolder, 'clock.json') },
      'write-docs': { type: 'boolean', default: false },
    },
  });
  const seconds = Number(values.seconds);
  if (!(seconds > 0)) throw new UsageError(`--seconds: '${values.seconds}' is no length of time`);
  const names = values.only.split(',');
  const unknown = names.find((name) => !workloads.some((one) => one.name === name));
  if (unknown !== undefined) throw new UsageError(`--only: there is no workload '${unknown}'`);
  buildModules(() => undefined);
  const all: Figures[] = [];
  for (const workload of workloads.filter(({ name }) => names.includes(name))) {
    const figures = await measure(workload, seconds);
    all.push(figures);
    process.stdout.write(
      `${figures.name.padEnd(8)} ${figures.ratio.toFixed(4)} of the host's time, at most ${figures.farthestMs.toFixed(1)} ms apart, ${figures.mips.toFixed(0)} MIPS, ${figures.share.toFixed(2)} of a processor\n`,
    );
  }
  mkdirSync(outputFolder, { recursive: true });
  writeFileSync(values.json, `${JSON.stringify(all, undefined, 1)}\n`);
  if (values['write-docs']) writeDocs('clock', toMarkdown(all));
}
