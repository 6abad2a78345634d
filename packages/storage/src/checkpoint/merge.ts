/** Two snapshots in a row as one: the later state, and the pages of both, the later ones winning. */
import type { MachineSnapshot, SpaceSnapshot } from '../snapshot.ts';

/** `later` made to say also what only `earlier` knew. */
export function mergeSnapshots(earlier: MachineSnapshot, later: MachineSnapshot): MachineSnapshot {
  const spaces = later.spaces.map((space) => {
    const before = earlier.spaces.find(({ name }) => name === space.name);
    return before === undefined || space.full ? space : mergeSpaces(before, space);
  });
  return { ...later, spaces };
}

function mergeSpaces(earlier: SpaceSnapshot, later: SpaceSnapshot): SpaceSnapshot {
  const { pageSize } = later;
  const replaced = new Set(later.indexes);
  const kept: number[] = [];
  for (const [i, index] of earlier.indexes.entries()) if (!replaced.has(index)) kept.push(i);
  const count = kept.length + later.indexes.length;
  const indexes = new Uint32Array(count);
  const bytes = new Uint8Array(count * pageSize);
  const take = (from: SpaceSnapshot, i: number, at: number): void => {
    indexes[at] = from.indexes[i]!;
    bytes.set(from.bytes.subarray(i * pageSize, (i + 1) * pageSize), at * pageSize);
  };
  let k = 0;
  let l = 0;
  for (let at = 0; at < count; at++) {
    const fromKept =
      k < kept.length && (l >= later.indexes.length || earlier.indexes[kept[k]!]! < later.indexes[l]!);
    if (fromKept) take(earlier, kept[k++]!, at);
    else take(later, l++, at);
  }
  const { full, onBase } = earlier;
  return { ...later, full, ...(onBase === undefined ? {} : { onBase }), indexes, bytes };
}
