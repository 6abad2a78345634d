/**
 * The control-flow graph of a region: jumps, calls of functions in it, and the returns of these functions to the places behind
 * their calls; an indirect jump may go to any entry. A return is an edge only for the calls that can reach it; translated code compares the address on the stack with
 * these places and leaves the region when it is another.
 */
import type { DecodedBlock, DecodedInstruction } from './decoded.ts';
import type { Edge } from './structure.ts';

export interface RegionGraph {
  blocks: readonly DecodedBlock[];
  edges: readonly Edge[];
  /** Numbers of the blocks at which the region is entered. */
  entries: readonly number[];
}

/** Blocks by their place. */
type Blocks = ReadonlyMap<number, DecodedBlock>;

/** Entries that an indirect jump or call is compared with. */
const maxIndirectTargets = 12;
/** Places behind calls that one return is compared with; a return that may go to more leaves the region beyond. */
const maxReturnSites = 6;

/** Number of the page of a place. */
export function pageOf(place: number): number {
  return Math.floor(place / 4096);
}

function jumpsRelative(instruction: DecodedInstruction): boolean {
  return instruction.row.operands.some((o) => o.place === 'relative');
}

/** Place that a block's relative jump reaches; undefined without one, and when it cuts RIP to 16 bits. */
export function jumpPlace(block: DecodedBlock): number | undefined {
  const last = block.instructions.at(-1);
  if (last === undefined || last.size === 2 || !jumpsRelative(last)) return undefined;
  return block.end + Number(last.immediate);
}

function endsIn(block: DecodedBlock, mnemonic: string): boolean {
  const last = block.instructions.at(-1);
  return last?.row.mnemonic === mnemonic && last.row.options.end === 'branch';
}

/** Places at which control can go on, but for returns. */
export function successors(block: DecodedBlock): number[] {
  const last = block.instructions.at(-1);
  if (last === undefined) return [];
  const isConditional =
    last.row.options.end === 'branch' &&
    jumpsRelative(last) &&
    !endsIn(block, 'CALL') &&
    !endsIn(block, 'JMP');
  const target = jumpPlace(block);
  return [
    ...(block.fallsThrough || isConditional ? [block.end] : []),
    ...(target === undefined ? [] : [target]),
  ];
}

/** Place behind a call. */
export function returnSite(block: DecodedBlock): number | undefined {
  return endsIn(block, 'CALL') ? block.end : undefined;
}

/** Whether the block ends in a near jump or call through a register or memory. */
function goesIndirectly(block: DecodedBlock): boolean {
  const last = block.instructions.at(-1);
  return (endsIn(block, 'JMP') || endsIn(block, 'CALL')) && last !== undefined && !jumpsRelative(last);
}

/** Places of the blocks of the function at `entry` that end in a near RET; calls inside of it are stepped over. */
function returnsOf(entry: number, blocks: Blocks): number[] {
  const seen = new Set<number>();
  const open = [entry];
  const returns: number[] = [];
  for (let place = open.pop(); place !== undefined; place = open.pop()) {
    const block = blocks.get(place);
    if (block === undefined || seen.has(place)) continue;
    seen.add(place);
    if (endsIn(block, 'RET')) returns.push(place);
    const site = returnSite(block);
    open.push(...(site === undefined ? successors(block) : [site]));
  }
  return returns;
}

/** Place of a block that ends in RET → places behind the calls it may return to; `indirect` are those an indirect call may reach. */
function returnTargets(blocks: Blocks, indirect: readonly number[]): Map<number, number[]> {
  const targets = new Map<number, number[]>();
  const called = (block: DecodedBlock): readonly number[] => {
    const entry = jumpPlace(block);
    return entry === undefined ? indirect : [entry];
  };
  const calls = [...blocks.values()].filter((block) => blocks.has(returnSite(block) ?? NaN));
  // What is known for certain comes first.
  calls.sort((a, b) => called(a).length - called(b).length);
  for (const block of calls) {
    for (const from of called(block).flatMap((entry) => returnsOf(entry, blocks))) {
      const sites = targets.get(from) ?? [];
      if (sites.length < maxReturnSites && !sites.includes(block.end))
        targets.set(from, [...sites, block.end]);
    }
  }
  return targets;
}

/** The graph of what can be reached from the blocks at `entries`, which exist. */
export function connect(blocks: Blocks, entries: readonly number[]): RegionGraph {
  const indirect = entries.slice(0, maxIndirectTargets);
  const returns = returnTargets(blocks, indirect);
  const targetsOf = (block: DecodedBlock): readonly number[] => [
    ...successors(block),
    ...(goesIndirectly(block) ? indirect : (returns.get(block.place) ?? [])),
  ];
  const reached = new Map<number, DecodedBlock>();
  const open = [...entries];
  for (let place = open.pop(); place !== undefined; place = open.pop()) {
    const block = blocks.get(place);
    if (block === undefined || reached.has(place)) continue;
    reached.set(place, block);
    open.push(...targetsOf(block));
  }
  const ordered = [...reached.values()].sort((a, b) => a.place - b.place);
  const numbers = new Map(ordered.map((block, i) => [block.place, i]));
  const edges = ordered.flatMap((block, from) =>
    targetsOf(block).flatMap((place) => {
      const to = numbers.get(place);
      return to === undefined ? [] : [{ from, to }];
    }),
  );
  return { blocks: ordered, edges, entries: entries.map((place) => numbers.get(place) as number) };
}
