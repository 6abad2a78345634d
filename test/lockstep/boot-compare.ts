/** Two machines, one on each engine, with the same guest: run in step and compared. */
import { readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { createMachine, pcMemoryMap, planKernel, type Machine } from '@revenant/emulator';
import { makeNodeEngine, nodeHash } from '@revenant/emulator/host-node';
import { Random } from '../native/random.ts';
import type { Guest } from '../bench/guests.ts';

interface Side {
  machine: Machine;
  /** What came out of the first serial port. */
  output: string;
}

async function start(
  kind: 'interpreter' | 'translator',
  guest: Guest,
  { hotThreshold, cpuCount }: Pick<BootOptions, 'hotThreshold' | 'cpuCount'>,
): Promise<Side> {
  const memoryBytes = guest.memoryMiB * 2 ** 20;
  const side: Partial<Side> = { output: '' };
  const engine = makeNodeEngine({ kind, ...(hotThreshold === undefined ? {} : { hotThreshold }) });
  const machine = await createMachine({
    description: { memoryBytes, cpu: { count: cpuCount } },
    engine,
    backends: {
      hash: nodeHash,
      serial: (port, byte) => {
        if (port === 0) side.output += String.fromCharCode(byte);
      },
    },
  });
  const request = {
    kernel: readFileSync(guest.kernel),
    ...(guest.initrd === undefined ? {} : { initrd: readFileSync(guest.initrd) }),
    commandLine: guest.commandLine ?? '',
    longMode: guest.bits === 64,
  };
  const environment = { memoryMap: pcMemoryMap(memoryBytes), rsdpAddress: machine.rsdpAddress };
  machine.boot(planKernel(request, environment));
  side.machine = machine;
  return side as Side;
}

export interface BootOptions {
  /** Instructions between two comparisons of registers and output. */
  every: bigint;
  /** Instructions between two comparisons of everything: devices, all memory. */
  hashEvery: bigint;
  /** Stop there; else when the guest switches the machine off. */
  instructions?: bigint;
  hotThreshold?: number;
  /** How many processors the guest has; 1 unless given. */
  cpuCount?: number;
  /** The translator's machine looks at its host each so many instructions. */
  lookEvery?: number;
  /** Drops all code of the translator's machine after one of so many comparisons, at random. */
  dropOneIn?: number;
  progress?: (line: string) => void;
}

export interface BootComparison {
  instructions: bigint;
  comparisons: number;
  hashes: number;
  /** How the run of both ended. */
  end: string;
  output: string;
  /** The first difference, and between which instruction counts it came to be. */
  difference?: { what: string; after: bigint; upTo: bigint };
}

function registersText(side: Side): string {
  return JSON.stringify(side.machine.registers(), (_key, value: unknown) =>
    typeof value === 'bigint' ? value.toString(16) : value,
  );
}

/** What differs without looking at memory; undefined when nothing does. */
function cheapDifference(a: Side, b: Side): string | undefined {
  if (a.machine.instructions !== b.machine.instructions)
    return `instruction counts ${a.machine.instructions} and ${b.machine.instructions}`;
  if (a.machine.timeNs !== b.machine.timeNs)
    return `virtual times ${a.machine.timeNs} and ${b.machine.timeNs}`;
  if (!isDeepStrictEqual(a.machine.registers(), b.machine.registers()))
    return `registers\n  interpreter ${registersText(a)}\n  translator  ${registersText(b)}`;
  return a.output === b.output ? undefined : 'serial output';
}

/** Runs the guest on both engines until they differ, the guest ends, or `instructions` are over. */
export async function compareBoot(guest: Guest, options: BootOptions): Promise<BootComparison> {
  const { cpuCount = 1 } = options;
  const a = await start('interpreter', guest, { cpuCount });
  const b = await start('translator', guest, { ...options, cpuCount });
  const result: BootComparison = { instructions: 0n, comparisons: 0, hashes: 0, end: 'limit', output: '' };
  const random = new Random(1);
  let good = 0n;
  let nextHash = options.hashEvery;
  const finish = (what?: string): BootComparison => {
    result.instructions = a.machine.instructions;
    result.output = a.output;
    if (what !== undefined) result.difference = { what, after: good, upTo: a.machine.instructions };
    return result;
  };
  while (options.instructions === undefined || a.machine.instructions < options.instructions) {
    const { every: instructions, lookEvery } = options;
    const look = lookEvery === undefined ? {} : { look: { every: lookEvery, enough: () => false } };
    const ends = [a.machine.run({ instructions }).reason, b.machine.run({ instructions, ...look }).reason];
    result.comparisons++;
    if (ends[0] !== ends[1]) return finish(`the runs ended by ${String(ends[0])} and ${String(ends[1])}`);
    const cheap = cheapDifference(a, b);
    if (cheap !== undefined) return finish(cheap);
    if (random.chance(1 / (options.dropOneIn ?? Infinity))) b.machine.engine.dropAllCode();
    const ended = ends[0] !== 'limit';
    if (ended || a.machine.instructions >= nextHash) {
      nextHash = a.machine.instructions + options.hashEvery;
      result.hashes++;
      if (a.machine.stateHash() !== b.machine.stateHash()) return finish('devices or memory');
      good = a.machine.instructions;
      options.progress?.(`${good / 1_000_000n} million instructions: same`);
    }
    if (!ended) continue;
    result.end = ends[0] ?? '';
    return finish();
  }
  return finish();
}
