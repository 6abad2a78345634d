/** Which checkpoint of a simulated VM counts, as storage has it. */
import type { Checkpoint, Owner } from './node.ts';

/** The newest checkpoint that the lineage admits (storage's `isVisible`). */
export function newest(manifests: readonly Checkpoint[], lineage: Owner['lineage']): Checkpoint | null {
  const settled = lineage.filter(({ from }) => from !== undefined);
  const last = settled.at(-1);
  if (last === undefined) return null;
  let best: Checkpoint | null = last.from ?? null;
  for (const manifest of manifests) {
    if (
      manifest.epoch === last.epoch &&
      (best === null || best.epoch < manifest.epoch || manifest.sequence > best.sequence)
    )
      best = manifest;
  }
  return best;
}
