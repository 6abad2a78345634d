/** Tells a leak from memory that has filled: the rule of `npm run bench -- churn`, apart from the run itself. */

/** Resident memory of the process when so many modules had been compiled since its start. */
export interface MemorySample {
  compiled: number;
  rssMiB: number;
}

export type Verdict =
  { kind: 'too short'; why: string } | { kind: 'bounded' | 'leak'; bytesPerModule: number; modules: number };

/**
 * Modules until memory has filled. The pool of decoded records and the bound of live modules have been used up many
 * times by then; V8's code space takes longest, since it fills with what the collector has not yet taken.
 */
export const settledModules = 36_000;
/** Modules in the part that is judged: with fewer, the noise of the collector (some 10 MiB) hides a leak of the bound's size. */
export const judgedModules = 12_000;
/** A module that isn't let go costs 5 KiB and more: its code, its instance and the objects around them. */
export const toleratedBytesPerModule = 1024;

const MiB = 2 ** 20;

function median(values: number[]): number {
  values.sort((a, b) => a - b);
  const middle = values.length >> 1;
  const upper = values[middle] ?? 0;
  return values.length % 2 === 1 ? upper : ((values[middle - 1] ?? 0) + upper) / 2;
}

/** Theil and Sen's slope: the median of all pairs' slopes, which single collections' ups and downs don't move. MiB for a module. */
function slope(samples: readonly MemorySample[]): number {
  const slopes = samples.flatMap((from, i) =>
    samples
      .slice(i + 1)
      .filter((to) => to.compiled > from.compiled)
      .map((to) => (to.rssMiB - from.rssMiB) / (to.compiled - from.compiled)),
  );
  return median(slopes);
}

/**
 * Judges the later half of evenly spaced samples: resident memory may rise there by at most
 * `toleratedBytesPerModule` for each module compiled. Too short is a run whose earlier half has not filled memory,
 * or whose later half compiled too little.
 */
export function judgeMemory(samples: readonly MemorySample[]): Verdict {
  const later = samples.slice(samples.length >> 1);
  const start = later[0]?.compiled ?? 0;
  if (start < settledModules)
    return { kind: 'too short', why: `${start} of ${settledModules} modules in the first half` };
  const modules = (later.at(-1)?.compiled ?? 0) - start;
  if (modules < judgedModules)
    return { kind: 'too short', why: `${modules} of ${judgedModules} modules in the second half` };
  const bytesPerModule = Math.round(slope(later) * MiB);
  return { kind: bytesPerModule > toleratedBytesPerModule ? 'leak' : 'bounded', bytesPerModule, modules };
}
