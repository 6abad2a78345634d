/**
 * The control-flow graph of a region: jumps inside of the page, calls of functions there, and the returns of these functions
 * to the places behind their calls. A return is an edge only for the calls that can reach it; translated code compares the
 * address on the stack with these places and leaves the region when it is another.
 */
import type { DecodedBlock } from './decoded.ts';
import { isReturn, jumpOffset, successors } from './region.ts';
import type { RegionGraph } from './region.ts';

type Blocks = ReadonlyMap<number, DecodedBlock>;

/** Places behind calls that one return is compared with; a return that may go to more leaves the region beyond. */
const maxReturnSites = 6;

/** Offset behind a call whose target lies on the same page. */
export function returnSite(block: DecodedBlock): number | undefined {
  const last = block.instructions.at(-1);
  const isCall = last?.row.mnemonic === 'CALL' && jumpOffset(last) !== undefined;
  return isCall && block.end < 4096 ? block.end : undefined;
}

/** Offsets of the blocks of the function at `entry` that end in RET; calls inside of it are stepped over. */
function returnsOf(entry: number, blocks: Blocks): number[] {
  const seen = new Set<number>();
  const open = [entry];
  const returns: number[] = [];
  for (let offset = open.pop(); offset !== undefined; offset = open.pop()) {
    const block = blocks.get(offset);
    if (block === undefined || seen.has(offset)) continue;
    seen.add(offset);
    if (isReturn(block)) returns.push(offset);
    const site = returnSite(block);
    open.push(...(site === undefined ? successors(block) : [site]));
  }
  return returns;
}

/** Offset of a block that ends in RET → offsets behind the calls it may return to. */
function returnTargets(blocks: Blocks): Map<number, number[]> {
  const targets = new Map<number, number[]>();
  for (const block of blocks.values()) {
    const site = returnSite(block);
    const last = block.instructions.at(-1);
    const entry = last === undefined ? undefined : jumpOffset(last);
    if (site === undefined || entry === undefined || !blocks.has(site)) continue;
    for (const from of returnsOf(entry, blocks)) {
      const sites = targets.get(from) ?? [];
      if (sites.length < maxReturnSites) targets.set(from, [...sites, site]);
    }
  }
  return targets;
}

/** What can be reached from the block at `entry`, in reverse postorder; undefined when there is no such block. */
export function connect(blocks: Blocks, entry: number): RegionGraph | undefined {
  const returns = returnTargets(blocks);
  const targetsOf = (block: DecodedBlock): number[] => [
    ...successors(block),
    ...(returns.get(block.pageOffset) ?? []),
  ];
  const seen = new Set<number>();
  const postorder: DecodedBlock[] = [];
  const visit = (offset: number): void => {
    const block = blocks.get(offset);
    if (block === undefined || seen.has(offset)) return;
    seen.add(offset);
    for (const next of targetsOf(block)) visit(next);
    postorder.push(block);
  };
  visit(entry);
  if (postorder.length === 0) return undefined;
  const ordered = postorder.reverse();
  const index = new Map(ordered.map((block, i) => [block.pageOffset, i]));
  const edges = ordered.flatMap((block, from) =>
    targetsOf(block).flatMap((offset) => {
      const to = index.get(offset);
      return to === undefined ? [] : [{ from, to }];
    }),
  );
  return { blocks: ordered, edges };
}
