/** `revenant debug hot`: the regions of translated code in which a run spends its time. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { disassemble, type RegionInfo } from '@revenant/emulator';
import { makeNodeEngine } from '@revenant/emulator/host-node';
import { readyGuest } from '../run/guest.ts';
import type { RunOptions } from '../run/options.ts';
import { profiled, type TimeShares } from './profile.ts';

const sliceInstructions = 5_000_000n;

export interface HotBlock {
  /** RIP of its first instruction, hexadecimal. */
  address: string;
  /** Address behind its last one. */
  end: string;
  /** Lines of disassembly: address and text. */
  code: { address: string; text: string }[];
}

export interface HotRegion {
  /** RIP of its entry, hexadecimal. */
  address: string;
  seconds: number;
  /** Part of the seconds of the whole run, 0 to 1. */
  share: number;
  instructions: number;
  guestBytes: number;
  wasmBytes: number;
  /** Instructions that it leaves to the interpreter's handlers. */
  callouts: number;
  blocks: HotBlock[];
}

export interface HotReport {
  instructions: string;
  /** How the run ended. */
  end: string;
  seconds: number;
  /** Seconds by what the emulator was doing. */
  time: { translated: number; interpreter: number; translating: number; other: number };
  /** Regions translated during the run, and the bytes of their WebAssembly. */
  translated: { regions: number; wasmBytes: number };
  /** Hottest first. */
  hottest: HotRegion[];
}

const hex = (value: bigint): string => value.toString(16);

function describe(region: RegionInfo, seconds: number, total: number): HotRegion {
  return {
    address: hex(region.rip),
    seconds,
    share: seconds / total,
    instructions: region.blocks.reduce((sum, block) => sum + block.instructions, 0),
    guestBytes: region.blocks.reduce((sum, block) => sum + block.bytes.length, 0),
    wasmBytes: region.wasmBytes,
    callouts: region.callouts,
    blocks: region.blocks.map((block) => ({
      address: hex(block.rip),
      end: hex(block.rip + BigInt(block.bytes.length)),
      code: [...disassemble(block.bytes, region.mode, block.rip)].map(({ address, text }) => ({
        address: hex(address),
        text,
      })),
    })),
  };
}

function report(
  regions: ReadonlyMap<string, RegionInfo>,
  shares: TimeShares,
  top: number,
): Omit<HotReport, 'instructions' | 'end'> {
  const translated = [...shares.regions.values()].reduce((sum, seconds) => sum + seconds, 0);
  const { interpreter, translating, other } = shares;
  const seconds = translated + interpreter + translating + other;
  const hottest = [...shares.regions]
    .sort(([, a], [, b]) => b - a)
    .slice(0, top)
    .flatMap(([name, time]) => {
      const region = regions.get(name);
      return region === undefined ? [] : [describe(region, time, seconds)];
    });
  const wasmBytes = [...regions.values()].reduce((sum, region) => sum + region.wasmBytes, 0);
  return {
    seconds,
    time: { translated, interpreter, translating, other },
    translated: { regions: regions.size, wasmBytes },
    hottest,
  };
}

/**
 * Runs the guest for a number of instructions, or until it ends.
 * @param top how many regions to describe
 * @throws CliError for a guest that can't be started
 */
export async function findHot(options: RunOptions, instructions: bigint, top: number): Promise<HotReport> {
  const regions = new Map<string, RegionInfo>();
  const engine = makeNodeEngine({ kind: 'translator', onRegion: (info) => regions.set(info.name, info) });
  const { machine } = await readyGuest(
    options,
    {
      serial: (port, byte) =>
        port === 0 && options.serial.kind === 'stdio' && process.stderr.write(Uint8Array.of(byte)),
    },
    (line) => process.stderr.write(`revenant: ${line}\n`),
    engine,
  );
  const limit = machine.instructions + instructions;
  let end = 'limit';
  const shares = await profiled(async () => {
    while (machine.instructions < limit) {
      const left = limit - machine.instructions;
      const result = machine.run({ instructions: left < sliceInstructions ? left : sliceInstructions });
      if (result.reason !== 'limit') {
        end = result.reason;
        return;
      }
      await nextTurn();
    }
  });
  return { instructions: String(machine.instructions), end, ...report(regions, shares, top) };
}

/** The code of a region by address; a line of dashes where something lies between, > at the entry. */
function listing({ address: entry, blocks }: HotRegion): string[] {
  const sorted = blocks.toSorted((a, b) => Number(BigInt(`0x${a.address}`) - BigInt(`0x${b.address}`)));
  return sorted.flatMap((block, i) => {
    const mark = block.address === entry ? '   >' : '    ';
    const follows = i === 0 || sorted[i - 1]?.end === block.address;
    return [
      ...(follows ? [] : ['     --']),
      ...block.code.map(({ address, text }, n) => `${n === 0 ? mark : '    '} ${address}  ${text}`),
    ];
  });
}

/** @param lines of disassembly for each region; Infinity for all */
export function hotText(
  { instructions, end, seconds, time, translated, hottest }: HotReport,
  lines: number,
): string {
  const percent = (part: number): string => `${((100 * part) / seconds).toFixed(1)} %`;
  const out = [
    `${instructions} instructions in ${seconds.toFixed(2)} s, ended by ${end}`,
    `time: translated code ${percent(time.translated)}, interpreter and core ${percent(time.interpreter)}, translating ${percent(time.translating)}, devices and the rest ${percent(time.other)}`,
    `${translated.regions} regions, ${Math.round(translated.wasmBytes / 1024)} KiB of WebAssembly`,
  ];
  hottest.forEach((region, n) => {
    const { address, share, instructions: count, guestBytes, wasmBytes, callouts, blocks } = region;
    out.push(
      '',
      `${n + 1}. ${address}  ${(100 * share).toFixed(1)} %  ${blocks.length} blocks, ${count} instructions in ${guestBytes} bytes, ${wasmBytes} bytes of WebAssembly${callouts === 0 ? '' : `, ${callouts} by the interpreter`}`,
    );
    const code = listing(region);
    out.push(...code.slice(0, lines));
    if (code.length > lines) out.push(`     … ${code.length - lines} more lines`);
  });
  return `${out.join('\n')}\n`;
}
